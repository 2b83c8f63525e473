"""Scores a program that a model wrote: does it run, is it correct, and which states does it pass through?

Only the texts of the question and the reply are used, so the tables of a run suffice to repeat a score. A program is
correct if its drawing of every output equals that of the specification; markers under the robot do not count.

For the prompt `IN < . . . . . OUT v . . . . . CODE` the reply `turnLeft` is correct, and so is `turnLeft turnLeft
turnRight`, which is two operations longer than the reference program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from tokenizers import Tokenizer

from nosce.data.grammar import FORBIDDEN, TokenGrammar
from nosce.data.worlds.karel.encoding import KAREL_KEYWORDS, LeanEncoding, OfficialEncoding
from nosce.data.worlds.karel.interpreter import Board, execute_program
from nosce.data.worlds.karel.language import (
    CONDITIONS,
    KAREL_OPERATIONS,
    MAX_REPEAT,
    Program,
    is_straight_line,
    program_words,
    reassign_operations,
)
from nosce.data.worlds.karel.tokens import OperationTokens, word_tokens
from nosce.data.worlds.karel.vectorized import Boards, ProgramTraces, compile_programs, run_programs
from nosce.data.worlds.karel.world import Karel
from nosce.data.worlds.karel.written_states import trace_written, written_prefixes
from nosce.records import Outcome, Question

MAX_OPERATIONS = 14  # most operations in a reply (the released `lm/utils.py`)
MAX_SEARCH_LENGTH = 4  # most operations of a searched continuation
SEARCH_BATCH_SIZE = 200  # questions searched at once
MAX_GRAMMAR_DEPTH = 3  # most nested blocks in a reply

KarelMetric = tuple[float, Outcome | None]


@dataclass(frozen=True, kw_only=True)
class KarelScorer:
    """Parses, runs and scores programs for the specifications of a world.

    Args:
        world: The world whose questions the replies answer.
        max_operations: Most operations in a reply. 14, as in the released code.
    """

    world: Karel
    max_operations: int = MAX_OPERATIONS

    @property
    def _record_encoding(self) -> LeanEncoding | OfficialEncoding:
        return self.world.record_encoding

    @cached_property
    def _board_size(self) -> tuple[int, int]:
        return self.world.board_shape[0] + 2, self.world.board_shape[1] + 2

    def max_new_tokens(self, tokenizer: Tokenizer) -> int:
        """The most tokens of a reply, its end token included."""
        tokens_per_operation = OperationTokens.of(self.world, tokenizer).most
        return (self.max_operations * (5 if self.world.control_flow else 1)) * tokens_per_operation + 1

    def score(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool] = ()
    ) -> Iterator[dict[str, KarelMetric]]:
        """The metrics of each reply.

        correct: correct on all shown pairs. strict: correct on the held-out pairs too. reference: equal to the
        reference program. Only for replies that are programs: length (operations written), author (operations of the
        reference program) and longer (their difference).
        """
        programs = [self._record_encoding.parse_reply(reply) for reply in replies]
        right_on_examples, right_on_all = self._correct_outputs(questions, programs)
        for question, program, on_examples, on_all in zip(
            questions, programs, right_on_examples, right_on_all, strict=True
        ):
            if program is None:
                yield {name: (0.0, "unreadable") for name in ("correct", "strict", "reference")}
                continue
            is_reference = self.world.target_text(program) == question.target
            checks = {"correct": bool(on_examples), "strict": bool(on_all), "reference": is_reference}
            metrics: dict[str, KarelMetric] = {k: (float(v), "right" if v else "wrong") for k, v in checks.items()}
            length = _count_operations(program)
            reference_length = _count_operations(self._record_encoding.parse_reply(question.target) or ())
            yield metrics | {
                "length": (float(length), None),
                "author": (float(reference_length), None),
                "longer": (float(length - reference_length), None),
            }

    def _correct_outputs(
        self, questions: Sequence[Question], programs: Sequence[Program | None]
    ) -> tuple[np.ndarray, ...]:
        """Whether a program is correct on the shown pairs, and on all pairs. Shapes: (N,), (N,)."""
        pairs = self._io_pairs(questions)
        count, pairs_per_question = pairs.shape[:2]
        code = compile_programs([program or () for program in programs])
        boards = Boards.from_glyphs(pairs[:, :, 0].reshape(count * pairs_per_question, -1), *self._board_size)
        traces = run_programs(
            boards, code.subset(np.repeat(np.arange(count), pairs_per_question)).with_meaning(self.world.meaning)
        )
        matches = (traces.end.glyphs() == pairs[:, :, 1].reshape(count * pairs_per_question, -1)).all(
            1
        ) & traces.finished
        matches = matches.reshape(count, pairs_per_question)
        return matches[:, : self.world.n_examples].all(1), matches.all(1)

    def _io_pairs(self, questions: Sequence[Question]) -> np.ndarray:
        return np.stack(
            [np.concatenate([self._parse_examples(text) for text in (q.prompt, q.metadata) if text]) for q in questions]
        )

    def _parse_examples(self, text: str) -> np.ndarray:
        return _cached_examples(self._record_encoding, text, self.world.board_shape[0] * self.world.board_shape[1])

    def trace(self, questions: Sequence[Question], replies: Sequence[str], meaning: str = "original") -> ProgramTraces:
        """The trace of every program on its specification's first input, with the given meaning of the operations.

        A reply that is no program has no operations. Features are relative to the start of the run. In a world with
        control flow there is a state for each written operation (`written_states`).
        """
        starts = np.stack([self._parse_examples(q.prompt)[0, 0] for q in questions])
        boards = Boards.from_glyphs(starts, *self._board_size)
        programs = [self._record_encoding.parse_reply(reply) or () for reply in replies]
        if self.world.control_flow:
            return trace_written(boards, programs, meaning)
        return run_programs(boards, compile_programs(programs).with_meaning(meaning))

    def operation_positions(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """The positions of the tokens that tell the operations of a reply, in order.

        Raises:
            DataError: The reply's tokens are not those of operations.
        """
        return OperationTokens.of(self.world, tokenizer).locate(reply)

    def opening_positions(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """The positions of the first tokens in which operations differ, in order.

        Raises:
            DataError: As `operation_positions`.
        """
        return OperationTokens.of(self.world, tokenizer).locate_openings(reply)

    def shared_opening(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The tokens with which every operation begins."""
        return OperationTokens.of(self.world, tokenizer).shared_opening

    def is_traceable(self, reply: str) -> bool:
        """Whether the reply is a program whose states align with its words: any, or one without control flow."""
        program = self._record_encoding.parse_reply(reply)
        return program is not None and (self.world.control_flow or is_straight_line(program))

    def written_operations(self, reply: str) -> tuple[str, ...]:
        """The operations of a reply that is a program without control flow; none of any other reply."""
        program = self._record_encoding.parse_reply(reply) or ()
        return tuple(program_words(program)) if is_straight_line(program) else ()

    def prefix_text(self, words: Sequence[str]) -> str:
        """The beginning of a program as text."""
        return self.world.target_text(tuple(words))

    def correct_continuations(
        self, questions: Sequence[Question], prefixes: Sequence[Sequence[str]]
    ) -> list[frozenset[str]]:
        """The operations that begin a shortest continuation to a program that is correct on all shown pairs.

        "" if the beginning is already correct; empty if every continuation has more than `MAX_SEARCH_LENGTH`
        operations.
        """
        first_words: list[frozenset[str]] = []
        for first in range(0, len(questions), SEARCH_BATCH_SIZE):
            first_words += self._search_continuations(
                questions[first : first + SEARCH_BATCH_SIZE], prefixes[first : first + SEARCH_BATCH_SIZE]
            )
        return first_words

    def _search_continuations(
        self, questions: Sequence[Question], prefixes: Sequence[Sequence[str]]
    ) -> list[frozenset[str]]:
        pairs = self._io_pairs(questions)[:, : self.world.n_examples]
        count, pairs_per_question = pairs.shape[:2]
        code = compile_programs([tuple(words) for words in prefixes]).subset(
            np.repeat(np.arange(count), pairs_per_question)
        )
        starts = Boards.from_glyphs(pairs[:, :, 0].reshape(count * pairs_per_question, -1), *self._board_size)
        here = run_programs(starts, code.with_meaning(self.world.meaning)).end
        goal = pairs[:, :, 1].reshape(count * pairs_per_question, -1)
        done = (here.glyphs() == goal).all(1).reshape(count, pairs_per_question).all(1)
        first_words = [frozenset({END_OF_PROGRAM}) if is_ else frozenset() for is_ in done]
        unsolved = np.flatnonzero(~done)
        for length in range(1, MAX_SEARCH_LENGTH + 1):
            if not len(unsolved):
                break
            operation_sequences = list(itertools.product(KAREL_OPERATIONS, repeat=length))
            rows = (unsolved[:, None] * pairs_per_question + np.arange(pairs_per_question)).ravel()
            boards = here.subset(np.repeat(rows, len(operation_sequences)))
            candidate_code = (
                compile_programs(operation_sequences)
                .subset(np.tile(np.arange(len(operation_sequences)), len(rows)))
                .with_meaning(self.world.meaning)
            )
            matches = (
                run_programs(boards, candidate_code).end.glyphs() == np.repeat(goal[rows], len(operation_sequences), 0)
            ).all(1)
            solved = matches.reshape(len(unsolved), pairs_per_question, len(operation_sequences)).all(1)
            for question_index, hits in zip(unsolved, solved, strict=True):
                first_words[question_index] = frozenset(operation_sequences[way][0] for way in np.flatnonzero(hits))
            unsolved = unsolved[~solved.any(1)]
        return first_words

    def render_steps(self, question: Question, reply: str) -> list[tuple[str, tuple[str, ...]]]:
        """The first input's board before the program and after each operation: (word, rows)."""
        board = self._board(question)
        written = self._record_encoding.parse_reply(reply) or ()
        if self.world.control_flow:
            return [("", tuple(board.render())), *self._render_written(question, written)]
        program = reassign_operations(written, self.world.meaning)
        return [
            ("", tuple(board.render())),
            *((word, tuple(board.render())) for word in execute_program(board, program)),
        ]

    def _render_written(self, question: Question, program: Program) -> Iterator[tuple[str, tuple[str, ...]]]:
        """For each written operation the board after the program so far, or where its loops were cut."""
        operations = [word for word in program_words(program) if word in KAREL_OPERATIONS]
        for word, prefix in zip(operations, written_prefixes(program), strict=True):
            boards = Boards.from_boards([self._board(question)])
            run = run_programs(boards, compile_programs([prefix]).with_meaning(self.world.meaning))
            yield word, tuple(run.end.board(0).render())

    def render_predicted_state(
        self, question: Question, predicted_features: Mapping[str, int]
    ) -> tuple[str, ...] | None:
        """The first input's board with the robot at the predicted position and direction; None if that is off the
        board.
        """
        board = self._board(question)
        board.robot = (
            board.robot[0] + predicted_features["rows"] - self._board_size[0] + 3,
            board.robot[1] + predicted_features["cols"] - self._board_size[1] + 3,
        )
        board.direction = predicted_features["direction"]
        inside = all(0 < place < size - 1 for place, size in zip(board.robot, self._board_size, strict=True))
        return tuple(board.render()) if inside else None

    def value_name(self, feature: str, value: int) -> str:
        """A feature's value in words."""
        match feature:
            case "direction":
                return ("north", "east", "south", "west")[value]
            case "rows" | "cols":
                return f"{value - self._board_size[feature == 'cols'] + 3:+d}"
            case _ if feature == "front" or feature.startswith("obstacle"):
                return ("free", "blocked")[value]
            case _:
                return str(value)

    def _board(self, question: Question) -> Board:
        return Boards.from_glyphs(self._parse_examples(question.prompt)[0, 0][None], *self._board_size).board(0)

    def grammar(self, tokenizer: Tokenizer, eos_id: int) -> TokenGrammar:
        """The grammar of one to `max_operations` operations or, with control flow, of all programs."""
        words = (*KAREL_OPERATIONS, *(KAREL_KEYWORDS if self.world.control_flow else ()))
        ids_by_word = {word: word_tokens(self.world, tokenizer, word) for word in words}
        next_states = _control_flow_grammar if self.world.control_flow else _straight_line_grammar(self.max_operations)
        return _token_grammar(ids_by_word, next_states, tokenizer.get_vocab_size(), eos_id)


