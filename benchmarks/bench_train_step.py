"""Claim: a training step on a CPU against eai-sparsify, SAELens and dictionary_learning, loss trajectories compared.

Every implementation runs in its own process (the peers in `.venv-peers`, made by `make peers`) and they take turns in
short blocks of steps, so that a busy moment of the machine meets all of them. Times are the medians and minima of the
steps after the first block; losses are of the same steps, from the same first weights, on the same batches.
`--quick`: the smaller size and few steps. `--threads N`: default all cores. `--peers DIR`: another environment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import record

HERE = Path(__file__).parent
WORKER = HERE / "train_step_worker.py"
OURS = ("ours float32", "ours bfloat16", "encoder matmul float32")
REFERENCES = {  # which plain reference has the mathematics of an implementation
    "ours": "reference",
    "eai-sparsify": "reference",
    "dictionary_learning": "reference clipped",
    "sae-lens": "reference clipped, free norms",
}
PEERS = tuple(f"{name} {dtype}" for name in list(REFERENCES)[1:] for dtype in ("float32", "bfloat16"))
PACKAGES = {"dictionary_learning": "dictionary-learning"}


class Size(NamedTuple):
    """One size of the claim."""

    d_in: int
    d_sae: int
    k: int
    batch: int
    rounds: int
    block: int

    @property
    def label(self) -> str:
        return f"{self.d_in}→{self.d_sae} k {self.k} batch {self.batch}"


SIZES = (Size(512, 4096, 32, 1024, 11, 5), Size(1024, 8192, 64, 2048, 6, 4))
QUICK = (Size(512, 4096, 32, 1024, 4, 3),)


def write_setup(size: Size, path: Path) -> None:
    """Tokens that are sparse sums of known directions, scaled to ‖x‖ ≈ √d_in, and the first decoder's unit rows."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(2 * size.d_in, size.d_in, generator=generator), dim=1)
    tokens = 8 * size.batch
    on = torch.rand(tokens, len(directions), generator=generator) < 24 / len(directions)
    x = (on * (1 + torch.rand(tokens, len(directions), generator=generator))) @ directions
    x += 0.05 * torch.randn(tokens, size.d_in, generator=generator)
    x *= size.d_in**0.5 / x.norm(dim=1).mean()
    w = torch.nn.functional.normalize(torch.randn(size.d_sae, size.d_in, generator=generator), dim=1)
    np.savez(path, x=x.numpy(), w=w.numpy(), k=size.k, batch=size.batch, lr=2e-4 / (size.d_sae / 16384) ** 0.5)


