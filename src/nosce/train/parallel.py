"""One training on several devices: every process has an equal share of the rows of each step.

Every process has the whole model, or with `sharding.py` a part of it. The gradients of a step are summed over the
processes, so that all take the same step and keep equal weights. Which rows a step has depends
on seed and step alone; the shares are therefore known without a word between the processes. accelerate (Hugging Face)
finds the devices, joins the processes (NCCL on GPUs, gloo on the CPU) and sums.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from nosce.errors import NosceError, TrainingError, UsageError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

BUCKET_ELEMENTS = 2**23  # gradients that are summed in one message: few messages, little extra memory


class ProcessGroup:
    """The processes of a training, as one of them sees them; made in a process that `run_processes` has started."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.rank, self.size = int(accelerator.process_index), int(accelerator.num_processes)

    @classmethod
    def join(cls, device: str) -> ProcessGroup:
        """Join the other processes.

        Args:
            device: Device of torch, e.g. "cuda", of which each process takes the one of its rank.

        Raises:
            UsageError: accelerate's environment asks for a sharded model.
        """
        for variable in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"):
            if os.environ.get(variable, "false").lower() in ("1", "true"):
                raise UsageError(
                    f"{variable} asks accelerate for a sharded model, but nosce shards by itself; unset the variable, "
                    "and take --shard (RuntimeConfig(sharded=True)) to split the model over the processes."
                )
        from accelerate import Accelerator

        group = cls(Accelerator(cpu=device.startswith("cpu")))
        if group.size != int(os.environ["WORLD_SIZE"]):
            raise TrainingError(f"{os.environ['WORLD_SIZE']} processes were started and {group.size} have met.")
        return group

    @property
    def device(self) -> str:
        """The device of this process."""
        return str(self._accelerator.device)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter], nats: torch.Tensor) -> torch.Tensor:
        """Sum the gradients over all processes, in place, and return the summed loss."""
        import torch

        bucket: list[torch.Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:  # a process without rows in this step
                parameter.grad = torch.zeros_like(parameter)
            if bucket and sum(t.numel() for t in bucket) + parameter.numel() > BUCKET_ELEMENTS:
                self._sum(bucket)
                bucket = []
            bucket.append(parameter.grad)
        total = nats.clone()
        self._sum([*bucket, total])
        return total

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        summed: torch.Tensor = self._accelerator.reduce(value, reduction="sum")
        return summed

    def first_says(self, answer: bool) -> bool:
        """The answer of the first process, for all; each waits for it."""
        import torch

        flag = torch.tensor(float(answer and self.rank == 0), device=self.device)
        return bool(self.total(flag).item() > 0)

    def _sum(self, tensors: Sequence[torch.Tensor]) -> None:
        import torch

        flat = self._accelerator.reduce(torch.cat([t.reshape(-1) for t in tensors]), reduction="sum")
        for tensor, summed in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def leave(self) -> None:
        """Take leave of the other processes."""
        import torch.distributed

        self._accelerator.end_training()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def run_processes(
    function: Callable[..., None],
    arguments: tuple[object, ...],
    n_processes: int,
    on_message: Callable[[Any], None],  # multiprocessing carries what can be pickled, and gives it back without a type
) -> None:
    """Run a function in new processes that are told of each other, until all end; if one fails, all are ended.

    Args:
        function: A function of a module. It is given `arguments` and a function that sends a message.
        arguments: Whatever the function needs.
        n_processes: Number of processes.
        on_message: Called here with each message.

    Raises:
        NosceError: What the first process to fail has raised.
        RuntimeError: A process broke with anything else; the message has the traceback.
    """
    context = multiprocessing.get_context("spawn")
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(n_processes)}
    processes, connections = [], []
    for rank in range(n_processes):
        ours, theirs = context.Pipe()
        place = address | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(n_processes)}
        process = context.Process(target=_process_main, args=(function, arguments, place, theirs), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        connections.append(ours)
    try:
        _listen(connections, on_message)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


# of multiprocessing
def _listen(connections: list[Connection], on_message: Callable[[Any], None]) -> None:
    """Hand on what the processes say, until each has said that it is done."""
    waiting = list(connections)
    while waiting:
        for connection in wait(waiting):
            assert isinstance(connection, Connection)
            try:
                kind, content = connection.recv()
            except (EOFError, ConnectionResetError):
                raise TrainingError(
                    f"process {connections.index(connection)} of {len(connections)} of the training ended without a "
                    "word, for want of memory if nobody ended it; run the same command again, with fewer rows at once "
                    "(grad_accum_steps) if it was memory."
                ) from None
            if kind == "message":
                on_message(content)
            elif kind == "done":
                waiting.remove(connection)
            elif isinstance(content, NosceError):
                raise content
            else:
                raise RuntimeError(content)


def _process_main(
    function: Callable[..., None], arguments: tuple[object, ...], place: dict[str, str], connection: Connection
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(place)
    try:
        function(*arguments, lambda message: connection.send(("message", message)))
        connection.send(("done", None))
    except NosceError as error:
        connection.send(("failed", error))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
    except Exception:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send(("failed", traceback.format_exc().strip()))


def _end_with_parent() -> None:
    """End this process when its parent is gone, which nothing else would tell it while it waits for the others."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
