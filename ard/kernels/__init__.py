"""Kernels of the training step: top-k, sparse decode, both sparse weight gradients, Adam by rows.

    loops, batch_loops,
    row_loops            the loops on a CPU, compiled by numba          cpu    what shares them among threads
    cuda                 the same by Triton on a GPU                    dense  dense products instead
    reference            the whole step in dense float64, which every path is tested against

None of them holds anything of size tokens × k × d_in. `backend` gives the module of a device: `select`,
`select_batch`, `update` and the class `Sparse`.
"""

from __future__ import annotations

from types import ModuleType

import torch


def backend(device: torch.device) -> ModuleType:
    """The compiled kernels of a device, imported when first asked for.

    Raises:
        ValueError: there are none for this kind of device.
    """
    if device.type == "cpu":
        from ard.kernels import cpu

        return cpu
    if device.type == "cuda":
        from ard.kernels import cuda

        return cuda
    raise ValueError(f"There are no compiled kernels for {device}; use kernels = plain, or a CPU or CUDA device.")
