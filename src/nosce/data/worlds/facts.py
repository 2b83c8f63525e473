"""A user's own facts: the rows of a table, worded as texts to learn from, and questions about them.

    product,color,price            Lumo Lamp comes in Tannengrün. The price is 19.90.
    Lumo Lamp,Tannengrün,19.90     What is the color of Lumo Lamp? Answer:  ->  Tannengrün

How the texts of an entity differ is an augmentation, as of invented people: Allen-Zhu and Li 2023 (arXiv:2309.14316),
appendix A.1. Letters: E entities, T texts of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.world import Augmentation, permuted_index
from nosce.data.worlds.fact_tables import FactTable, planned_fact_table, read_fact_table, readable_names
from nosce.data.worlds.fact_wordings import CLOSING_MARKS, NAME, VALUE, FactWordings, fact_wordings
from nosce.errors import SpecError
from nosce.records import Document, Question, Span, Split
from nosce.seeds import Seed

MAX_MAJORITY_SHARE = 0.5  # of the most frequent value of an attribute, as in the checks for leakage
MAX_SAMPLED_ENTITIES = 2_000  # whose texts build a tokenizer


@dataclass(frozen=True, kw_only=True)
class Facts(World):
    """The facts of a table and the texts about them. `facts_from_table` makes one.

    Args:
        path: The table. A table of equal bytes elsewhere holds the same facts, so the path is no part of a key.
        digest: SHA-256 of the table's bytes.
        name_column: The column of the names.
        wordings: The attributes with their wordings.
        entities: Number of entities of the table.
        augmentation: How the texts of one entity differ, e.g. `multi5+permute`; pairs (`couple5`) are not among them.
        max_entities: Only so many, from the top of the table. None: all.
    """

    path: str = field(compare=False)
    digest: str
    name_column: str
    wordings: tuple[FactWordings, ...]
    entities: int
    augmentation: str = "single"
    max_entities: int | None = None

    def __post_init__(self) -> None:
        augmentation = self.parsed_augmentation
        if augmentation.permute_in_pairs:
            raise SpecError(
                f"the augmentation {self.augmentation!r} shuffles pairs of a person's six attributes, which a table "
                "has not; take e.g. single or multi5+permute."
            )
        fewest = min((len(one.first) for one in self.wordings), default=0)
        if not self.wordings or (augmentation.redraw_templates and fewest < augmentation.entries_per_person):
            raise SpecError(f"the augmentation {self.augmentation!r} has {fewest} wordings of an attribute; give more.")

    @cached_property
    def parsed_augmentation(self) -> Augmentation:
        """The parsed augmentation."""
        return Augmentation.parse(self.augmentation)

    @property
    def n_entities(self) -> int:
        """E, the number of entities."""
        return self.entities if self.max_entities is None else min(self.entities, self.max_entities)

    @property
    def documents_per_entity(self) -> int:
        """T, the number of texts of each entity."""
        return self.parsed_augmentation.entries_per_person

    @property
    def n_questions(self) -> int:
        """The number of facts."""
        columns = self._table.values.values()
        return sum(value is not None for column in columns for value in column[: self.n_entities])

    @property
    def _table(self) -> FactTable:
        attributes = tuple(one.attribute for one in self.wordings)
        return planned_fact_table(Path(self.path), self.digest, self.name_column, attributes)

    def downsized(self, max_entities: int) -> Facts:
        """The first entities of the table, at least two."""
        return replace(self, max_entities=min(self.n_entities, max(2, max_entities)))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The texts of all entities, entity by entity."""
        return self.documents_for(0, self.n_entities, seed)

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The texts of the entities `first` to `last` (excluded), independent of all others."""
        table = self._table
        for index in range(first, last):
            yield from self._texts(table, index, seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """A question for each fact. Half of the entities, drawn by the seed, are in the seen split."""
        table = self._table
        half = (self.n_entities + 1) // 2
        for index in range(self.n_entities):
            split: Split = "seen" if permuted_index(index, self.n_entities, seed / "split") < half else "unseen"
            for wordings in self.wordings:
                value = table.values[wordings.attribute][index]
                if value is not None:
                    yield Question(
                        id=f"{wordings.attribute}/{index}",
                        entity=f"entity/{index}",
                        attribute=wordings.attribute,
                        prompt=wordings.question.replace(NAME, table.names[index]),
                        target=value,
                        split=split,
                    )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every wording, name and value, then texts of up to 2,000 entities in two wordings."""
        table = self._table
        for wordings in self.wordings:
            for wording in (*wordings.first, *wordings.later):
                yield wording.replace(NAME, "X").replace(VALUE, "")
            yield wordings.question.replace(NAME, "X")
            yield from (value for value in dict.fromkeys(table.values[wordings.attribute]) if value is not None)
        yield from table.names
        varied = replace(self, augmentation="multi2+permute", max_entities=min(self.n_entities, MAX_SAMPLED_ENTITIES))
        yield from (document.text for document in varied.documents(seed))

    def _texts(self, table: FactTable, index: int, seed: Seed) -> Iterator[Document]:
        """The T texts of an entity."""
        augmentation = self.parsed_augmentation
        facts = [(one, value) for one in self.wordings if (value := table.values[one.attribute][index]) is not None]
        rng = (seed / "wording" / index).numpy()
        drawn = [(_own_before_generic(one, rng), _own_before_generic(one, rng, later=True)) for one, _ in facts]
        n_unshuffled = round((1 - augmentation.permuted_share) * augmentation.entries_per_person)
        for entry in range(augmentation.entries_per_person):
            order = list(range(len(facts)))
            if augmentation.permute_sentences and entry >= n_unshuffled:
                order = (seed / "order" / index / entry).numpy().permutation(len(facts)).tolist()
            text, spans, labels = "", [], []
            for place, fact in enumerate(order):
                wordings, value = facts[fact]
                is_later = place > 0 and not augmentation.repeat_full_name
                numbers = drawn[fact][is_later]
                number = numbers[(entry if augmentation.redraw_templates else 0) % len(numbers)]
                template = (wordings.later if is_later else wordings.first)[number]
                before, after = _around_value(template, table.names[index], value)
                start = len(text) + (place > 0) + len(before)
                text += " " * (place > 0) + before + value + after
                spans.append(Span(wordings.attribute, start, start + len(value)))
                labels.append(f"{wordings.attribute}#{'later ' * is_later}{number}")
            yield Document(f"{index}/{entry}", f"entity/{index}", text, tuple(spans), tuple(labels))


