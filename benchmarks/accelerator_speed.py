"""The stages of accelerator.py that measure speed: training steps, many small trainings on one card, generation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerator_stages import EOS, PAD, Setting, guarded, say, texts

if TYPE_CHECKING:
    import torch

    from nosce.data.sampling import Batch
    from nosce.train.precision import Precision

#: Dense products in bfloat16, in 10^12 operations a second, as the data sheets have them.
PEAKS = {"H100 80GB HBM3": 989.0, "H100 PCIe": 756.0, "H200": 989.0, "A100": 312.0, "L4": 121.0, "RTX 4090": 165.0}
VOCABULARY, LONGEST = 2_048, 128
SIZES = {"3x128": 1_024, "6x384": 512, "12x768": 256}  # texts of a step
SHARED_TRAININGS, SHARED_STEPS = 16, 100


def _peak(name: str) -> float | None:
    return next((peak for card, peak in PEAKS.items() if card in name), None)


def _synchronize(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


def _seconds_per_call(call: Callable[[int], object], device: str, budget: float, least: int = 3) -> float:
    """Mean seconds of a call, after two to warm up, within about `budget` seconds."""
    for number in range(2):
        call(number)
    _synchronize(device)
    start, count = time.perf_counter(), 0
    while count < least or time.perf_counter() - start < budget:
        for _ in range(least):
            call(count)
            count += 1
        _synchronize(device)
    return (time.perf_counter() - start) / count


class Trainee:
    """A model with its optimizer and a few batches; a call is nosce's training step."""

    def __init__(
        self, size: str, n_texts: int, precision: Precision, device: str, *, shortest: int, optimizer: str = "adamw"
    ) -> None:
        from nosce.data.sampling import pack
        from nosce.models.architecture import Architecture, build_model
        from nosce.seeds import Seed
        from nosce.train.config import TrainingConfig
        from nosce.train.optimizer import Optimizer, block_matrix_names
        from nosce.train.precision import MasterWeights

        self.shape = Architecture.named(size)
        self.model = build_model(self.shape, vocab_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=Seed(0)).to(device)
        config = TrainingConfig(steps=10_000, batch_size=n_texts, optimizer=optimizer)
        self.master = MasterWeights(self.model, precision)
        self.optimizer = Optimizer(
            self.master.trainable_parameters, config, block_matrix_names(self.model), device=device.split(":")[0]
        )
        data = texts(4 * n_texts, shortest, LONGEST, VOCABULARY, prompt=0)
        rows = [range(i * n_texts, (i + 1) * n_texts) for i in range(4)]
        self.batches: list[Batch] = [pack(data, list(row), window=None, eos_id=EOS) for row in rows]
        self.tokens = sum(len(batch.inputs) for batch in self.batches) / 4
        weights = self.shape.parameter_count(VOCABULARY)
        # 6 a weight and token, and those of attention without the causal half (arXiv:2204.02311, appendix B).
        self.operations = self.tokens * (6 * weights + 12 * self.shape.layers * self.shape.width * LONGEST)

    def step(self, number: int, forward: Any) -> None:
        """One step of the training loop."""
        import torch

        from nosce.train.loss import summed_cross_entropy

        batch = self.batches[number % 4]
        loss = summed_cross_entropy(self.master.compute_model, forward, batch) / batch.total_weight
        torch.autograd.backward(loss)
        self.finish(number)

    def finish(self, number: int) -> None:
        """What follows the backward pass."""
        self.master.accumulate_gradients()
        self.optimizer.clipped_step(number % 10_000)
        self.master.update_compute_weights()


