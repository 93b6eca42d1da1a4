"""Held-out figures of a demo AudioLLM: exact event sets of its captions, and the speaker questions.

`python -m precompute.soundscape.evaluate_audio_lm data/demo/audio_lm`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ard.models.audio_lm import AudioLM
from precompute.soundscape import grammar
from precompute.soundscape.world import ClipTruth, render_many

SPEAKER = {"gender": grammar.GENDER[0], "emotion": grammar.EMOTION[0], "language": grammar.LANGUAGE[0]}


def answers(lm: AudioLM, audios: list[np.ndarray], prompt: str, batch: int = 64, max_new_tokens: int = 64) -> list[str]:
    """Greedy answers to one prompt over many clips."""
    out: list[str] = []
    for i in tqdm(range(0, len(audios), batch), desc=prompt[:30], leave=False):
        part = audios[i : i + batch]
        out += lm.generate(lm.prepare(part, [prompt] * len(part)), max_new_tokens=max_new_tokens)
    return out


def score(truths: list[ClipTruth], described: list[str], listed: list[str], spoken: dict[str, list[str]]) -> dict:
    """Shares of right answers, with the number of clips behind each."""
    figures: dict[str, dict] = {}

    def add(name: str, right: list[bool]) -> None:
        figures[name] = {"share": round(float(np.mean(right)), 4) if right else None, "clips": len(right)}

    truth_sets = [frozenset(e.key for e in t.events) for t in truths]
    for name, texts in (("caption_exact_set", described), ("which_exact_set", listed)):
        right = [grammar.parse(a).keys == s for a, s in zip(texts, truth_sets, strict=True)]
        add(name, right)
        for n in (1, 2, 3):
            add(f"{name}_{n}", [r for r, t in zip(right, truths, strict=True) if len(t.events) == n])
        add(f"{name}_1_2", [r for r, t in zip(right, truths, strict=True) if len(t.events) <= 2])
    for kind, texts in spoken.items():
        asked = [(a, t, who) for a, t in zip(texts, truths, strict=True) if (who := grammar.speaker_of(t)) is not None]
        right = [getattr(grammar.parse(a), kind) == getattr(who, kind) for a, _, who in asked]
        add(kind, right)
        for n in (1, 2, 3):  # 1: the speaker alone; more: other sounds before, after or over the voice
            add(f"{kind}_{n}", [r for r, (_, t, _) in zip(right, asked, strict=True) if len(t.events) == n])
    missed: dict[str, list[bool]] = {}
    for text, keys in zip(listed, truth_sets, strict=True):
        for key in keys:
            missed.setdefault(key, []).append(key in grammar.parse(text).keys)
    figures["recall_by_event"] = {k: round(float(np.mean(v)), 3) for k, v in sorted(missed.items())}
    return figures


def evaluate(folder: Path, split: str = "evaluation", count: int = 1_000, seed: int = 0, workers: int = 2) -> dict:
    """Figures of the model in `folder` on clips it has never heard."""
    lm = AudioLM.load(folder)
    rendered = list(render_many(split, range(count), seed, workers))
    audios, truths = [a for a, _ in rendered], [t for _, t in rendered]
    described = answers(lm, audios, grammar.DESCRIBE[0])
    listed = answers(lm, audios, grammar.WHICH[0])
    spoken = {kind: answers(lm, audios, prompt, max_new_tokens=8) for kind, prompt in SPEAKER.items()}
    return score(truths, described, listed, spoken)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Held-out figures of a demo AudioLLM.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="evaluation")
    parser.add_argument("--count", type=int, default=1_000)
    args = parser.parse_args()
    print(json.dumps(evaluate(args.model, args.split, args.count), indent=1))