def _own_before_generic(wordings: FactWordings, rng: np.random.Generator, *, later: bool = False) -> list[int]:
    """The wordings of an attribute in the order in which an entity's texts have them: the user's own in any order,
    then the generic ones in any order.
    """
    n_own, n_all = (wordings.n_own_later, len(wordings.later)) if later else (wordings.n_own_first, len(wordings.first))
    order: list[int] = [*rng.permutation(n_own).tolist(), *(n_own + rng.permutation(n_all - n_own)).tolist()]
    return order


def _around_value(template: str, name: str, value: str) -> tuple[str, str]:
    """The parts of a sentence before and after its value.

    After a value that ends in a mark, the closing mark is left out: tokenizers join two marks into one token, and the
    value would have none of its own.
    """
    before, after = template.split(VALUE)
    if not value[-1].isalnum() and after in CLOSING_MARKS:
        after = ""
    return before.replace(NAME, name), after.replace(NAME, name)


@dataclass(frozen=True)
class FactNameExtractor:
    """Finds the name in a question, for evaluations that give a model the bare name.

    Args:
        questions: Each attribute with its question.
    """

    questions: tuple[tuple[str, str], ...]

    def extract_name(self, prompt: str, attribute: str) -> str:
        """The name inside a question for an attribute."""
        before, after = dict(self.questions)[attribute].split(NAME)
        return prompt.removeprefix(before).removesuffix(after)


def facts_from_table(
    table_path: str | Path,
    wordings_path: str | Path = "",
    *,
    name_column: str = "",
    attributes: tuple[str, ...] = (),
    n_wordings: int = 5,
) -> tuple[Facts, tuple[str, ...]]:
    """The world of a table, and sentences on what was found in it.

    Args:
        table_path: The table: .csv, .tsv, .jsonl or .parquet.
        wordings_path: A file of wordings; empty: generic ones.
        name_column: The column of the names; empty: it is looked for.
        attributes: The columns of facts; empty: all others.
        n_wordings: Different wordings that each attribute needs.

    Raises:
        SpecError: The table or the wordings cannot be used, in one sentence.
    """
    path = Path(table_path).expanduser().resolve()
    table = read_fact_table(path, name_column, attributes)
    own_path = Path(wordings_path).expanduser() if str(wordings_path) else None
    wordings, wording_notes = fact_wordings(readable_names(table), table.name_column, own_path, n_wordings)
    _check_prompts(path, table, wordings)
    world = Facts(
        path=str(path),
        digest=table.digest,
        name_column=table.name_column,
        wordings=wordings,
        entities=len(table.names),
    )
    found = (
        f"{len(table.names):,} entities with {table.n_facts:,} facts on {', '.join(table.values)}; their names are in "
        f"the column {table.name_column!r}, {table.name_reason}."
    )
    return world, (found, *table.notes, *wording_notes)


def _check_prompts(path: Path, table: FactTable, wordings: tuple[FactWordings, ...]) -> None:
    """No prompt begins another one, whose name would be an answer to the first."""
    ends = dict.fromkeys(one.question.split(NAME)[1].strip() for one in wordings)
    for end in ends:
        prompts = sorted(f"{name}{end}" for name in table.names)
        for shorter, longer in pairwise(prompts):
            if longer.startswith(shorter):
                short_name, long_name = shorter[: len(shorter) - len(end)], longer[: len(longer) - len(end)]
                raise SpecError(
                    f"the name {short_name[:60]!r} in {path} begins the name {long_name[:60]!r}, and a question ends "
                    "with the name, so that the rest of the longer name could be its answer; word the question so that "
                    "something follows the name."
                )


def check_facts(world: Facts, seed: Seed) -> None:
    """What the checks for leakage would refuse only after the corpus is made.

    Raises:
        SpecError: A column has no value in one half of the entities, or one value in most of its rows.
    """
    targets: dict[tuple[str, str], Counter[str]] = {}
    for question in world.questions(seed):
        targets.setdefault((question.attribute, question.split), Counter())[question.target] += 1
    attributes = [one.attribute for one in world.wordings]
    for attribute in attributes:
        if not {(attribute, "seen"), (attribute, "unseen")} <= set(targets):
            raise SpecError(
                f"the column {attribute!r} of {world.path} has no value in one half of the entities; fill it, or leave "
                "it out by --set columns=."
            )
    frequent = [one for one in attributes if _top_share(targets[one, "seen"]) > MAX_MAJORITY_SHARE]
    if frequent:
        others = [attribute for attribute in attributes if attribute not in frequent]
        raise SpecError(
            f"most rows of {world.path} have one value in {', '.join(frequent)}, so that a guess would pass for "
            f"knowledge; leave out what has one by --set columns={','.join(others) or 'OTHERS'}."
        )


def _top_share(counts: Counter[str]) -> float:
    return max(counts.values()) / counts.total()
