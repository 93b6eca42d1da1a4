"""Train the demo AudioLLM from scratch: `python -m precompute.soundscape.train_audio_lm --out data/demo/audio_lm`.

Loss = next-token loss on the answers + `--aux` x frame loss. The frame loss is a linear head on the projected audio
tokens that says which events (and speaker values) sound during each token; it speeds up hearing and is thrown away.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

from precompute.soundscape import batches, demo_model, features, grammar
from precompute.soundscape.cards import machine, write_card
from precompute.soundscape.evaluate_audio_lm import evaluate
from precompute.soundscape.registry import EVENTS
from precompute.soundscape.sounds import load_all
from precompute.soundscape.world import CLIP_SECONDS, EMOTIONS, GENDERS, LANGUAGES, SPEECH, ClipTruth


class Step(NamedTuple):
    """Losses of one step."""

    answer: torch.Tensor
    frame: torch.Tensor


def true_values() -> list[str]:
    """Every value the world can contain: events, speech, gender, emotion, language."""
    load_all()
    speaker = (
        [f"gender:{g}" for g in GENDERS] + [f"emotion:{e}" for e in EMOTIONS] + [f"language:{x}" for x in LANGUAGES]
    )
    return [*sorted(EVENTS), SPEECH, *speaker]


def vary(mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Another microphone: overall gain and a smooth equaliser, on a log10 mel spectrogram."""
    bins = mel.shape[-2]
    knots = rng.normal(0, 0.12, 6)
    curve = np.interp(np.linspace(0, 5, bins), np.arange(6), knots) + rng.uniform(-0.7, 0.4)
    return mel + torch.from_numpy(curve).to(mel.dtype)[:, None]


class Drawn(NamedTuple):
    """A training clip: log10 mel of the full window, its truth, and how many seconds of it are recording."""

    mel: torch.Tensor
    truth: ClipTruth
    seconds: float


def draw_mixture(
    data: features.Rendered, rng: np.random.Generator, mix_share: float, short_share: float = 0.0
) -> Drawn:
    """One clip as another microphone hears it; some are mixed with a second one, some end early in digital silence."""
    i = int(rng.integers(len(data.truths)))
    mel, truth = torch.from_numpy(data.mels[i].astype(np.float32)), data.truths[i]
    if rng.random() < mix_share:
        j = int(rng.integers(len(data.truths)))
        if features.mixable(truth, data.truths[j]):
            other = torch.from_numpy(data.mels[j].astype(np.float32))
            mel = features.mix(mel, other, float(rng.uniform(-5, 5)))
            truth = features.merge_truth(truth, data.truths[j])
    mel, seconds = vary(mel, rng), CLIP_SECONDS
    if rng.random() < short_share:
        seconds, truth = features.shorten(truth, rng)
        mel[:, round(seconds / CLIP_SECONDS * mel.shape[1]) :] = features.SILENCE
    return Drawn(mel, truth, seconds)


class Batch(NamedTuple):
    """What one step sees."""

    mels: torch.Tensor
    """float32 [B, mel bins, frames], normalised."""
    packed: batches.Branches
    targets: torch.Tensor
    """float32 [B, audio tokens, true values]: which sounds during each token."""
    tokens: torch.Tensor
    """int64 [B]: audio tokens that carry recording; the rest is padding."""