class Worker:
    """One implementation in its process."""

    def __init__(self, name: str, python: Path, setup: Path, threads: int) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE.parent), "WANDB_MODE": "disabled"}
        env["SPARSIFY_DISABLE_TRITON"] = "1"  # it would choose Triton wherever that imports, GPU or not
        self.name, self.ms, self.losses = name, [], []
        self.process = subprocess.Popen(
            [str(python), "-W", "ignore", str(WORKER), name, str(setup)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        self._line("ready")

    def _line(self, start: str) -> str:
        """The next line of its own, past what a library prints."""
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self.name} ended early; its message stands above.")

    def steps(self, n: int) -> None:
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        found = json.loads(self._line("{"))
        self.ms.append(found["ms"])
        self.losses += found["loss"]

    @property
    def times(self) -> list[float]:
        """Milliseconds of every step after the first block, which warms up."""
        return [ms for block in self.ms[1:] for ms in block]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def version(python: Path, package: str) -> str:
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return next(d.version for d in distributions(path=[site]) if d.metadata["Name"].replace("_", "-") == package)


def difference(one: Worker, other: Worker) -> float:
    """Largest relative difference of two loss trajectories."""
    return max(abs(a - b) / abs(b) for a, b in zip(one.losses, other.losses, strict=True))


def measure(size: Size, peers: Path, threads: int) -> dict[str, Worker]:
    """Every implementation on the same setup, in turns."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        setup = Path(folder) / "setup.npz"
        write_setup(size, setup)
        workers: dict[str, Worker] = {}
        for name in (*OURS, *PEERS):
            python = peers if name in PEERS else Path(sys.executable)
            workers[name] = Worker(name, python, setup, threads)
            stack.callback(workers[name].close)
        for _ in range(size.rounds):
            for worker in workers.values():
                worker.steps(size.block)
        for name in dict.fromkeys(REFERENCES.values()):
            workers[name] = Worker(name, Path(sys.executable), setup, threads)
            stack.callback(workers[name].close)
            workers[name].steps(size.rounds * size.block)
        return workers


def rows(size: Size, workers: dict[str, Worker], peers: Path, threads: int) -> list[dict[str, Any]]:
    """One record a peer and product type of ours, and one against the bare encoder product."""

    def medians(name: str) -> tuple[float, float]:
        times = workers[name].times
        return statistics.median(times), min(times)

    out = []
    for ours in OURS[:2]:
        mine, least = medians(ours)
        shared = {
            "size": size._asdict() | {"label": size.label}, "threads": threads, "unit": "ms/step", "ours": mine,
            "ours_min": least, "ours_compute": ours.split()[1], "loss_steps": len(workers[ours].losses),
            "ours_loss_difference": difference(workers[ours], workers[REFERENCES["ours"]]),
        }  # fmt: skip
        for peer in PEERS:
            name, dtype = peer.split()
            theirs, theirs_least = medians(peer)
            out.append(
                {
                    **shared, "peer": f"{name} {version(peers, PACKAGES.get(name, name))}", "peer_compute": dtype,
                    "theirs": theirs, "theirs_min": theirs_least, "ratio_min": theirs_least / least,
                    "peer_loss_difference": difference(workers[peer], workers[REFERENCES[name]]),
                }
            )  # fmt: skip
        theirs, theirs_least = medians(OURS[2])
        out.append({**shared, "peer": "bare float32 encoder matmul", "theirs": theirs, "theirs_min": theirs_least,
                    "ratio_min": theirs_least / least})  # fmt: skip
    return out


def show(records: list[dict[str, Any]]) -> None:
    print(f"{'size':34} {'ours':9} {'peer':34} {'ours ms':>8} {'peer ms':>8} {'ratio':>6} {'of minima':>9}")
    for r in records:
        peer = f"{r['peer']} {r.get('peer_compute', '')}"
        ratio, label = r["theirs"] / r["ours"], r["size"]["label"]
        print(
            f"{label:34} {r['ours_compute']:9} {peer:34} {r['ours']:8.1f} {r['theirs']:8.1f} {ratio:6.2f} "
            f"{r['ratio_min']:9.2f}   loss differs by {r['ours_loss_difference']:.1e} (ours)"
            + (f", {r['peer_loss_difference']:.1e} (peer)" if "peer_loss_difference" in r else "")
        )
    for label in dict.fromkeys(r["size"]["label"] for r in records):
        mine = [r for r in records if r["size"]["label"] == label and "peer_compute" in r]
        fastest = min(mine, key=lambda r: r["theirs"])
        for compute in ("float32", "bfloat16"):
            ours = next(r["ours"] for r in mine if r["ours_compute"] == compute)
            print(
                f"{label}: {fastest['theirs'] / ours:.2f} × the fastest peer "
                f"({fastest['peer']} {fastest['peer_compute']}), ours in {compute}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venv-peers")
    args = parser.parse_args()
    python = args.peers / "bin" / "python"
    if not python.is_file():
        print(f"{args.peers} is missing; run `make peers`, which installs the libraries this compares with.")
        return 2
    records = []
    for size in QUICK if args.quick else SIZES:
        workers = measure(size, python, args.threads)
        records += rows(size, workers, python, args.threads)
    show(records)
    if not args.quick:
        print(f"written to {record.write('train_step', records)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
