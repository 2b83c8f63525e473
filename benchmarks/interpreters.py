"""Karel's two interpreters on the same programs and boards: the one for thousands of boards against the one to read.

Official boards of six by six cells, programs of six to ten operations; one core, every state of every program kept.
The ratio is how many times less time an operation takes the first. What `nosce` does is in CPU seconds of one thread.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measure import cpu_seconds, in_turns, write

from nosce.data.worlds.karel import Karel
from nosce.data.worlds.karel import vectorized as many
from nosce.data.worlds.karel.interpreter import execute_program
from nosce.seeds import Seed

FEW = 500  # programs for the one to read


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--programs", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    world = Karel(
        records=1,
        seen_questions=chosen.programs,
        unseen_questions=1,
        asked_lengths=(6, 10),
        n_examples=1,
        n_heldout_examples=0,
    )
    asked = list(world.questions(Seed(0)))[: chosen.programs]
    pairs = np.stack([np.array(world.record_encoding.parse_examples(q.prompt, 36)[0][0]) for q in asked])
    programs = [world.record_encoding.parse_reply(q.target) or () for q in asked]
    boards, code = many.Boards.from_glyphs(pairs, 8, 8), many.compile_programs(programs)
    operations = sum(map(len, programs))
    read = [(boards.board(n), programs[n]) for n in range(min(FEW, len(programs)))]
    few = sum(len(program) for _, program in read)

    def readable() -> float:
        copies = [(many.Boards.from_boards([board]).board(0), program) for board, program in read]
        return (
            cpu_seconds(lambda: [list(execute_program(board, program)) for board, program in copies]) / few * operations
        )

    found = in_turns(
        {"many": lambda: cpu_seconds(lambda: many.run_programs(boards, code)), "one": readable}, chosen.repeats
    )
    rate = operations / float(np.median(found["many"]))
    note = f"{rate / 1e6:.1f} million operations a second on one core; {operations:,} of {len(programs):,} programs"
    write("interpreters", "vectorised against readable, official boards", found["many"], found["one"], note)


if __name__ == "__main__":
    main()