def hear(inner: nn.Module, mels: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """Projected audio tokens [B, tokens, d] of a Qwen2-Audio; `heard` [B, tokens] marks those that are recording.

    The encoder runs at twice the rate of the audio tokens and, as in the real model, never looks at the padding.
    """
    looks = torch.zeros(heard.shape, device=mels.device).masked_fill(~heard, -1e4).repeat_interleave(2, 1)
    return inner.multi_modal_projector(inner.audio_tower(mels, looks[:, None, None]).last_hidden_state)


def losses(
    model: nn.Module,
    head: nn.Module,
    batch: Batch,
    audio_id: int,
    answers: bool = True,
) -> Step:
    """Answer and frame loss of a batch of packed sequences; without `answers` only the encoder runs."""
    inner, mels, packed = model.model, batch.mels, batch.packed
    heard = torch.arange(batch.targets.shape[1], device=mels.device) < batch.tokens[:, None]  # [B, audio tokens]
    audio = hear(inner, mels, heard)
    frame = F.binary_cross_entropy_with_logits(head(audio).float(), batch.targets, reduction="none").sum(-1)
    frame = frame[heard].mean()
    if not answers:
        return Step(torch.zeros(()), frame)
    embeds = inner.get_input_embeddings()(packed.ids)
    embeds = embeds.masked_scatter((packed.ids == audio_id)[..., None], audio[heard].to(embeds.dtype))
    mask = torch.zeros(packed.mask.shape, device=mels.device).masked_fill(~packed.mask, -1e4)
    hidden = inner.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=packed.positions, use_cache=False
    ).last_hidden_state
    keep = packed.labels != -100
    answer = F.cross_entropy(model.lm_head(hidden[keep]).float(), packed.labels[keep], label_smoothing=0.02)
    return Step(answer, frame)


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, cosine to 3 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


class Loader(torch.utils.data.IterableDataset):
    """Endless stream of (mels, packed sequences, frame targets), made in a worker process."""

    def __init__(
        self,
        data: features.Rendered,
        tokenizer: PreTrainedTokenizerFast,
        batch: int,
        mix_share: float,
        seed: int,
        audio_tokens: int,
        short_share: float,
    ):
        self.data, self.tokenizer, self.batch = data, tokenizer, batch
        self.mix_share, self.seed, self.audio_tokens, self.short_share = mix_share, seed, audio_tokens, short_share
        self.values = true_values()

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, 77])
        while True:
            drawn = [draw_mixture(self.data, rng, self.mix_share, self.short_share) for _ in range(self.batch)]
            rate = self.audio_tokens / CLIP_SECONDS
            tokens = [max(2, round(d.seconds * rate)) for d in drawn]
            questions = [batches.draw_questions(d.truth, rng) for d in drawn]
            packed = batches.pack(self.tokenizer, questions, tokens)
            targets = np.stack([features.token_targets(d.truth, self.values, self.audio_tokens, rate) for d in drawn])
            mels = features.normalise(torch.stack([d.mel for d in drawn]))
            yield Batch(mels, packed, torch.from_numpy(targets).float(), torch.tensor(tokens))


def earlier_curve(out: Path) -> list[dict]:
    """The curve of the training that `--resume` goes on from."""
    file = out / "curve.json"
    return json.loads(file.read_text()) if file.exists() else []


