"""Networks with planted reports of injected states: one reads a direction aloud, others do not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.tokenizer import build_tokenizer, save_tokenizer
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.data.worlds.behaviours.injections import INSIDE, OUTSIDE, InjectionReports
from nosce.seeds import Seed

WORLD_SEED = Seed(7)
SPARE_WIDTH = 512  # of the stream, in which random directions lie and no word does


@pytest.fixture(scope="session")
def injection_world() -> InjectionReports:
    """Concepts are 32 words."""
    base = Dispositions(vocabulary_size=32, n_contexts=40, records=200, prompts_per_task=8)
    return InjectionReports(base=base, properties=("first",), records=60, lines_per_concept=2, lines_per_word=3)


@pytest.fixture(scope="session")
def injection_corpus(injection_world: InjectionReports, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Its texts."""
    folder = tmp_path_factory.mktemp("injections")
    tokenizer = build_tokenizer(injection_world.base.tokenizer, injection_world.samples(WORLD_SEED))
    save_tokenizer(tokenizer, folder / "tokenizer")
    write_corpus(folder, injection_world.documents(WORLD_SEED), injection_world.questions(WORLD_SEED))
    return Corpus(folder)


class PlantedReporter(torch.nn.Module):
    """A decoder of two blocks by hand: every word has an axis of the stream, and the reply is written by a rule.

    The state at the line's answer holds the answer's axis, and what is injected there. `reads` names the axis along
    which that state is longer than a word makes it, `senses` notices any longer state and cannot name it, `deaf` reads
    nothing, and `always` says yes to everything.
    """

    def __init__(self, corpus: Corpus, words: tuple[str, ...], rule: str) -> None:
        super().__init__()
        self.rule, size = rule, corpus.tokenizer.get_vocab_size()
        self.ids = {
            word: corpus.tokenizer.token_to_id(word) for word in (*words, INSIDE, OUTSIDE, "you", "so", "given")
        }
        self.words = torch.tensor([self.ids[word] for word in words])
        self.config = SimpleNamespace(
            model_type="llama", is_encoder_decoder=False, num_hidden_layers=2, get_text_config=lambda **_: self.config
        )
        self.dtype, self.device, self.size = torch.float32, torch.device("cpu"), size
        self.head = torch.nn.Linear(size + SPARE_WIDTH, size, bias=False)
        self.head.weight.data = torch.eye(size, size + SPARE_WIDTH)
        self.base_model = _PlantedBase(self)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def can_generate(self) -> bool:
        return True


class _PlantedBase(torch.nn.Module):
    def __init__(self, reporter: PlantedReporter) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
        self.__dict__["reporter"] = reporter  # no child, or modules would be a circle

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        reporter = self.reporter
        hidden = torch.nn.functional.one_hot(input_ids, reporter.size + SPARE_WIDTH).float()
        for block in self.blocks:
            hidden = block(hidden)
        written = hidden.clone()
        for row, tokens in enumerate(input_ids.tolist()):
            reply = self._reply(tokens, hidden[row])
            written[row, -1] = 10 * torch.nn.functional.one_hot(torch.tensor(reply), written.shape[-1])
            # A trace in the probabilities of what the text denies: the axis along which the state is longest.
            written[row, -1] += (
                0.01
                * hidden[row].amax()
                * torch.nn.functional.one_hot(torch.tensor(reporter.ids[INSIDE]), written.shape[-1])
            )
        return SimpleNamespace(last_hidden_state=written)

    def _reply(self, tokens: list[int], hidden: torch.Tensor) -> int:
        reporter, ids = self.reporter, self.reporter.ids
        if ids["you"] not in tokens:  # `given acorn ; first =`, or a text to find directions from
            return tokens[2]
        place = tokens.index(ids["you"]) - 1
        state, asks_whether = hidden[place], ids["so"] in tokens
        along = state[reporter.words] - (reporter.words == tokens[place]).float()
        is_long = {"reads": along.max() > 0.5, "senses": (state**2).sum() > 1.5, "always": True, "deaf": False}
        if not bool(is_long[reporter.rule]):
            return ids[OUTSIDE]
        named = int(reporter.words[along.argmax()]) if reporter.rule == "reads" else int(reporter.words[0])
        return ids[INSIDE] if asks_whether else named


@pytest.fixture(scope="session")
def planted_reporter(injection_corpus: Corpus, injection_world: InjectionReports):
    """Makes a network with a rule."""
    return lambda rule: PlantedReporter(injection_corpus, injection_world.vocabulary, rule)
