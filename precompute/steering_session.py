"""One steering task: choose on the selection clips, measure on the test clips, beside controls and a comparator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ard.clamp_rows import AnyClamp
from ard.steering_search import Asked, Bench, Tried
from ard.steering_task import Outcome, SteeringTask
from precompute import steering_direction
from precompute.stages.base import Context
from precompute.steering_direction import MeanDirection
from precompute.steering_methods import Method, SaeLatents
from precompute.steering_rows import TABLES, Row, answer_rows, figures, key_of
from precompute.steering_tasks import TaskClips

SLOPE_CLIPS = 4
"""Selection clips over which the slope of the answer is summed."""


class Trial(NamedTuple):
    """One latent at one value on the selection clips."""

    latent: int
    value: float
    outcome: Outcome


class Session:
    """One task: its clips, encoded and answered once; `rows` fills with what it adds to each table."""

    def __init__(self, ctx: Context, bench: Bench, task: SteeringTask, clips: TaskClips):
        self._ctx, self._bench, self._task, self._clips = ctx, bench, task, clips
        self.rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        self._selection = bench.ask(clips.selection, task.prompt, task.judge)
        self._test_ids = [clip_id for clip_id, _ in clips.test]
        self._test = bench.ask([audio for _, audio in clips.test], task.prompt, task.judge)
        self._known: dict[tuple[str, int, float], Outcome] = {}

    def run(self, methods: Sequence[Method], direction: MeanDirection | None) -> None:
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
        if direction is not None:
            self._compared(direction)

    def _one(self, method: Method, slope: np.ndarray) -> None:
        rankings = method.rankings(self._task, slope)
        latents = method.candidates(rankings, self._ctx.config.steering.candidates)
        pairs = [(latent, value) for latent in latents for value in method.values(latent, slope)]
        counted = self._bench.outcomes(self._selection, [method.clamp(*pair) for pair in pairs], self._task.judge)
        trials = [Trial(*pair, outcome) for pair, outcome in zip(pairs, counted, strict=True)]
        best = _best(trials)
        dose = [t for t in trials if t.latent == best.latent]
        heads = {how: rankings[how][0] for how in ("auroc", "name") if how in rankings}
        otherwise = {how: [t for t in trials if t.latent == head] for how, head in heads.items()}
        picked = {how: _best(mine) for how, mine in otherwise.items() if mine}
        self._tested(method, [*dose, *picked.values()])  # all at once: full batches
        self._dose(method, best, dose)
        for how, trial in picked.items():
            self._compare(method, how, trial)
        if isinstance(method, SaeLatents):
            what = {"method": method.name, "sae_id": method.sae_id, "control": "reconstruct_only"}
            plain = self._tried([method.reconstruct_only], [what])[0]
            self._add(method, None, None, plain, control="reconstruct_only")
        self._random(method, best)
        if isinstance(method, SaeLatents) and best.outcome.turned:
            self._examples(method, best)

    def _tried(self, clamps: Sequence[AnyClamp], what: Sequence[Row], clips: Sequence[int] | None = None) -> list:
        """Outcomes on the test clips; every answer becomes a row."""
        found: list[Tried] = self._bench.tried(self._test, clamps, self._task.judge, clips)
        for tried, one in zip(found, what, strict=True):
            self.rows["steering_answers"] += answer_rows(self._task, self._test, self._test_ids, tried, one)
        return [tried.outcome for tried in found]

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
        keys = [(method.name, t.latent, t.value) for t in trials]
        new = list(dict.fromkeys(key for key in keys if key not in self._known))
        what = [{"method": m, "sae_id": method.sae_id, "latent_id": latent, "value": v} for m, latent, v in new]
        found = self._tried([method.clamp(latent, value) for _, latent, value in new], what)
        self._known |= dict(zip(new, found, strict=True))
        return [self._known[key] for key in keys]

    def _random(self, method: Method, best: Trial) -> None:
        """Control: random latents of matched density at the same raw value, pooled, with their spread."""
        part = self._ctx.config.steering
        others = method.alike(best.latent, part.random, self._ctx.config.seed)
        rows = self._test.samples[: part.random_clips or None]
        if not others or not rows:
            return
        same = {"method": method.name, "sae_id": method.sae_id, "control": "random_latent", "value": best.value}
        clamps = [method.clamp(latent, best.value) for latent in others]
        found = self._tried(clamps, [{**same, "latent_id": latent} for latent in others], rows)
        pooled = Outcome(*(sum(counts) for counts in zip(*found, strict=True)))
        spread = float(np.std([outcome.sensitivity or 0.0 for outcome in found]))
        self._add(method, None, best.value, pooled, control="random_latent", spread=spread, latents=len(others))

    def _compared(self, means: MeanDirection) -> None:
        """Difference of means at every α: chosen on the selection clips, each measured on the test clips."""
        direction = means.of(self._task)
        if direction is None:
            return
        changes = [means.change(direction, value) for value in means.values]
        counted = self._bench.outcomes(self._selection, changes, self._task.judge)
        trials = [Trial(0, value, outcome) for value, outcome in zip(means.values, counted, strict=True)]
        same = {"comparator": steering_direction.NAME, "sae_id": f"{means.hookpoint}/raw"}
        found = self._tried(changes, [{**same, "value": value} for value in means.values])
        for trial, outcome in zip(trials, found, strict=True):
            self.rows["steering_comparators"].append(
                {
                    **key_of(self._task),
                    "comparator": steering_direction.NAME,
                    "hookpoint": means.hookpoint,
                    "value": trial.value,
                    "chosen": trial is _best(trials),
                    "norm": float(direction.vector.norm()),
                    "clips_source": direction.clips_source,
                    "clips_target": direction.clips_target,
                    **figures(outcome, trial.outcome),
                    "prompt": self._task.prompt,
                    "switches": means.switches,
                }
            )

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
            self.rows["steering_examples"].append(
                {
                    **key_of(self._task),
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
        area = method.area(self._task, latent) if isinstance(method, SaeLatents) and latent is not None else None
        self.rows["steering"].append(
            {
                **key_of(self._task),
                "method": method.name,
                "sae_id": method.sae_id,
                "latent_id": latent,
                "value": value,
                "chosen": chosen,
                "control": control,
                "how_chosen": how_chosen,
                **figures(outcome, selection, tested=tested, pooled=control == "random_latent"),
                "sensitivity_std": spread,
                "latents": latents,
                "auroc": area,
                "prompt": self._task.prompt,
                "switches": method.switches,
            }
        )


def _best(trials: Sequence[Trial]) -> Trial:
    """Most answers turned; then fewest degenerate ones, the smallest value, the earlier candidate."""
    return min(trials, key=lambda t: (-t.outcome.turned, t.outcome.degenerate_all, abs(t.value)))