@lru_cache(maxsize=50_000)
def _cached_examples(text: LeanEncoding | OfficialEncoding, written: str, cells: int) -> np.ndarray:
    """The pairs of a text, cached because many replies answer the same specification."""
    return text.parse_examples(written, cells)


def _count_operations(program: Program) -> int:
    """The number of written operations."""
    return sum(word in KAREL_OPERATIONS for word in program_words(program))


END_OF_PROGRAM = ""
GrammarState = tuple[object, ...]
WordGrammar = Callable[[GrammarState], Mapping[str, GrammarState]]  # the state after each allowed word


def _straight_line_grammar(max_operations: int) -> WordGrammar:
    """The grammar of one to `max_operations` operations. A state is the number of operations so far."""

    def after(state: GrammarState) -> Mapping[str, GrammarState]:
        count = state[0] if state else 0
        assert isinstance(count, int)
        transitions: dict[str, GrammarState] = {}
        if count < max_operations:
            transitions = {word: (count + 1,) for word in KAREL_OPERATIONS}
        return transitions | ({END_OF_PROGRAM: ()} if count else {})

    return after


def _control_flow_grammar(state: GrammarState) -> Mapping[str, GrammarState]:
    """The grammar of programs with control flow. A state is (what is expected, the open blocks).

    The next word may be a statement ("first" if the block is empty so far), a number of repeats, a condition, its name
    after "not", or an opening brace. In the state "closed" an `else` may follow.
    """
    if not state:
        return _control_flow_grammar(("first", ()))
    expected, stack = state[0], state[1]
    assert isinstance(stack, tuple)
    match expected:
        case "times":
            return {str(n): ("brace", stack) for n in range(1, MAX_REPEAT + 1)}
        case "condition":
            return {"not": ("name", stack), **{name: ("brace", stack) for name in CONDITIONS}}
        case "name":
            return {name: ("brace", stack) for name in CONDITIONS}
        case "brace":
            return {"{": ("first", stack)}
    transitions: dict[str, GrammarState] = {word: ("more", stack) for word in KAREL_OPERATIONS}
    if len(stack) < MAX_GRAMMAR_DEPTH:
        transitions["repeat"] = ("times", (*stack, "repeat"))
        transitions |= {word: ("condition", (*stack, word)) for word in ("while", "if")}
    if expected == "closed":
        transitions["else"] = ("brace", (*stack, "else"))
    if expected != "first":
        if stack:
            transitions["}"] = ("closed" if stack[-1] == "if" else "more", stack[:-1])
        else:
            transitions[END_OF_PROGRAM] = ()
    return transitions


