"""Can a concept be heard, found and turned? The demo's figures for one SAE or a grid of them.

`python -m precompute.soundscape.gate --layers 0 1 2 --expansions 2 4 --ks 4 8 --out results.jsonl`

Per SAE: how pure the most monosemantic latents are (beside shuffled labels), how many true values have a latent that
finds them on clips never used for choosing it, and the sensitivity of the steering tasks with its controls.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ard.labels import auroc, purity
from ard.models.audio_lm import AudioLM
from ard.models.clap import Clap
from ard.rank import representatives
from ard.sae import SAEConfig, TopKSAE
from ard.scores import batch_clip_scores, monosemanticity_many
from ard.train import FitResult, TrainConfig, fit
from precompute.soundscape.grammar import EXTRACTION_PROMPTS
from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.steer_tasks import TaskResult, run_tasks
from precompute.soundscape.train_audio_lm import true_values
from precompute.soundscape.world import ClipTruth, render_many

GATE_OFFSET = 100_000
"""First index of the probing clips in the train split: clips the AudioLLM was not trained on, of the same split."""


class ClipSet(NamedTuple):
    """Clips with what the AudioLLM computes on them."""

    truths: list[ClipTruth]
    audio: dict[int, torch.Tensor]
    """Per layer: float16 [clips, audio tokens, d_in]."""
    text: dict[int, torch.Tensor]
    """Per layer: float16 [text tokens of all clips, d_in]: question and the model's own answer."""
    vectors: torch.Tensor
    """CLAP embeddings [clips, d], unit norm."""

    @property
    def labels(self) -> np.ndarray:
        """Bool [clips, true values]."""
        column = {v: i for i, v in enumerate(true_values())}
        out = np.zeros((len(self.truths), len(column)), dtype=bool)
        for row, truth in enumerate(self.truths):
            out[row, [column[v] for v in truth.labels()]] = True
        return out


def collect(
    lm: AudioLM, clap: Clap, split: str, count: int, layers: Sequence[int], start: int = 0, batch: int = 50
) -> ClipSet:
    """Render clips and extract activations of audio, question and own answer; the questions take turns."""
    rendered = list(render_many(split, range(start, start + count)))
    audios = [a for a, _ in rendered]
    audio: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    text: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    for i in range(0, count, batch):
        part = audios[i : i + batch]
        prompts = [EXTRACTION_PROMPTS[(i + j) % len(EXTRACTION_PROMPTS)] for j in range(len(part))]
        answers = lm.generate(lm.prepare(part, prompts))
        inputs = lm.prepare(part, prompts, answers)
        for layer, x in lm.activations(inputs, layers).items():
            audio[layer].append(x[inputs.audio].reshape(len(part), -1, lm.d_model).half())
            text[layer].append(x[inputs.text].half())
    vectors = clap.embed_audio(audios, SAMPLE_RATE)
    truths = [t for _, t in rendered]
    return ClipSet(truths, _joined(audio), _joined(text), vectors)


def _joined(parts: dict[int, list[torch.Tensor]]) -> dict[int, torch.Tensor]:
    return {layer: torch.cat(some) for layer, some in parts.items()}


def clip_scores(sae: TopKSAE, audio: torch.Tensor, batch: int = 100) -> tuple[np.ndarray, np.ndarray, float]:
    """R of Eq. 2 [clips, latents], maximum per latent [latents], and L0 over the audio tokens."""
    scores, top, active = [], torch.zeros(sae.cfg.d_sae), 0
    with torch.no_grad():
        for part in audio.split(batch):
            z = sae.encode(part.float())
            got = batch_clip_scores(z, torch.ones(z.shape[:2], dtype=torch.bool))
            scores.append(got.representativeness)
            top = torch.maximum(top, got.max_activation.amax(0))
            active += int((z > 0).sum())
    return torch.cat(scores).numpy(), top.numpy(), active / audio.shape[0] / audio.shape[1]


class Found(NamedTuple):
    """Whether concepts can be heard and found."""

    live: int
    scored: int
    pure: float
    pure_shuffled: float
    found: float
    mean_auroc: float
    missed: dict[str, float]


