"""Claim `extraction`: reading a model's activations onto the disk costs hardly more than its bare forward pass.

Ours decodes the clips, computes their features, runs the model to the layer, takes the audio and text tokens out, and
writes and hashes a shard. The peer is the same model's forward pass to that layer on inputs that lie ready on the
device, keeping nothing. Both see the same clips in the same batches, in turn; the best of the repeats counts.

Claim `shuffled_reader`: random order from disk at the speed of reading in order. The peers read the same shards through
np.memmap: in order, and row by row in fully random order.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from transformers import (  # noqa: E402
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from ard.activations.extract import read_tokens  # noqa: E402
from ard.activations.shard import ShardWriter, open_shard  # noqa: E402
from ard.activations.shuffled import BLOCK, ShuffledReader  # noqa: E402
from ard.hooks import read  # noqa: E402
from ard.models.audio_lm import AudioLM  # noqa: E402
from ard.models.inputs import Inputs  # noqa: E402
from ard.prefetch import Behind, ahead  # noqa: E402
from benchmarks.record import write  # noqa: E402

DEMO = ROOT / "data" / "demo" / "audio_lm"
QUESTION = "Which sounds can be heard?"
ANSWER = "A dog barks and then a bell rings."
FULL = {
    "audio": {
        "d_model": 1280,
        "encoder_layers": 32,
        "encoder_attention_heads": 20,
        "encoder_ffn_dim": 5120,
        "num_mel_bins": 128,
        "max_source_positions": 1500,
    },
    "text": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 156032,
    },
    "window_s": 30,
}
"""The sizes of Qwen2-Audio-7B."""
MIDDLE = {
    "audio": {
        "d_model": 256,
        "encoder_layers": 4,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 1024,
        "num_mel_bins": 64,
        "max_source_positions": 200,
    },
    "text": {
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    },
    "window_s": 4,
}


def build(sizes: dict, device: str) -> AudioLM:
    """A randomly initialised Qwen2-Audio of these sizes with the demo's tokenizer; bf16 on a GPU."""
    processor = Qwen2AudioProcessor.from_pretrained(DEMO)
    extractor = WhisperFeatureExtractor(
        feature_size=sizes["audio"]["num_mel_bins"], chunk_length=sizes["window_s"], sampling_rate=16000
    )
    processor = Qwen2AudioProcessor(extractor, processor.tokenizer, chat_template=processor.chat_template)
    config = Qwen2AudioConfig.from_pretrained(DEMO)
    for part, changes in ((config.audio_config, sizes["audio"]), (config.text_config, sizes["text"])):
        for name, value in changes.items():
            setattr(part, name, value)
    config.text_config.layer_types = ["full_attention"] * config.text_config.num_hidden_layers
    config.text_config.head_dim = config.text_config.hidden_size // config.text_config.num_attention_heads
    config._attn_implementation = "sdpa"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if device == "cpu" else torch.bfloat16)
    try:
        with torch.device(device):
            torch.manual_seed(0)
            model = Qwen2AudioForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    return AudioLM(model, processor)


def needed_bytes(sizes: dict, batch: int, width: int) -> int:
    """Weights, and a generous bound of what one batch keeps alive in the decoder and the encoder."""
    text, audio = sizes["text"], sizes["audio"]
    d, layers, ff, e = text["hidden_size"], text["num_hidden_layers"], text["intermediate_size"], audio["d_model"]
    weights = layers * (4 * d * d + 3 * d * ff) + 2 * text.get("vocab_size", 10_000) * d
    weights += audio["encoder_layers"] * (4 * e * e + 2 * e * audio["encoder_ffn_dim"])
    positions = batch * audio["max_source_positions"]
    return width * (weights + 12 * positions * (e + d) + 8 * positions * audio["encoder_ffn_dim"])


