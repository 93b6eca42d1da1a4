"""Choose a latent and a value for each steering task on the selection split, and test them on the evaluation split."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ard.labels import auroc
from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sae import TopKSAE
from ard.steering import Clamp, Steering
from ard.steering_search import matched_latents
from precompute.soundscape.tasks import EVENT_TASKS, SPEAKER_TASKS, Task, Verdict, judge, sensitivity, task_clips
from precompute.soundscape.train_audio_lm import true_values

MAX_NEW_TOKENS = 14


class TaskResult(NamedTuple):
    """One task, tested on clips that did not choose the latent or the value."""

    task: str
    kind: str
    latent: int
    value: float
    auroc: float
    """Of the chosen latent for the target value on the probing clips."""
    samples: int
    """Evaluation clips whose unsteered answer is the source."""
    baseline: float
    """Share of source clips whose unsteered answer is the source."""
    sensitivity: float
    degenerate: float
    reconstruct: float
    """Control: share of those samples answered `target` when x̂ only replaces x."""
    kept: float
    """Control: share of them still answered `source` when x̂ only replaces x."""
    random: float
    """Control: mean sensitivity of random latents of matched density at the same raw value."""
    selection: float
    """Sensitivity on the selection clips that chose latent and value."""


class Asked(NamedTuple):
    """A batch of source clips with its unsteered verdicts."""

    inputs: Inputs
    before: list[Verdict]


def ask(lm: AudioLM, task: Task, tasks: Sequence[Task], split: str, count: int) -> Asked:
    """Prepare a task's clips and answer them unsteered."""
    clips = task_clips(task, tasks, split, count, workers=2)
    inputs = lm.prepare(clips.audios, [task.prompt] * count)
    return Asked(inputs, [judge(task, a) for a in lm.generate(inputs, MAX_NEW_TOKENS)])


def steered(lm: AudioLM, sae: TopKSAE, clamp: Clamp, task: Task, asked: Asked) -> list[Verdict]:
    """Verdicts of the steered answers."""
    with Steering(lm, sae, clamp, asked.inputs):
        return [judge(task, a) for a in lm.generate(asked.inputs, MAX_NEW_TOKENS)]


def candidates(area: np.ndarray, decoder_effect: np.ndarray, count: int) -> list[int]:
    """Latents worth trying for a target: half by how well they find it, half by their pull on its answer."""
    by_hearing = np.argsort(-np.nan_to_num(area, nan=0.0))[: count - count // 3]
    by_effect = np.argsort(-decoder_effect)[: count // 3]
    return list(dict.fromkeys(int(i) for i in (*by_hearing, *by_effect)))


def first_order_effect(lm: AudioLM, sae: TopKSAE, task: Task, asked: Asked, positions: str) -> np.ndarray:
    """Slope of log p(target answer) along each decoder row at the clamped positions, [d_sae].

    A latent's effect on the answer to first order: the gradient of the target answer's log-probability with respect
    to the activations, projected on W_dec. What a latent responds to is not what it causes; this looks at the cause.
    """
    answer = _target_answer(task)
    count = min(8, asked.inputs.batch)
    ids = asked.inputs.tensors
    few = {k: v[:count] for k, v in ids.items()}
    layer = lm.layer(lm.layer_of(sae.cfg.hookpoint))
    kept: list[torch.Tensor] = []

    def keep(_module, _args, output):
        x = output[0] if isinstance(output, tuple) else output
        x.retain_grad()
        kept.append(x)

    lm.model.requires_grad_(False)
    lm.model.get_input_embeddings().weight.requires_grad_(True)
    handle = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            token = lm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"][0]
            logits = lm.model(**few, use_cache=False).logits[:, -1].float()
            logits.log_softmax(-1)[:, token].sum().backward()
    finally:
        handle.remove()
        lm.model.get_input_embeddings().weight.requires_grad_(False)
        lm.model.get_input_embeddings().weight.grad = None
    inputs = asked.inputs
    mask = {"audio": inputs.audio, "prompt": inputs.prompt, "all": inputs.audio | inputs.prompt}[positions][:count]
    slope = kept[0].grad[mask].sum(0)
    return (sae.W_dec.detach() @ slope).numpy()


def _target_answer(task: Task) -> str:
    from precompute.soundscape.grammar import sentence, sounds_answer

    return sounds_answer([task.target]) if task.kind == "event" else sentence(task.target)


def run_tasks(
    lm: AudioLM, sae: TopKSAE, scores: np.ndarray, top: np.ndarray, labels: np.ndarray, args: argparse.Namespace
) -> list[TaskResult]:
    """Every task: choose on selection clips, test on evaluation clips, with both controls."""
    tasks = [*SPEAKER_TASKS, *(EVENT_TASKS[: args.tasks] if args.tasks else EVENT_TASKS)]
    areas = auroc(scores, labels)
    density = (scores > 0).mean(0)
    return [_run_task(lm, sae, t, areas[:, true_values().index(t.target_value)], top, density, args) for t in tasks]


def _run_task(
    lm: AudioLM,
    sae: TopKSAE,
    task: Task,
    area: np.ndarray,
    top: np.ndarray,
    density: np.ndarray,
    args: argparse.Namespace,
) -> TaskResult:
    every = [*SPEAKER_TASKS, *EVENT_TASKS]
    switches = {
        "when": args.when, "error_term": args.error_term, "positions": args.positions, "decoding": args.decoding
    }  # fmt: skip
    chosen = ask(lm, task, every, "selection", args.selection)
    effect = first_order_effect(lm, sae, task, chosen, args.positions)
    best = (-1.0, 0, 0.0)
    for latent in candidates(area, effect, args.candidates):
        unit = float(top[latent]) or float(np.median(top[top > 0]))
        for multiple in args.values:
            clamp = Clamp((latent,), (multiple * unit,), **switches)
            got = sensitivity(chosen.before, steered(lm, sae, clamp, task, chosen))
            if got > best[0] + 1e-9:
                best = (got, latent, multiple * unit)
    on_selection, latent, value = best
    test = ask(lm, task, every, "evaluation", args.test)
    clamp = Clamp((latent,), (value,), **switches)
    after = steered(lm, sae, clamp, task, test)
    plain = steered(lm, sae, clamp.without_latents(), task, test)
    others = matched_latents(density, latent, args.random)
    random = [sensitivity(test.before, steered(lm, sae, Clamp((i,), (value,), **switches), task, test)) for i in others]
    kept = [a == "source" for b, a in zip(test.before, plain, strict=True) if b == "source"]
    return TaskResult(
        task.name, task.kind, latent, value, float(area[latent]), test.before.count("source"),
        test.before.count("source") / len(test.before), sensitivity(test.before, after),
        after.count("degenerate") / len(after), sensitivity(test.before, plain),
        float(np.mean(kept)) if kept else float("nan"),
        float(np.mean(random)) if random else float("nan"), on_selection,
    )  # fmt: skip
