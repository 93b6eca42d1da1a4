"""Claim: a training step at paper scale on one GPU (4096→32,768, K 250, batch 4096) against its floor.

The floor adds what cannot be avoided: a bfloat16 product of 1.1 TFLOP each for encoding, decoding, dz and both weight
gradients, and Adam's traffic over 268 M parameters (weight, gradient and two moments, read and written). Without CUDA
it says so and ends with status 0. eai-sparsify is measured beside it where the same environment has it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import record

D_IN, EXPANSION, K, BATCH, STEPS = 4096, 8, 250, 4096, 30
D_SAE = D_IN * EXPANSION


def milliseconds(step: Callable[[], Any]) -> float:
    """Mean of STEPS steps, after five that warm up."""
    for _ in range(5):
        step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS * 1e3


def floor() -> dict[str, float]:
    """Milliseconds of one bfloat16 product of the encoder's size, and of moving Adam's bytes, measured here."""
    a = torch.randn(BATCH, D_IN, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(D_IN, D_SAE, device="cuda", dtype=torch.bfloat16)
    moved = torch.empty(2 * D_IN * D_SAE, device="cuda")
    product, copy = milliseconds(lambda: a @ b), milliseconds(lambda: moved.add_(1.0))
    adam = copy * 3.5  # add_ reads and writes 4 bytes a parameter; Adam reads 4 numbers and writes 3
    return {"product_ms": product, "adam_ms": adam, "floor_ms": 5 * product + adam}


def ours(kernels: str) -> tuple[Callable[[], Any], Any]:
    """This project's step on one batch, with named kernels."""
    from ard.sae import SAEConfig, TopKSAE
    from ard.train_config import TrainConfig
    from ard.train_run import SAERun

    cfg = SAEConfig("layers.26", D_IN, EXPANSION, K, "paper")
    train = TrainConfig(
        steps=10**9, batch=BATCH, log_every=10**9, compute="bfloat16", kernels=kernels, device="cuda"
    ).resolve(cfg, 10**7)
    x = torch.randn(BATCH, D_IN, device="cuda")
    run = SAERun(TopKSAE(cfg), train, torch.zeros(D_IN, dtype=torch.float64))
    counter = iter(range(1, 10**9))
    return (lambda: run.step(x, next(counter))), run


def sparsify() -> Callable[[], Any]:
    """eai-sparsify's SparseCoder under its own bfloat16 autocast, with torch's fused Adam."""
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(D_IN, SparseCoderConfig(num_latents=D_SAE, k=K, normalize_decoder=False), device="cuda")
    adam = torch.optim.Adam(coder.parameters(), lr=1e-5, fused=True)
    x = torch.randn(BATCH, D_IN, device="cuda")

    def step() -> None:
        coder(x).fvu.backward()
        adam.step()
        adam.zero_grad()

    return step


def main() -> int:
    if not torch.cuda.is_available():
        print("There is no CUDA device here, so the training step at paper scale was not measured.")
        return 0
    limits, records = floor(), []
    for kernels in ("dense", "sparse"):
        torch.cuda.reset_peak_memory_stats()
        step, run = ours(kernels)
        ms = milliseconds(step)
        peak = torch.cuda.max_memory_allocated() / 2**30
        size = f"{D_IN}→{D_SAE} K {K} batch {BATCH}"
        records.append(
            {
                "peer": "floor (5 bfloat16 products + Adam's traffic, measured)", "ours": ms, "unit": "ms/step",
                "theirs": limits["floor_ms"], "kernels": kernels, "size": size, "peak_gib": peak,
                "steps_per_s": 1e3 / ms, "minutes_for_1e5_steps": ms * 1e5 / 6e4, **limits,
            }
        )  # fmt: skip
        print(f"{kernels}: {ms:.2f} ms a step (floor {limits['floor_ms']:.2f}), peak {peak:.1f} GiB")
        del step, run
        torch.cuda.empty_cache()
    best = min(r["ours"] for r in records)
    try:
        theirs, memory = milliseconds(sparsify()), torch.cuda.max_memory_allocated() / 2**30
    except ImportError:
        print("eai-sparsify is not installed in this environment, so no peer was measured.")
    except torch.cuda.OutOfMemoryError:
        print("eai-sparsify ran out of GPU memory at this size.")
    else:
        records.append({"peer": "eai-sparsify", "ours": best, "theirs": theirs, "unit": "ms/step", "peak_gib": memory})
        print(f"eai-sparsify: {theirs:.2f} ms a step, {theirs / best:.2f} × ours")
    print(f"written to {record.write('train_step_gpu', records)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