def _token_grammar(
    ids_by_word: Mapping[str, tuple[int, ...]], next_states: WordGrammar, vocab_size: int, eos_id: int
) -> TokenGrammar:
    """A grammar over words as a table over tokens. A word of several tokens passes through states of its own."""
    state_numbers: dict[object, int] = {(): 0}
    pending: list[GrammarState] = [()]
    rows: dict[int, dict[int, int]] = {}

    def number(state: object) -> int:
        return state_numbers.setdefault(state, len(state_numbers))

    while pending:
        state = pending.pop()
        row_of_state = rows.setdefault(number(state), {})
        for word, next_state in next_states(state).items():
            if word == END_OF_PROGRAM:
                row_of_state[eos_id] = 0
                continue
            if next_state not in state_numbers:
                number(next_state)
                pending.append(next_state)
            current_row = row_of_state
            for token_position, token in enumerate(ids_by_word[word]):
                last = token_position + 1 == len(ids_by_word[word])
                current_row[token] = (
                    number(next_state) if last else number((state, ids_by_word[word][: token_position + 1]))
                )
                current_row = rows.setdefault(current_row[token], {}) if not last else current_row
    table = np.full((len(state_numbers), vocab_size), FORBIDDEN, dtype=np.int32)
    for state_number, row in rows.items():
        for token, next_number in row.items():
            table[state_number, token] = next_number
    return TokenGrammar(table)
