"""nosce's generation against `model.generate`, greedy, float32, one core: the same tokens, in how much less time?

A model that has learnt biographies by heart goes on from prompts that were cut anywhere, so prompts and
replies vary in length as those of questions and diaries do. `generate` is given the batch size that is
fastest for it. With drafts, ours is told what each reply is expected to be, as every evaluation against a
known target can; the reply is what the model says all the same.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from measure import cpu_seconds, in_turns, shares, write
from recipes import PEOPLE, candidate, data, learnt

from nosce.models.architecture import Architecture, build_model
from nosce.models.generation import TokenCompletion, generate
from nosce.seeds import Seed

MOST = 72
BATCHES = (32, 128, 400)  # tried for `generate`


def cut(told: Any, number: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prompts and what follows them, from biographies cut at a place drawn for each."""
    rng = PEOPLE.numpy()
    prompts, rests = [], []
    for text in range(number):
        tokens = told.sequences.text_tokens(text).astype(np.int64)[:-1]
        place = int(rng.integers(4, len(tokens) - 1))
        prompts.append(tokens[:place])
        rests.append(tokens[place:])
    return prompts, rests


def theirs(net: Any, prompts: list[np.ndarray], end: int, batch: int) -> list[TokenCompletion]:
    """transformers' generate, prompts of like length together."""
    encoder = net.config.is_encoder_decoder
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    found: list[TokenCompletion | None] = [None] * len(prompts)
    for first in range(0, len(order), batch):
        part = order[first : first + batch]
        shown = [prompts[i] if encoder else np.append(end, prompts[i]) for i in part]
        width = max(map(len, shown))
        tokens, mask = np.full((len(part), width), end), np.zeros((len(part), width), dtype=np.int64)
        for row, prompt in enumerate(shown):
            place = slice(0, len(prompt)) if encoder else slice(width - len(prompt), width)
            tokens[row, place], mask[row, place] = prompt, 1
        told = net.generate(
            torch.from_numpy(tokens),
            attention_mask=torch.from_numpy(mask),
            max_new_tokens=MOST,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
        ).numpy()
        for item, row in zip(part, told[:, 1:] if encoder else told[:, width:], strict=True):
            ends = np.flatnonzero(row == end)
            found[item] = TokenCompletion(row[: ends[0]] if len(ends) else row, bool(len(ends)))
    return [reply for reply in found if reply is not None]


def same(one: list[TokenCompletion], other: list[TokenCompletion]) -> float:
    """Share of replies that are the same, token for token."""
    return float(
        np.mean([a.ended == b.ended and np.array_equal(a.tokens, b.tokens) for a, b in zip(one, other, strict=True)])
    )


def encoder_decoder(told: Any, steps: int) -> Any:
    """A T5-shaped model taught to go on from a cut biography; plain torch, since only decoding is measured."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    net = T5ForConditionalGeneration(
        T5Config(
            vocab_size=told.vocabulary,
            d_model=128,
            d_kv=32,
            num_heads=4,
            d_ff=512,
            num_layers=3,
            dropout_rate=0.0,
            decoder_start_token_id=told.end,
            eos_token_id=told.end,
            pad_token_id=told.end,
        )
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    prompts, rests = cut(told, 400)
    rng = Seed(0).numpy()
    for _ in range(steps):
        rows = rng.choice(len(prompts), 32)
        given = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(prompts[i]) for i in rows], True, -1)
        wanted = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(np.append(rests[i], told.end)) for i in rows], True, -100
        )
        net(input_ids=given.clamp(min=0), attention_mask=(given >= 0).long(), labels=wanted).loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return net.eval()


def compare(name: str, net: Any, told: Any, repeats: int, *, number: int, drafted: bool) -> None:
    """Ours with and without drafts against theirs at its best batch size."""
    prompts, rests = cut(told, number)
    with torch.no_grad():
        times = {batch: cpu_seconds(lambda batch=batch: theirs(net, prompts, told.end, batch)) for batch in BATCHES}
        best = min(times, key=times.__getitem__)
        kept: dict[str, list[TokenCompletion]] = {}

        def side(which: str, call: Any) -> float:
            return cpu_seconds(lambda: kept.update({which: call()}))

        cases = {
            "theirs": lambda: side("theirs", lambda: theirs(net, prompts, told.end, best)),
            "ours": lambda: side("ours", lambda: generate(net, prompts, eos_id=told.end, max_new_tokens=MOST)),
        }
        if drafted:
            cases["drafted"] = lambda: side(
                "drafted", lambda: generate(net, prompts, eos_id=told.end, max_new_tokens=MOST, drafts=rests)
            )
        found = in_turns(cases, repeats)
    right = same([TokenCompletion(r, True) for r in rests], kept["ours"])
    for which, words in (("ours", ""), ("drafted", ", expected replies given")):
        if which in found:
            alike = same(kept[which], kept["theirs"])
            note = f"{alike:.1%} of {number} replies the same token for token; generate at its best batch of {best}; "
            note += f"{right:.0%} of replies as expected; CPU seconds of one thread"
            write("generate", f"{name}{words}", found[which], found["theirs"], note)


def profiled(net: Any, told: Any) -> None:
    """Where the time of decoding with an encoder goes."""
    prompts, _ = cut(told, 400)
    spent: list[float] = []
    kernels = shares(
        lambda: spent.append(cpu_seconds(lambda: generate(net, prompts, eos_id=told.end, max_new_tokens=MOST)))
    )
    write("generate", "profile of the encoder-decoder", spent, None, kernels)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    told = data("single")
    recipe = candidate(40, 32, optimizer="muon", muon_lr=0.03, peak_lr=2e-2, checkpoint_fractions=(1.0,))
    net = build_model(
        Architecture.named("3x128"), vocab_size=told.vocabulary, eos_id=told.end, pad_id=None, seed=Seed(0) / "weights"
    ).eval()
    compare("decoder-only, knows nothing", net, told, chosen.repeats, number=400, drafted=True)
    learnt(told, recipe, net=net)
    compare("decoder-only, knows all by heart", net.eval(), told, chosen.repeats, number=400, drafted=True)
    net = encoder_decoder(told, 300)
    compare("encoder-decoder", net, told, chosen.repeats, number=400, drafted=False)
    profiled(net, told)


if __name__ == "__main__":
    main()