def find(sae: TopKSAE, probing: ClipSet, held_out: ClipSet, layer: int, shuffles: int = 20) -> Found:
    """Purity of the top min(100, live / 2) latents by m, and AUROC of the latent chosen on the probing clips."""
    scores, _, _ = clip_scores(sae, probing.audio[layer])
    ids = [t.clip_id for t in probing.truths]
    best = representatives(scores, ids, hookpoint=sae.cfg.hookpoint)
    table = monosemanticity_many(probing.vectors, best.most, best.least)
    live = int((best.n_active > 0).sum())
    order = np.argsort(-np.nan_to_num(table.score, nan=-np.inf))[: min(100, live // 2)]
    order = order[np.isfinite(table.score[order])]
    labels = probing.labels
    labels_told = np.delete(labels, true_values().index("speech"), 1)
    rng = np.random.default_rng(0)
    shuffled = [
        purity(best.most[order], labels_told[rng.permutation(len(labels_told))]).pure.mean() for _ in range(shuffles)
    ]
    chosen = np.nanargmax(np.nan_to_num(auroc(scores, labels), nan=-1), axis=0)
    held_scores, _, _ = clip_scores(sae, held_out.audio[layer])
    held = auroc(held_scores, held_out.labels)
    values = {v: float(held[chosen[i], i]) for i, v in enumerate(true_values()) if np.isfinite(held[0, i])}
    areas = np.array(list(values.values()))
    missed = {v: round(a, 3) for v, a in values.items() if a < 0.9}
    pure = float(purity(best.most[order], labels_told).pure.mean())
    return Found(
        live, len(order), pure, float(np.mean(shuffled)), float((areas >= 0.9).mean()), float(areas.mean()), missed
    )


def train_sae(
    clips: ClipSet, layer: int, expansion: float, k: int, steps: int, tokens: str, text_weight: int
) -> FitResult:
    """Fit one SAE on a layer's activations; `tokens` = `audio` or `all`, a text token counting `text_weight` times."""
    parts = [clips.audio[layer].flatten(0, 1)] + ([clips.text[layer]] * text_weight if tokens == "all" else [])
    x = torch.cat(parts)
    cfg = SAEConfig(f"layers.{layer}", x.shape[1], expansion, k, "recommended", tokens=tokens)
    held = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    cut = len(x) // 20
    train = TrainConfig(steps=steps, batch=2048, lr=1e-3, log_every=max(1, steps // 4))
    return fit(x[held[cut:]], cfg, train, x[held[:cut]])


def grid(args: argparse.Namespace) -> Iterator[dict]:
    """Measure every SAE of the grid; one row each."""
    lm, clap = AudioLM.load(args.model), Clap.load(args.clap)
    began = time.time()
    probing = collect(lm, clap, "train", args.probing, args.layers, GATE_OFFSET)
    held_out = collect(lm, clap, "evaluation", args.held_out, args.layers)
    print(f"collected in {time.time() - began:.0f} s", flush=True)
    for layer in args.layers:
        for tokens in args.tokens:
            for expansion in args.expansions:
                for k in args.ks:
                    began = time.time()
                    fitted = train_sae(probing, layer, expansion, k, args.steps, tokens, args.text_weight)
                    sae, m = fitted.sae, fitted.metrics
                    row = {
                        "sae_id": sae.cfg.sae_id,
                        "tokens": tokens,
                        "text_weight": args.text_weight,
                        "steps": args.steps,
                        **m._asdict(),
                    }
                    row["train_seconds"] = time.time() - began
                    row |= find(sae, probing, held_out, layer)._asdict()
                    if args.steer:
                        scores, top, _ = clip_scores(sae, probing.audio[layer])
                        results = run_tasks(lm, sae, scores, top, probing.labels, args)
                        row["steering"] = [r._asdict() for r in results]
                        row |= summary(results)
                    row["seconds"] = time.time() - began
                    yield row


def summary(results: Sequence[TaskResult]) -> dict[str, float]:
    """Means over the tasks, speaker tasks apart from event swaps."""

    def mean(name: str, kinds: Sequence[str]) -> float:
        return float(np.nanmean([getattr(r, name) for r in results if r.kind in kinds]))

    every, speaker, event = ("emotion", "gender", "event"), ("emotion", "gender"), ("event",)
    out = {"sensitivity": mean("sensitivity", every), "random": mean("random", every)}
    out["reconstruct"] = mean("reconstruct", every)
    for name, kinds in (("speaker", speaker), ("event", event)):
        if any(r.kind in kinds for r in results):
            out[f"sensitivity_{name}"] = mean("sensitivity", kinds)
    return out


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure demo SAEs: purity, detection, steering.")
    parser.add_argument("--model", type=Path, default=Path("data/demo/audio_lm"))
    parser.add_argument("--clap", type=Path, default=Path("data/demo/clap"))
    parser.add_argument("--layers", type=int, nargs="+", default=[1])
    parser.add_argument("--expansions", type=float, nargs="+", default=[2])
    parser.add_argument("--ks", type=int, nargs="+", default=[4])
    parser.add_argument("--tokens", nargs="+", choices=["audio", "all"], default=["all"])
    parser.add_argument("--text-weight", type=int, default=1, help="how often a text token counts")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--probing", type=int, default=1_500)
    parser.add_argument("--held-out", type=int, default=600)
    parser.add_argument("--steer", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tasks", type=int, default=0, help="only the first N event swaps; 0 = all")
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--values", type=float, nargs="+", default=[1, 2, 4, 8], help="times the latent's maximum")
    parser.add_argument("--selection", type=int, default=16, help="selection clips per task")
    parser.add_argument("--test", type=int, default=40, help="evaluation clips per task")
    parser.add_argument("--random", type=int, default=20, help="random latents of matched density per task")
    parser.add_argument("--positions", choices=["audio", "prompt", "all"], default="all")
    parser.add_argument("--decoding", choices=["replace", "clamp", "off"], default="replace")
    parser.add_argument("--when", choices=["before_topk", "after_topk"], default="before_topk")
    parser.add_argument("--error-term", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the grid; rows go to the screen and, one JSON object a line, to --out."""
    args = arguments(argv)
    for row in grid(args):
        short = {k: v for k, v in row.items() if k not in ("steering", "missed")}
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in short.items()}), flush=True)
        for r in row.get("steering", []):
            print("   ", {k: round(v, 3) if isinstance(v, float) else v for k, v in r.items()}, flush=True)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with args.out.open("a") as f:
                f.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