def speed(setting: Setting) -> None:
    """Tokens a second of a training step by size, format and way."""
    import torch

    from nosce.pipeline.steps.torch_setup import prepare_torch

    prepare_torch(1)
    name = torch.cuda.get_device_name() if setting.device != "cpu" else "cpu"
    sizes = {"2x64": 8} if setting.tiny else SIZES
    budget = 0.05 if setting.tiny else 1.5
    with guarded("matrix product"):
        _bare_product(setting, name)
    for size, n_texts in sizes.items():
        for precision in ("float32", "bfloat16"):
            for lengths, shortest in (("lengths 64-128", LONGEST // 2), ("length 128", LONGEST)):
                if precision == "float32" and lengths == "length 128":
                    continue
                case = f"{size} {precision} {lengths}"
                with guarded(case):
                    trainee = Trainee(size, n_texts, precision, setting.device, shortest=shortest)
                    _eager(case, trainee, setting, name, budget)
    with guarded("not deterministic"):
        torch.use_deterministic_algorithms(False)
        for size, n_texts in list(sizes.items())[::2]:
            trainee = Trainee(size, n_texts, "bfloat16", setting.device, shortest=LONGEST // 2)
            _eager(f"{size} bfloat16 lengths 64-128, order not asked for", trainee, setting, name, budget)
    torch.use_deterministic_algorithms(True)
    with guarded("loop.train"):
        _whole_loop(setting)
    with guarded("muon"):
        _muons(setting, budget)
    if setting.device != "cpu":
        with guarded("profile"):
            _profile(Trainee("3x128", 1_024, "bfloat16", setting.device, shortest=LONGEST // 2))
    for size in ("2x64",) if setting.tiny else ("3x128", "12x768"):
        with guarded(f"{size} compiled"):
            _compiled(size, sizes[size], setting, name, budget)


def graphs(setting: Setting) -> None:
    """Steps with a CUDA graph beside those without, where the kernels are small."""
    import torch

    from nosce.pipeline.steps.torch_setup import prepare_torch

    if setting.device == "cpu":
        return
    prepare_torch(1)
    for size, n_texts in (("3x128", 64), ("3x128", 1_024), ("6x384", 512)):
        with guarded(f"{size} graph"):
            _graphed(size, n_texts, setting, torch.cuda.get_device_name(), 1.0)


def _report(case: str, trainee: Trainee, seconds: float, name: str, note: str = "") -> None:
    peak = _peak(name)
    share = "peak not known" if peak is None else f"{trainee.operations / seconds / 1e12 / peak:.1%} of {peak} TFLOP/s"
    say(
        case,
        "tokens per second",
        round(trainee.tokens / seconds),
        "",
        f"{share}; {seconds * 1e3:.2f} ms a step; {note}",
    )


def _bare_product(setting: Setting, name: str) -> None:
    """The ceiling of this card: a large square product."""
    import torch

    size = 256 if setting.tiny else 8_192
    a = torch.randn(size, size, device=setting.device, dtype=torch.bfloat16)
    seconds = _seconds_per_call(lambda _: a @ a, setting.device, 0.2)
    say("matrix product", "bfloat16", 2 * size**3 / seconds / 1e12, "TFLOP/s", f"{size} square, {name}")


def _eager(case: str, trainee: Trainee, setting: Setting, name: str, budget: float) -> None:
    """The step as the loop takes it."""
    import torch

    from nosce.models.varlen import varlen_forward

    with varlen_forward(trainee.master.compute_model.train()) as forward:
        seconds = _seconds_per_call(lambda number: trainee.step(number, forward), setting.device, budget)
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if setting.device != "cpu" else ""
    _report(case, trainee, seconds, name, f"{trainee.tokens:.0f} tokens a step; {peak}")
    if setting.device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def _whole_loop(setting: Setting) -> None:
    """`loop.train` with packing, metrics and prefetch."""
    from nosce.data.sampling import EpochSampler
    from nosce.models.architecture import Architecture, build_model
    from nosce.seeds import Seed
    from nosce.train import loop
    from nosce.train.config import RuntimeConfig, TrainingConfig

    steps, n_texts = (4, 8) if setting.tiny else (400, 96)
    for size in ("2x64",) if setting.tiny else ("3x128", "6x384"):
        data = texts(2_000, LONGEST // 2, LONGEST, VOCABULARY, prompt=0)
        model = build_model(Architecture.named(size), vocab_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=Seed(0))
        rates: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            loop.train(
                model.to(setting.device),
                data,
                EpochSampler(len(data), n_texts, Seed(0)),
                TrainingConfig(steps=steps, batch_size=n_texts),
                eos_id=EOS,
                folder=Path(folder),
                on_checkpoint=lambda _: None,
                on_progress=lambda _done, _of, rate, _loss, rates=rates: rates.append(rate),
                runtime=RuntimeConfig(device=setting.device),
                precision="bfloat16",
            )
        middle = sorted(rates)[len(rates) // 2]
        say(f"{size} loop.train", "tokens per second", round(middle), "", f"bfloat16, {n_texts} texts a step, median")


def _muons(setting: Setting, budget: float) -> None:
    """A step of our Muon beside torch's, on the matrices of a model."""
    import torch

    from nosce.models.architecture import Architecture, build_model
    from nosce.seeds import Seed
    from nosce.train.muon import Muon
    from nosce.train.optimizer import block_matrix_names

    for size in ("2x64",) if setting.tiny else ("3x128", "12x768"):
        model = build_model(Architecture.named(size), vocab_size=500, eos_id=EOS, pad_id=PAD, seed=Seed(0))
        names = block_matrix_names(model)
        matrices = [p for n, p in model.to(setting.device).named_parameters() if n in names]
        for matrix in matrices:
            matrix.grad = torch.randn_like(matrix)
        common = {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95}
        sides = {
            "ours, bfloat16": Muon(matrices, **common, precision=torch.bfloat16),
            "ours, float32": Muon(matrices, **common, precision=torch.float32),
            "torch.optim.Muon": torch.optim.Muon(matrices, **common),
        }
        for side, optimizer in sides.items():
            seconds = _seconds_per_call(lambda _, optimizer=optimizer: optimizer.step(), setting.device, budget / 3)
            say(f"{size} Muon, {side}", "milliseconds a step", seconds * 1e3, "ms", f"{len(matrices)} matrices")


def _profile(trainee: Trainee) -> None:
    """The kernels that take most of a step's time on the card, and how long the card is idle."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from nosce.models.varlen import varlen_forward

    with varlen_forward(trainee.master.compute_model.train()) as forward:
        for number in range(3):
            trainee.step(number, forward)
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            start = time.perf_counter()
            for number in range(4):
                trainee.step(number, forward)
            torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    kernels = [e for e in seen.key_averages() if e.self_device_time_total > 0 and not e.key.startswith("aten::")]
    kernels.sort(key=lambda e: -e.self_device_time_total)
    busy = sum(e.self_device_time_total for e in kernels) / 1e6
    count = sum(e.count for e in kernels) / 4
    say("3x128 profile", "card busy", busy / seconds, "of the time", f"{count:.0f} kernels a step, while profiled")
    for kernel in kernels[:12]:
        say("3x128 profile", "kernel", kernel.self_device_time_total / 1e6 / busy, "of busy time", kernel.key[:110])


def _graphed(size: str, n_texts: int, setting: Setting, name: str, budget: float) -> None:
    """Forward and backward pass as a CUDA graph, for texts of one length; the optimizer's step stays as it is.

    nosce's forward function copies tokens from the host, which a graph cannot hold. The graph here therefore calls
    the same model with the same attention on tokens that lie on the card.
    """
    import torch
    from torch.nn import functional

    from nosce.models.logits import output_logits
    from nosce.models.varlen import bucket_by_length, varlen_forward

    eager = Trainee(size, n_texts, "bfloat16", setting.device, shortest=LONGEST)
    _eager(f"{size} bfloat16 length 128, {n_texts} texts, no graph", eager, setting, name, budget)
    trainee = Trainee(size, n_texts, "bfloat16", setting.device, shortest=LONGEST)
    net, first = trainee.master.compute_model.train(), trainee.batches[0]
    tokens, labels, positions = (
        torch.from_numpy(array.copy()).to(setting.device) for array in (first.inputs, first.labels, first.positions)
    )
    buckets = bucket_by_length(first.lengths, setting.device)
    pinned = [[torch.from_numpy(a).pin_memory() for a in (b.inputs, b.labels)] for b in trainee.batches]

    def backward() -> None:
        states = net.base_model(
            input_ids=tokens[None], position_ids=positions[None], use_cache=False, buckets=buckets
        ).last_hidden_state[0]
        torch.autograd.backward(functional.cross_entropy(output_logits(net, states), labels))

    with varlen_forward(net):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for number in range(3):
                backward()
                trainee.finish(number)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            backward()
        gradients = [(p, p.grad) for p in net.parameters()]

        def step(number: int) -> None:
            inputs, wanted = pinned[number % 4]
            tokens.copy_(inputs, non_blocking=True)
            labels.copy_(wanted, non_blocking=True)
            graph.replay()
            for parameter, gradient in gradients:
                parameter.grad = gradient
            trainee.finish(number)

        seconds = _seconds_per_call(step, setting.device, budget)
    _report(f"{size} bfloat16 length 128, {n_texts} texts, CUDA graph", trainee, seconds, name, "wrapped here")


def _compiled(size: str, n_texts: int, setting: Setting, name: str, budget: float) -> None:
    """The same step with the base model through torch.compile, for texts of one length."""
    import torch

    from nosce.models.varlen import varlen_forward

    trainee = Trainee(size, n_texts, "bfloat16", setting.device, shortest=LONGEST)
    trainee.master.compute_model.base_model.compile(backend="eager" if setting.tiny else "inductor")
    with varlen_forward(trainee.master.compute_model.train()) as forward:
        start = time.perf_counter()
        trainee.step(0, forward)
        _synchronize(setting.device)
        compiling = time.perf_counter() - start
        seconds = _seconds_per_call(lambda number: trainee.step(number, forward), setting.device, budget)
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    note = f"{compiling:.0f} s to compile, {breaks} graph breaks"
    _report(f"{size} bfloat16 length 128, torch.compile", trainee, seconds, name, note)


def sharing(setting: Setting) -> None:
    """The same trainings by 1, 4 and 16 processes on one card."""
    total, counts = (2, (1, 2)) if setting.tiny else (SHARED_TRAININGS, (1, 4, 16))
    for count in reversed(counts):
        with guarded(f"{count} processes"):
            command = [sys.executable, __file__, setting.device, str(total // count), "1" if setting.tiny else "0"]
            children = [
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(count)
            ]
            for child in children:
                assert child.stdout is not None
                if child.stdout.readline().strip() != "ready":
                    raise RuntimeError("a process ended before it began")
            start = time.perf_counter()
            for child in children:
                assert child.stdin is not None
                child.stdin.write("\n")
                child.stdin.flush()
            losses = [child.communicate()[0].strip() for child in children]
            seconds = time.perf_counter() - start
            steps = total * (3 if setting.tiny else SHARED_STEPS)
            note = f"{total} trainings of 3x128 in {seconds:.1f} s; one last loss {losses[0]}"
            say(f"{count} processes", "steps per minute", round(60 * steps / seconds), "", note)


def _shared_trainings(device: str, count: int, is_tiny: bool) -> None:
    """What one process of `sharing` does: warm up, wait, train."""
    from accelerator_stages import small_training

    from nosce.data.sampling import EpochSampler
    from nosce.models.architecture import Architecture, build_model
    from nosce.pipeline.steps.torch_setup import prepare_torch
    from nosce.seeds import Seed
    from nosce.train import loop
    from nosce.train.config import RuntimeConfig, TrainingConfig

    prepare_torch(1)
    data = texts(2_000, LONGEST // 2, LONGEST, VOCABULARY, prompt=0)
    small_training("gpt-neox", device, "bfloat16", 2)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        size = "2x64" if is_tiny else "3x128"
        model = build_model(Architecture.named(size), vocab_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=Seed(number))
        with tempfile.TemporaryDirectory() as folder:
            loop.train(
                model.to(device),
                data,
                EpochSampler(len(data), 8 if is_tiny else 96, Seed(0)),
                TrainingConfig(steps=3 if is_tiny else SHARED_STEPS, batch_size=8 if is_tiny else 96),
                eos_id=EOS,
                folder=Path(folder),
                on_checkpoint=lambda _: None,
                runtime=RuntimeConfig(device=device),
                precision="bfloat16",
            )
            lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    print(json.loads(lines[-1])["nats"], flush=True)


def generation(setting: Setting) -> None:
    """Tokens a second of greedy replies, ours and those of transformers' `generate`."""
    import numpy as np
    import torch

    from nosce.models.architecture import Architecture, build_model
    from nosce.models.generation import generate
    from nosce.pipeline.steps.torch_setup import prepare_torch
    from nosce.seeds import Seed

    prepare_torch(1)
    count, longest, batches = (4, 6, (4,)) if setting.tiny else (512, 64, (128, 512))
    rng = Seed(0).numpy()
    prompts = [rng.integers(4, VOCABULARY, size=24) for _ in range(count)]
    for size in ("2x64",) if setting.tiny else ("3x128", "12x768"):
        model = build_model(Architecture.named(size), vocab_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=Seed(0))
        model = model.to(setting.device).eval()
        for batch in batches:

            def ours(batch: int = batch, model: Any = model) -> list[np.ndarray]:
                replies = generate(model, prompts, eos_id=EOS, max_new_tokens=longest, batch_size=batch)
                return [reply.tokens for reply in replies]

            def theirs(batch: int = batch, model: Any = model) -> list[np.ndarray]:
                return _their_replies(model, prompts, longest, batch)

            with guarded(f"{size} batch {batch}"):
                kept = {}
                for side, call in (("ours", ours), ("transformers", theirs)):
                    call()
                    _synchronize(setting.device)
                    start = time.perf_counter()
                    kept[side] = call()
                    _synchronize(setting.device)
                    rate = sum(map(len, kept[side])) / (time.perf_counter() - start)
                    say(f"{size} batch {batch}", f"tokens per second, {side}", round(rate), "", "float32, greedy")
                pairs = zip(kept["ours"], kept["transformers"], strict=True)
                same = sum(np.array_equal(a, b[: len(a)]) for a, b in pairs)
                say(f"{size} batch {batch}", "same replies", same, f"of {count}")
    if setting.device != "cpu":
        say("generation", "peak memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")


def _their_replies(model: Any, prompts: list[Any], longest: int, batch: int) -> list[Any]:
    """transformers' `generate`, prompts of one length, so that nothing is padded."""
    import numpy as np
    import torch

    replies = []
    for first in range(0, len(prompts), batch):
        rows = np.stack([np.append(EOS, prompt) for prompt in prompts[first : first + batch]])
        tokens: torch.Tensor = torch.from_numpy(rows).to(model.device)
        with torch.no_grad():
            found = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=longest,
                do_sample=False,
                eos_token_id=EOS,
                pad_token_id=EOS,
            )
        for row in found[:, tokens.shape[1] :].cpu().numpy():
            ends = np.flatnonzero(row == EOS)
            replies.append(row[: ends[0]] if len(ends) else row)
    return replies


if __name__ == "__main__":
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _shared_trainings(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1")
