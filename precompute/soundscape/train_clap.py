"""Train the demo CLAP contrastively: `python -m precompute.soundscape.train_clap --out data/demo/clap`.

Symmetric InfoNCE over clips and their captions. Two captions that say the same of a clip's true values are not
each other's negatives: the targets are spread evenly over the clips of a batch with the same truth. A linear head that
tells a clip's true values from the audio tower's pooled output helps it to hear and is thrown away.
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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    PreTrainedTokenizerFast,
)

from ard.models.clap import Clap
from precompute.soundscape import features, grammar
from precompute.soundscape.cards import machine, write_card
from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.train_audio_lm import draw_mixture, learning_rate, true_values
from precompute.soundscape.world import CLIP_SECONDS, ClipTruth, EventTruth, render_many

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
HOP = 256
MEL_BINS = 64


def build_tokenizer(lines: Sequence[str], vocabulary: int = 1_200) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the demo's captions, with RoBERTa's special tokens and sentence frame."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        mask_token="<mask>", cls_token="<s>", sep_token="</s>", model_max_length=64,
    )  # fmt: skip


def build_processor(lines: Sequence[str]) -> ClapProcessor:
    """CLAP's feature extractor for the demo's sampling rate and window, with the demo tokenizer."""
    extractor = ClapFeatureExtractor(
        feature_size=MEL_BINS,
        sampling_rate=SAMPLE_RATE,
        hop_length=HOP,
        max_length_s=int(CLIP_SECONDS),
        fft_window_size=1024,
        frequency_min=40,
        frequency_max=8_000,
        truncation="rand_trunc",
        padding="pad",
    )
    return ClapProcessor(extractor, build_tokenizer(lines))


def build_model(vocabulary: int, width: int = 128, depths: Sequence[int] = (2, 4)) -> ClapModel:
    """A randomly initialised ClapModel of demo size: HTS-AT over a folded 128 x 128 spectrogram in 8 x 8 patches."""
    config = ClapConfig(
        audio_config={
            "spec_size": 128,
            "num_mel_bins": MEL_BINS,
            "patch_size": 8,
            "patch_stride": [8, 8],
            "patch_embeds_hidden_size": width,
            "hidden_size": width * 2 ** (len(depths) - 1),
            "depths": list(depths),
            "num_attention_heads": [width // 32 * 2**i for i in range(len(depths))],
            "hidden_dropout_prob": 0.0,
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 384,
            "max_position_embeddings": 80,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        projection_dim=128,
    )
    model = ClapModel(config)
    initialise(model, sum(depths))
    return model


@torch.no_grad()
def initialise(model: ClapModel, depth: int) -> None:
    """Unit-variance weights in place of the library's 0.02, which suits models ten times as wide (ours).

    std = 1 / sqrt(fan in); what writes into the audio tower's residual stream is scaled by 1 / sqrt(2 depth).
    """
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            writes = name.startswith("audio_model") and name.endswith("output.dense")
            module.weight.normal_(0.0, module.weight[0].numel() ** -0.5 * ((2 * depth) ** -0.5 if writes else 1.0))
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, 0.3)


def same_truth(truths: Sequence[ClipTruth]) -> torch.Tensor:
    """Which clips of a batch carry exactly the same true values, bool [B, B]."""
    sets = [frozenset(t.labels()) for t in truths]
    return torch.tensor([[a == b for b in sets] for a in sets])


def contrastive_loss(audio: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy of scale·audio·textᵀ [B, B] against the even spread over `same` [B, B]."""
    logits = scale * audio @ text.T
    target = same.float() / same.sum(1, keepdim=True)
    both = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
    return both / 2


class Loader(torch.utils.data.IterableDataset):
    """Endless stream of (features [B, 1, frames, bins], token ids, attention mask, same-truth matrix, values)."""

    def __init__(self, data: features.Rendered, tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace):
        self.data, self.tokenizer, self.args = data, tokenizer, args

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng([self.args.seed, 99])
        column = {v: i for i, v in enumerate(true_values())}
        while True:
            drawn = [draw_mixture(self.data, rng, self.args.mix, self.args.short) for _ in range(self.args.batch)]
            truths = [d.truth for d in drawn]
            texts = [caption_or_list(t, rng) for t in truths]
            tokens = self.tokenizer(texts, padding="max_length", max_length=64, truncation=True, return_tensors="pt")
            mels = torch.stack([10 * d.mel.T for d in drawn])[:, None]
            values = torch.zeros(len(drawn), len(column))
            for row, truth in enumerate(truths):
                values[row, [column[v] for v in truth.labels()]] = 1.0
            yield mels, tokens["input_ids"], tokens["attention_mask"], same_truth(truths), values


def caption_or_list(truth: ClipTruth, rng: np.random.Generator) -> str:
    """Mostly a caption; sometimes the bare labels, so that names (not only sentences) embed well."""
    if rng.random() < 0.75:
        return grammar.caption(truth, rng)
    return ", ".join(bare_label(e) for e in truth.events)


def bare_label(event: EventTruth) -> str:
    """A label without a sentence; for speech, who speaks how."""
    if event.key != grammar.SPEECH:
        return grammar.label(event.key)
    return f"{event.emotion} {grammar.PERSON[event.gender or '']} speaking {(event.language or '').capitalize()}"


