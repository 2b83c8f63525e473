"""A second interpreter of Karel, written for tests from the rules alone: it shares nothing with the project's two.

It reads the words themselves, without parsing them first; cells and directions are complex numbers. North is -1j.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TURNS = {"turnLeft": -1j, "turnRight": 1j}
HEADINGS = {"N": -1j, "E": 1, "S": 1j, "W": -1}


class TooLong(Exception):
    """The program does not end within its limit."""


class TinyKarel:
    """One robot on one board, given as the JSON of a golden trace."""

    def __init__(self, grid: Mapping[str, object], limit: int) -> None:
        robot = grid["robot"]
        self.at, self.heading = complex(robot["col"], robot["row"]), HEADINGS[robot["dir"]]
        self.free = {complex(x, y) for x in range(1, grid["cols"] - 1) for y in range(1, grid["rows"] - 1)}
        self.free -= {complex(col, row) for row, col in grid["obstacles"]}
        self.piles = {complex(col, row): count for row, col, count in grid["markers"]}
        self.left, self.done = limit, []

    def run(self, words: Sequence[str]) -> list[tuple[str, complex, complex, dict[complex, int]]]:
        """Word, cell, heading and piles after each operation that is carried out."""
        assert self.block(words, 0, alive=True) == len(words)
        return self.done

    def block(self, words: Sequence[str], place: int, *, alive: bool) -> int:
        """Go through the words until a closing brace or the end; carry them out if alive. Returns where it ended."""
        while place < len(words) and words[place] != "}":
            place = self.statement(words, place, alive=alive)
        return place

    def statement(self, words: Sequence[str], place: int, *, alive: bool) -> int:
        word = words[place]
        if word == "repeat":
            times, body = int(words[place + 1]), place + 3
            end = self.block(words, body, alive=False)
            for _ in range(times if alive else 0):
                self.block(words, body, alive=True)
            return end + 1
        if word in ("while", "if"):
            negated = words[place + 1] == "not"
            name, body = words[place + 1 + negated], place + 3 + negated
            end = self.block(words, body, alive=False)
            if word == "while":
                while alive and self.check(name) != negated:
                    self.block(words, body, alive=True)
                return end + 1
            chosen = alive and self.check(name) != negated
            if chosen:
                self.block(words, body, alive=True)
            if words[end + 1 : end + 2] == ["else"]:
                return self.block(words, end + 3, alive=alive and not chosen) + 1
            return end + 1
        if alive:
            self.operate(word)
        return place + 1

    def spend(self) -> None:
        if self.left == 0:
            raise TooLong
        self.left -= 1

    def check(self, name: str) -> bool:
        self.spend()
        pile = self.piles.get(self.at, 0)
        turn = {"frontIsClear": 1, "leftIsClear": -1j, "rightIsClear": 1j}
        if name in turn:
            return self.at + self.heading * turn[name] in self.free
        return {"markersPresent": pile > 0, "noMarkersPresent": pile == 0}[name]

    def operate(self, word: str) -> None:
        self.spend()
        if word == "move":
            ahead = self.at + self.heading
            self.at = ahead if ahead in self.free else self.at
        elif word in TURNS:
            self.heading *= TURNS[word]
        else:
            change = {"putMarker": 1, "pickMarker": -1}[word]
            self.piles[self.at] = max(0, self.piles.get(self.at, 0) + change)
        self.done.append((word, self.at, self.heading, {k: v for k, v in self.piles.items() if v}))