def make_clips(folder: Path, count: int, seconds: float) -> list[Path]:
    """Clips of noisy tones as FLAC, longest first within a fifth of their length."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        n = int(16000 * seconds * (1 - 0.2 * i / count))
        x = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 4000) * np.arange(n) / 16000) + 0.02 * rng.normal(size=n)
        paths.append(folder / f"{i:05d}.flac")
        sf.write(paths[-1], x, 16000)
    return paths


def best(runs: list[Callable[[], float]], repeats: int) -> list[float]:
    """The shortest time of each, called in turn."""
    times = [[run() for run in runs] for _ in range(repeats)]
    return [min(column) for column in zip(*times, strict=True)]


class Extraction:
    """Both sides on the same clips."""

    def __init__(self, lm: AudioLM, clips: list[Path], batch: int, layer: int):
        self.lm, self.layer = lm, layer
        self.batches = [clips[i : i + batch] for i in range(0, len(clips), batch)]
        self.ready = [self.prepare(lm.hear(self.load(some))) for some in self.batches]
        self.tokens = sum(int((inputs.audio | inputs.text).sum()) for inputs in self.ready)

    def load(self, some: list[Path]) -> list[np.ndarray]:
        return [sf.read(path, dtype="float32")[0] for path in some]

    def prepare(self, features) -> Inputs:
        return self.lm.prepare(features, [QUESTION] * len(features), [ANSWER] * len(features))

    def wait(self) -> None:
        if self.lm.device.type == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def bare(self) -> float:
        self.wait()
        start = time.perf_counter()
        for inputs in self.ready:
            with read(self.lm, [self.layer], stop=True):
                self.lm._forward(inputs)
        self.wait()
        return time.perf_counter() - start

    def ours(self, workers: int) -> float:
        folder = Path(tempfile.mkdtemp())
        start = time.perf_counter()
        heard = ahead(self.batches, lambda some: self.lm.hear(self.load(some)), workers, max(1, workers))
        says = {"hookpoint": f"layers.{self.layer}", "model": "random", "d_in": self.lm.d_model, "format": "bfloat16"}
        with ShardWriter(folder / "0.safetensors", **says) as writer, Behind(2 if workers else 0) as behind:
            for features in heard:
                found = read_tokens(self.lm, self.prepare(features), [self.layer])
                behind.put(writer.append, found.x[self.layer], found.outliers[self.layer])
        self.wait()
        seconds = time.perf_counter() - start
        assert writer.tokens == self.tokens
        shutil.rmtree(folder)
        return seconds


def extraction(quick: bool) -> None:
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    sizes, layer, batch = (FULL, 26, 16) if cuda else (MIDDLE, 4, 16)
    count, seconds = (16 * (4 if quick else 24), 10.0) if cuda else (16 if quick else 32, 4.0)
    needed = needed_bytes(sizes, batch, 2 if cuda else 4)
    print(f"extraction on {device}: about {needed / 1e9:.1f} GB")
    if cuda and needed > torch.cuda.mem_get_info()[0]:
        sys.exit(f"The GPU has {torch.cuda.mem_get_info()[0] / 1e9:.1f} GB free; {needed / 1e9:.1f} GB are needed.")
    with tempfile.TemporaryDirectory() as folder:
        lm = build(sizes, device)
        clips = make_clips(Path(folder), count, seconds)
        records = []
        both = Extraction(lm, clips, batch, layer)
        tried = (4,) if cuda else (0, 2)
        runs = [both.bare, *(partial(both.ours, workers) for workers in tried)]
        best(runs, 1)  # the first time of anything is slower
        bare, *times = best(runs, 1 if quick else 5)
        for workers, ours in zip(tried, times, strict=True):
            print(f"  workers {workers}: {both.tokens:,} tokens, bare {both.tokens / bare:,.0f}/s, ours "
                  f"{both.tokens / ours:,.0f}/s ({bare / ours:.1%})")  # fmt: skip
            records.append(
                {
                    "peer": "bare forward pass to the layer, inputs ready, nothing kept",
                    "ours": 1e6 * ours / both.tokens,
                    "theirs": 1e6 * bare / both.tokens,
                    "unit": "s per million tokens",
                    "device": device,
                    "tokens": both.tokens,
                    "tokens_per_s": both.tokens / ours,
                    "d_in": lm.d_model,
                    "layers": lm.n_layers,
                    "layer": layer,
                    "batch": batch,
                    "workers": workers,
                    "threads": torch.get_num_threads(),
                    "torch": torch.__version__,
                    "quick": quick,
                }
            )
        write("extraction", records)


# -- the shuffled reader ---------------------------------------------------------------------------------------------


def make_store(folder: Path, gigabytes: float, d: int) -> dict[Path, np.ndarray]:
    """Shards of about half a GB each: random rows in bfloat16, every row counts once."""
    rows, weights = int(gigabytes * 1e9 / (2 * d)), {}
    each = min(rows, 1 << 16)
    block = torch.randn(min(each, 4096), d, generator=torch.Generator().manual_seed(0)).bfloat16()
    for i in range(max(1, rows // each)):
        path = folder / f"{i:05d}.safetensors"
        with ShardWriter(path, hookpoint="layers.0", model="random", d_in=d, format="bfloat16") as writer:
            for start in range(0, each, len(block)):
                part = block[: each - start].roll(start + i, 0)
                writer.append(part, torch.zeros(len(part), dtype=torch.bool))
        weights[path] = np.ones(each, np.uint8)
    return weights


def forget(paths: list[Path]) -> None:
    """Ask the system to drop the files from its cache, so that they come from the disk."""
    import os

    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reader(quick: bool) -> None:
    d, batch = 4096, 4096
    size, part = (0.27, 0.05) if quick else (4.0, 0.25)
    (ROOT / "data" / "runs").mkdir(parents=True, exist_ok=True)  # where runs lie, ignored by git; /tmp may be memory
    with tempfile.TemporaryDirectory(dir=ROOT / "data" / "runs", prefix="bench-") as name:
        weights = make_store(Path(name), size, d)
        paths = list(weights)
        rows = sum(len(w) for w in weights.values())
        total = rows * d * 2 / 1e9
        buffer = 64 << 20 if quick else 1 << 30

        def ours() -> float:
            start = time.perf_counter()
            seen = sum(
                float(x[0, 0]) * 0 + len(x) for x in ShuffledReader(weights, buffer).batches(batch, rows // batch, 0)
            )
            assert seen == rows // batch * batch
            return (time.perf_counter() - start) / (seen * d * 2 / 1e9)

        def in_order() -> float:
            start = time.perf_counter()
            for path in paths:
                x = open_shard(path).x
                for at in range(0, len(x), batch):
                    np.array(x[at : at + batch])
            return (time.perf_counter() - start) / total

        def row_by_row() -> float:
            rng = np.random.default_rng(0)
            maps = [open_shard(path).x for path in paths]
            wanted = max(batch, int(rows * part) // batch * batch)
            start = time.perf_counter()
            for _ in range(wanted // batch):
                which = rng.integers(0, len(maps), batch)
                out = np.empty((batch, d), np.uint16)
                for m, mapped in enumerate(maps):
                    here = np.flatnonzero(which == m)
                    out[here] = mapped[rng.integers(0, len(mapped), len(here))]
            return (time.perf_counter() - start) / (wanted * d * 2 / 1e9)

        records = []
        for cache in ("disk", "memory"):

            def timed(run: Callable[[], float], cache: str = cache) -> Callable[[], float]:
                return lambda: (forget(paths) if cache == "disk" else None, run())[1]

            runs = [timed(ours), timed(in_order), timed(row_by_row)]
            if cache == "memory":
                in_order()
            mine, *theirs = best(runs, 1 if quick else 3)
            for peer, seconds in zip(("np.memmap in order", "np.memmap, random rows"), theirs, strict=True):
                print(f"  from {cache}: ours {1 / mine:.2f} GB/s, {peer} {1 / seconds:.2f} GB/s")
                records.append(
                    {
                        "peer": peer,
                        "ours": mine,
                        "theirs": seconds,
                        "unit": "s per GB",
                        "from": cache,
                        "gigabytes": total,
                        "gigabytes_per_s": 1 / mine,
                        "buffer_bytes": buffer,
                        "block_bytes": BLOCK,
                        "d_in": d,
                        "batch": batch,
                        "quick": quick,
                    }
                )
        write("shuffled_reader", records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat")
    parser.add_argument("--only", choices=["extraction", "reader"])
    args = parser.parse_args()
    if args.only != "reader":
        extraction(args.quick)
    if args.only != "extraction":
        reader(args.quick)


if __name__ == "__main__":
    main()