class Retrieval(NamedTuple):
    """Text-to-audio retrieval over held-out clips."""

    r1: float
    r5: float
    r10: float
    r5_exact: float
    """R@5 where only the caption's own clip counts, not a clip with the same truth."""
    clips: int


def retrieval(folder: Path, split: str = "evaluation", count: int = 500, seed: int = 1, workers: int = 2) -> Retrieval:
    """R@k of captions against clips. A hit is the caption's own clip or one with exactly the same true values."""
    clap = Clap.load(folder)
    rendered = list(render_many(split, range(count), seed, workers))
    truths = [t for _, t in rendered]
    audio = clap.embed_audio([a for a, _ in rendered], SAMPLE_RATE)
    text = clap.embed_text([grammar.caption(t) for t in truths])
    order = (text @ audio.T).argsort(1, descending=True)
    same = same_truth(truths)
    hit = lambda k: float(same.gather(1, order[:, :k]).any(1).float().mean())  # noqa: E731
    own = (order[:, :5] == torch.arange(count)[:, None]).any(1).float().mean()
    return Retrieval(hit(1), hit(5), hit(10), float(own), count)


def train(args: argparse.Namespace) -> None:
    """Render, train, evaluate, save."""
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = build_processor(grammar.vocabulary_text())
    bank = features.clap_bank(processor.feature_extractor)
    data = features.render_features(args.cache, "train", args.clips, args.seed, bank, args.workers)
    model = build_model(len(processor.tokenizer)).to(device)
    head = nn.Linear(model.config.audio_config.hidden_size, len(true_values())).to(device)
    nn.init.constant_(head.bias, -4.0)  # few values are true of a clip
    nn.init.constant_(model.logit_scale_a, float(np.log(1 / 0.07)))
    norm = model.audio_model.audio_encoder.batch_norm
    sample = torch.from_numpy(data.mels[:: max(1, len(data.mels) // 500)].astype(np.float32)) * 10
    norm.running_mean.copy_(sample.mean((0, 2)))
    norm.running_var.copy_(sample.var((0, 2)))
    parameters = [*model.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    stream = Loader(data, processor.tokenizer, args)
    loader = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=3))
    model.train()
    norm.eval()
    started, recent, curve = time.time(), [], []
    for step in tqdm(range(args.steps), desc="train CLAP", mininterval=20):
        mels, ids, mask, same, values = (t.to(device) for t in next(loader))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.lr, args.warmup)
        with torch.autocast(device, dtype=torch.bfloat16):
            pooled = model.audio_model(input_features=mels).pooler_output
            audio = F.normalize(model.audio_projection(pooled), dim=-1)
            text = model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        loss = contrastive_loss(audio.float(), text.float(), model.logit_scale_a.exp().clamp(max=100), same)
        heard = F.binary_cross_entropy_with_logits(head(pooled.float()), values, reduction="none").sum(-1).mean()
        (loss + args.aux * heard).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        recent.append((loss.item(), heard.item()))
        if (step + 1) % 50 == 0:
            contrast, values_loss = np.mean(recent, axis=0)
            curve.append({"step": step + 1, "loss": contrast, "values": values_loss, "seconds": time.time() - started})
            tqdm.write(f"{step + 1} loss {contrast:.4f} values {values_loss:.3f} {time.time() - started:.0f} s")
            recent = []
        if args.save_every and (step + 1) % args.save_every == 0:
            save(model, processor, args.out, curve)
    save(model, processor, args.out, curve)
    figures = retrieval(args.out, workers=args.workers)._asdict()
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    write_card(
        args.out,
        "Demo CLAP",
        "A small `ClapModel` (HTS-AT audio tower, RoBERTa text tower) trained from scratch, contrastively, on the demo"
        " world. It embeds the demo's sounds and sentences and nothing else well.",
        "python -m precompute.soundscape.train_clap",
        {"seed": args.seed, "clips": args.clips, "batch": args.batch, "learning rate": args.lr, "machine": machine()},
        [
            "A retrieval is right when the clip found is the caption's own or carries exactly the same true values;"
            " `r5_exact` counts the caption's own clip alone."
        ],
    )
    print(json.dumps(figures, indent=1))


def save(model: ClapModel, processor: ClapProcessor, out: Path, curve: Sequence[dict]) -> None:
    """Write the checkpoint in float16 with its processor and curve."""
    out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model.logit_scale_t.copy_(model.logit_scale_a)
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.save_pretrained(out, state_dict=state, safe_serialization=True)
    processor.save_pretrained(out)
    (out / "curve.json").write_text(json.dumps(list(curve)) + "\n")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line; the defaults are what made the committed model."""
    parser = argparse.ArgumentParser(description="Train the demo CLAP.")
    parser.add_argument("--out", type=Path, default=Path("data/demo/clap"))
    parser.add_argument("--cache", type=Path, default=Path("data/cache/soundscape"))
    parser.add_argument("--clips", type=int, default=18_000)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--mix", type=float, default=0.25)
    parser.add_argument("--short", type=float, default=0.1, help="share of clips that end early, as padded ones do")
    parser.add_argument("--aux", type=float, default=0.2, help="weight of telling the true values of a clip apart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=250)
    return parser.parse_args(argv)


if __name__ == "__main__":
    train(arguments())
