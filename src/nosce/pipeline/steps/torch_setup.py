"""How torch computes in a process that makes steps."""

from __future__ import annotations

import os


def prepare_torch(threads: int) -> None:
    """Have torch compute in this process with so many threads, and give the same bytes each time.

    Every step that runs a model calls this, so that no result depends on which steps its process has made before.
    """
    # cuBLAS reads it with its first product. Workers have it from their start; this serves whoever calls a step alone.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
