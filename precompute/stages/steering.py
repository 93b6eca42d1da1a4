"""Stage `steering`: sensitivity of the AudioLLM's answers to a clamped latent, with its controls (Table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ard import tables
from ard.sae import TopKSAE
from ard.steering_search import Asked, Bench
from ard.steering_task import Outcome, SteeringTask, wilson
from precompute.stages.base import Context, StageError
from precompute.steering_methods import Method, RawDimensions, SaeLatents, settings_of
from precompute.steering_tasks import RunTask, TaskClips, clips_of, tasks_of

SLOPE_CLIPS = 4
"""Selection clips over which the slope of the answer is summed."""
Row = dict[str, Any]


class Trial(NamedTuple):
    """One latent at one value on the selection clips."""

    latent: int
    value: float
    outcome: Outcome


class Results(NamedTuple):
    """Rows of both tables."""

    steering: list[Row]
    examples: list[Row]


def run(ctx: Context) -> None:
    """Choose, test and compare for every task; write tables `steering` and `steering_examples`."""
    tasks = tasks_of(ctx)
    results = Results([], [])
    if tasks:
        _measure(ctx, tasks, results)
    else:
        ctx.say("no steering task: add [[steering.task]] with source, target, prompt and answers; the table is empty")
    ctx.out.write("steering", tables.from_rows("steering", results.steering))
    ctx.out.write("steering_examples", tables.from_rows("steering_examples", results.examples))


def _measure(ctx: Context, tasks: list[RunTask], results: Results) -> None:
    part, lm = ctx.config.steering, ctx.models.audio_lm
    sae = TopKSAE.load(ctx.run.sae_dir(_sae_id(ctx)), device=ctx.models.device)
    bench = Bench(lm, sae, **settings_of(part))
    methods: list[Method] = [SaeLatents(ctx, sae, [one.task for one in tasks])]
    methods += [RawDimensions(ctx, sae.cfg.hookpoint)] if part.poly else []
    for one, clips in ctx.progress(list(zip(tasks, clips_of(ctx, tasks), strict=True)), unit="task"):
        if not clips.selection or not clips.test:
            where = "to choose on" if not clips.selection else "to measure on"
            ctx.say(f"{one.task.name}: left out, no clip labelled {one.task.source_label!r} {where}")
            continue
        Session(ctx, bench, one.task, clips, results).run(methods)
    for method in methods:
        _summary(ctx, method, results.steering)


def _sae_id(ctx: Context) -> str:
    ids = ctx.sae_ids()
    if ctx.config.steering.sae and ctx.config.steering.sae not in ids:
        raise StageError(f"steering.sae is {ctx.config.steering.sae!r}; this run has {', '.join(ids)}.")
    return ctx.config.steering.sae or ids[0]


def _summary(ctx: Context, method: Method, rows: list[Row]) -> None:
    def mean(control: str) -> str:
        picked = [r["sensitivity"] for r in rows if r["method"] == method.name and r["control"] == control]
        picked = [r for r in picked if r is not None]
        return f"{np.mean(picked):.2f}" if picked else "–"

    chosen = [r["sensitivity"] for r in rows if r["method"] == method.name and r["chosen"]]
    known = [s for s in chosen if s is not None]
    if known:
        ctx.say(
            f"{method.sae_id}: mean sensitivity {np.mean(known):.2f} over {len(known)} tasks; "
            f"reconstruct only {mean('reconstruct_only')}, random latents {mean('random_latent')}"
        )


class Session:
    """One task: its clips, encoded and answered once, and the rows it adds."""

    def __init__(self, ctx: Context, bench: Bench, task: SteeringTask, clips: TaskClips, results: Results):
        self._ctx, self._bench, self._task, self._clips, self._results = ctx, bench, task, clips, results
        self._selection = bench.ask(clips.selection, task.prompt, task.judge)
        self._test = bench.ask(clips.test, task.prompt, task.judge)
        self._known: dict[tuple[str, int, float], Outcome] = {}

    def run(self, methods: Sequence[Method]) -> None:
        """All methods; a task that the model never answers with the source has rows without a figure."""
        if not self._selection.samples:
            self._ctx.say(
                f"{self._task.name}: none of {len(self._clips.selection)} selection clips is answered "
                f"{self._task.source!r}; nothing is chosen"
            )
            for method in methods:
                self._add(method, None, None, Outcome(len(self._clips.test), 0, 0, 0, 0, 0, 0), tested=False)
            return
        samples = self._selection.samples[:SLOPE_CLIPS]
        slope = self._bench.answer_slope(
            self._selection,
            self._task.source_answer,
            self._task.target_answer,
            self._ctx.config.steering.positions,
            samples,
        )
        for method in methods:
            self._one(method, slope)

    def _one(self, method: Method, slope: np.ndarray) -> None:
        rankings = method.rankings(self._task, slope)
        latents = method.candidates(rankings, self._ctx.config.steering.candidates)
        pairs = [(latent, value) for latent in latents for value in method.values(latent, slope)]
        counted = self._bench.outcomes(self._selection, [method.clamp(*pair) for pair in pairs], self._task.judge)
        trials = [Trial(*pair, outcome) for pair, outcome in zip(pairs, counted, strict=True)]
        best = _best(trials)
        self._dose(method, best, [t for t in trials if t.latent == best.latent])
        for how in ("auroc", "name"):
            mine = [t for t in trials if how in rankings and t.latent == rankings[how][0]]
            if mine:
                self._compare(method, how, _best(mine))
        if isinstance(method, SaeLatents):
            plain = self._bench.outcomes(self._test, [method.reconstruct_only], self._task.judge)[0]
            self._add(method, None, None, plain, control="reconstruct_only")
        self._random(method, best)
        if isinstance(method, SaeLatents) and best.outcome.turned:
            self._examples(method, best)

    def _dose(self, method: Method, best: Trial, trials: Sequence[Trial]) -> None:
        """The chosen latent at every value: the chosen one, and beside it the dose-response on the test clips."""
        for trial, outcome in zip(trials, self._tested(method, trials), strict=True):
            self._add(method, trial.latent, trial.value, outcome, chosen=trial is best, selection=trial.outcome)

    def _compare(self, method: Method, how: str, trial: Trial) -> None:
        """The latent that another way of choosing would take, at its own best value."""
        outcome = self._tested(method, [trial])[0]
        self._add(method, trial.latent, trial.value, outcome, how_chosen=how, selection=trial.outcome)

    def _tested(self, method: Method, trials: Sequence[Trial]) -> list[Outcome]:
        """Outcomes on the test clips, each measured once."""
        key = [(method.name, t.latent, t.value) for t in trials]
        new = [t for t, k in zip(trials, key, strict=True) if k not in self._known]
        found = self._bench.outcomes(self._test, [method.clamp(t.latent, t.value) for t in new], self._task.judge)
        self._known |= {(method.name, t.latent, t.value): outcome for t, outcome in zip(new, found, strict=True)}
        return [self._known[k] for k in key]

    def _random(self, method: Method, best: Trial) -> None:
        """Control: random latents of matched density at the same raw value, pooled, with their spread."""
        part = self._ctx.config.steering
        others = method.alike(best.latent, part.random, self._ctx.config.seed)
        rows = self._test.samples[: part.random_clips or None]
        if not others or not rows:
            return
        clamps = [method.clamp(latent, best.value) for latent in others]
        found = self._bench.outcomes(self._test, clamps, self._task.judge, rows)
        pooled = Outcome(*(sum(counts) for counts in zip(*found, strict=True)))
        spread = float(np.std([outcome.sensitivity or 0.0 for outcome in found]))
        self._add(method, None, best.value, pooled, control="random_latent", spread=spread, latents=len(others))

    def _examples(self, method: SaeLatents, best: Trial) -> None:
        """Clips of the run itself on which the chosen latent turns the answer."""
        part, own = self._ctx.config.steering, self._clips.own
        if not own:
            return
        asked: Asked = self._bench.ask([audio for _, audio in own], self._task.prompt, self._task.judge)
        clamp = method.clamp(best.latent, best.value)
        steered = self._bench.answers(asked, [(i, clamp) for i in range(len(own))])
        turned = [
            (clip_id, before, after)
            for (clip_id, _), before, verdict, after in zip(own, asked.answers, asked.before, steered, strict=True)
            if verdict == "source" and self._task.judge(after) == "target"
        ]
        for rank, (clip_id, before, after) in enumerate(turned[: part.examples], 1):
            self._results.examples.append(
                {
                    **self._key(),
                    "rank": rank,
                    "sae_id": method.sae_id,
                    "latent_id": best.latent,
                    "value": best.value,
                    "clip_id": clip_id,
                    "prompt": self._task.prompt,
                    "baseline": before,
                    "steered": after,
                    "switches": method.switches,
                }
            )

    def _key(self) -> Row:
        return {"task": self._task.kind, "source": self._task.source, "target": self._task.target}

    def _add(
        self,
        method: Method,
        latent: int | None,
        value: float | None,
        outcome: Outcome,
        *,
        chosen: bool = False,
        control: str = "none",
        how_chosen: str = "effect",
        selection: Outcome | None = None,
        spread: float | None = None,
        latents: int | None = None,
        tested: bool = True,
    ) -> None:
        """One row of `steering`; `tested` False where nothing was chosen that could have been measured."""
        pooled = control == "random_latent"
        interval = wilson(outcome.turned, outcome.samples)
        area = method.area(self._task, latent) if isinstance(method, SaeLatents) and latent is not None else None
        self._results.steering.append(
            {
                **self._key(),
                "method": method.name,
                "sae_id": method.sae_id,
                "latent_id": latent,
                "value": value,
                "chosen": chosen,
                "control": control,
                "how_chosen": how_chosen,
                "samples": outcome.samples,
                "clips": outcome.clips,
                "sensitivity": outcome.sensitivity,
                "sensitivity_low": interval.low,
                "sensitivity_high": interval.high,
                "sensitivity_std": spread,
                "latents": latents,
                "sensitivity_all": None if pooled or not tested else outcome.sensitivity_all,
                "kept": outcome.share(outcome.kept),
                "off_target": outcome.share(outcome.off_target),
                "degenerate": outcome.degenerate if tested else None,
                "sensitivity_selection": selection.sensitivity if selection else None,
                "samples_selection": selection.samples if selection else None,
                "auroc": area,
                "prompt": self._task.prompt,
                "switches": method.switches,
            }
        )


def _best(trials: Sequence[Trial]) -> Trial:
    """Most answers turned; then fewest degenerate ones, the smallest value, the earlier candidate."""
    return min(trials, key=lambda t: (-t.outcome.turned, t.outcome.degenerate_all, abs(t.value)))