def train(args: argparse.Namespace) -> None:
    """Render, train, evaluate, save."""
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = demo_model.build_tokenizer(grammar.vocabulary_text())
    processor = demo_model.build_processor(tokenizer)
    bank = features.whisper_bank(processor.feature_extractor)
    data = features.render_features(args.cache, "train", args.clips, args.seed, bank, args.workers)
    model = demo_model.build_model(tokenizer, layers=args.layers, width=args.width).to(device)
    audio_id, tokens = tokenizer.convert_tokens_to_ids("<|AUDIO|>"), int(CLIP_SECONDS * 25)
    head = nn.Linear(args.width, len(true_values())).to(device)
    nn.init.constant_(head.bias, -4.0)  # few values sound at once
    if args.resume and (args.out / "model.safetensors").exists():
        model = type(model).from_pretrained(args.out, dtype=torch.float32).to(device)
    for part in (model.model.language_model, model.model.audio_tower):
        part.config._attn_implementation = "eager"  # on two cores 1.3 x as fast as the fused kernel's backward pass
    if args.compile:
        model.model.language_model.compile(dynamic=False)
        model.model.audio_tower.compile(dynamic=False)
    parameters = [p for p in [*model.parameters(), *head.parameters()] if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.03, fused=True)
    stream = Loader(data, tokenizer, args.batch, args.mix, args.seed, tokens, args.short)
    loader = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4))
    curve = earlier_curve(args.out) if args.resume else []
    done, spent = (curve[-1]["step"], curve[-1]["seconds"]) if curve else (0, 0.0)
    started, recent = time.time() - spent, []
    bar = tqdm(range(args.steps), desc="train", unit="step", mininterval=20)
    model.train()
    for step in bar:
        got = next(loader)
        packed = batches.Branches(*[t.to(device) for t in got.packed])
        batch = Batch(got.mels.to(device), packed, got.targets.to(device), got.tokens.to(device))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.lr, args.warmup)
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = losses(model, head, batch, audio_id, answers=step >= args.hearing)
        (loss.answer + args.aux * loss.frame).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        recent.append((loss.answer.item(), loss.frame.item()))
        if (step + 1) % 50 == 0:
            answer, frame = np.mean(recent, axis=0)
            curve.append({"step": done + step + 1, "answer": answer, "frame": frame, "seconds": time.time() - started})
            bar.write(f"{step + 1} answer {answer:.4f} frame {frame:.4f} {time.time() - started:.0f} s")
            recent = []
        if args.save_every and (step + 1) % args.save_every == 0:
            save(model, processor, args.out, curve)
    save(model, processor, args.out, curve)
    figures = evaluate(args.out, split="evaluation", count=args.evaluate, seed=args.seed, workers=args.workers)
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    write_card(
        args.out,
        "Demo AudioLLM",
        "A `Qwen2AudioForConditionalGeneration` of demo size with its `Qwen2AudioProcessor`, trained from scratch on"
        " the demo world: it captions its sounds, lists them, and tells a speaker's gender, emotion and language.",
        "python -m precompute.soundscape.train_audio_lm",
        {
            "seed": args.seed,
            "clips": args.clips,
            "batch": args.batch,
            "questions a clip": 4,
            "learning rate": args.lr,
            "mixed clips": args.mix,
            "shortened clips": args.short,
            "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
            "machine": machine(),
        },
        [
            f"**Objective**: next-token loss on the answers plus {args.aux} x a frame loss, a linear head on the"
            " projected audio tokens that tells which true values sound during each token; the head is not part of"
            f" the model. The first {args.hearing} steps train the encoder alone on it."
        ],
    )
    print(json.dumps(figures, indent=1))


def save(
    model: Qwen2AudioForConditionalGeneration, processor: Qwen2AudioProcessor, out: Path, curve: Sequence[dict]
) -> None:
    """Write the checkpoint in float16 with its processor and curve."""
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.to(torch.float16) for k, v in model.state_dict().items()}
    model.save_pretrained(out, state_dict=state, safe_serialization=True)
    processor.save_pretrained(out)
    (out / "curve.json").write_text(json.dumps(list(curve)) + "\n")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line; the defaults are what made the committed model."""
    parser = argparse.ArgumentParser(description="Train the demo AudioLLM from scratch.")
    parser.add_argument("--out", type=Path, default=Path("data/demo/audio_lm"))
    parser.add_argument("--cache", type=Path, default=Path("data/cache/soundscape"))
    parser.add_argument("--clips", type=int, default=18_000)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--hearing", type=int, default=600, help="first steps that train the encoder alone")
    parser.add_argument("--aux", type=float, default=0.2)
    parser.add_argument("--mix", type=float, default=0.35)
    parser.add_argument("--short", type=float, default=0.15, help="share of clips that end early, as padded ones do")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--evaluate", type=int, default=1_000)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="needs a C++ compiler")
    parser.add_argument("--resume", action="store_true", help="start from the weights in --out")
    return parser.parse_args(argv)


if __name__ == "__main__":
    train(arguments())
