"""The measured results of a run, and what it was made from."""

from __future__ import annotations

from typing import Any, NamedTuple

from explorer.queries_base import Tables

_ORDERED = {
    "interpretability": "reading DESC, control <> 'none', method, sae_id, n NULLS FIRST, seed, control",
    "controls": "passed, sae_id, control, figure",
    "comparisons": "reading, sae_id, other_method, other_control, n NULLS FIRST, figure",
    "stability": "sae_id, seed, control",
    "human": "method",
    "human_catches": "rater NULLS FIRST",
    "human_correlation": "raters, method <> 'all', method, figure <> 'monosemanticity', figure",
    "steering": "task, source, target, NOT chosen, method, control, sae_id, latent_id, value",
    "steering_comparators": "task, source, target, comparator, value",
    "steering_judged": "task, source, target, method NULLS LAST, control, latent_id, value",
    "judge_agreement": "task <> 'all', task, source, target, judge",
    "ablation": "hookpoint, method, k NULLS FIRST, expansion NULLS FIRST",
    "saes": "sae_id",
}
RESULTS = tuple(_ORDERED)
_STEERING_ORDER = ("task", "source", "target", "chosen DESC", "method", "control", "sae_id", "latent_id", "value")


class Example(NamedTuple):
    """One question whose answer a clamped latent is known to change."""

    sae_id: str
    latent_id: int
    value: float
    task: str
    clip_id: str
    prompt: str
    baseline: str
    steered: str
    switches: str


class ResultQueries(Tables):
    """Questions about results."""

    def results(self, name: str) -> list[dict[str, Any]]:
        """Every row of a table of results, as the pipeline wrote it.

        Raises:
            KeyError: not one of `RESULTS`.
        """
        return self._rows(f"SELECT * FROM {name} ORDER BY {_ORDERED[name]}", [])  # noqa: S608 (a known table)

    def interpretability(self) -> list[dict[str, Any]]:
        """Interpretability with the seeds of one setting (method `random`) as mean and standard deviation (`_std`).

        Intervals belong to one seed; where there are several they are empty.
        """
        figures = ", ".join(
            f"avg({f}) AS {f}, stddev_samp({f}) AS {f}_std, "
            f"CASE WHEN count(*) = 1 THEN min({f}_low) END AS {f}_low, "
            f"CASE WHEN count(*) = 1 THEN max({f}_high) END AS {f}_high"
            for f in ("ms_max", "precision", "recall", "f1", "map")
        )
        sql = f"""
            SELECT reading, method, sae_id, control, n, count(*) AS seeds, max(clips) AS clips, max(gamma) AS gamma,
                   {figures}
            FROM interpretability GROUP BY reading, method, sae_id, control, n
            ORDER BY reading DESC, n NULLS FIRST, sae_id LIKE '%/raw', sae_id,
                     method <> 'ard', method, control <> 'none', control"""  # noqa: S608 (constant words)
        return self._rows(sql, [])

    def steering(self) -> list[dict[str, Any]]:
        """Steering with the chat model's figure of the same answers (`judged`), empty where none judged."""
        sql = f"""
            SELECT s.*, j.sensitivity AS judged, j.sensitivity_low AS judged_low, j.sensitivity_high AS judged_high
            FROM (SELECT * FROM steering) s LEFT JOIN (SELECT * FROM steering_judged) j
              ON s.task = j.task AND s.source = j.source AND s.target = j.target AND s.method = j.method
                 AND s.sae_id = j.sae_id AND s.control = j.control
                 AND s.latent_id IS NOT DISTINCT FROM j.latent_id AND s.value IS NOT DISTINCT FROM j.value
            ORDER BY {", ".join(f"s.{word}" for word in _STEERING_ORDER)}"""  # noqa: S608 (constant words)
        return self._rows(sql, [])

    def detection_summary(self) -> list[dict[str, Any]]:
        """Detection of each SAE and method: latents, median AUROC, share whose interval lies above chance (0.5)."""
        sql = """SELECT sae_id, method, count(*) AS latents, median(auroc) AS auroc_median,
                        avg((auroc_low > 0.5)::INT) AS above_chance, max(clips) AS clips
                 FROM detection WHERE auroc IS NOT NULL GROUP BY sae_id, method ORDER BY sae_id, method"""
        return self._rows(sql, [])

    def label_summary(self) -> list[dict[str, Any]]:
        """For each SAE, method and control: labels, how many a latent finds and how well in time, purity."""
        sql = """
            SELECT sae_id, method, control, r.labels, r.found, r.auroc, t.iou, p.pure, p.latents
            FROM (SELECT sae_id, method, control, count(DISTINCT label) AS labels,
                         sum((auroc_held_out >= 0.9)::INT) / count(DISTINCT draw) AS found,
                         avg(auroc_held_out) AS auroc FROM recovery GROUP BY ALL) r
            FULL JOIN (SELECT sae_id, method, control, avg(iou) AS iou FROM localisation GROUP BY ALL) t
                USING (sae_id, method, control)
            FULL JOIN (SELECT sae_id, method, control, avg(pure) AS pure, count(*) AS latents
                       FROM purity GROUP BY ALL) p USING (sae_id, method, control)
            ORDER BY sae_id LIKE '%/raw', sae_id, method, control <> 'none', control"""
        return self._rows(sql, [])

    def examples(self, sae_id: str = "", limit: int = 12) -> list[Example]:
        """Known to steer, the best clip of each task first."""
        sql = f"""
            SELECT {", ".join(f"e.{c}" for c in Example._fields)} FROM steering_examples e JOIN clips k USING (clip_id)
            WHERE k.audio IS NOT NULL AND (? = '' OR e.sae_id = ?) AND e.baseline <> e.steered
            ORDER BY e.rank, e.task, e.clip_id LIMIT ?"""  # noqa: S608 (constant words, bound values)
        return [Example(**r) for r in self._rows(sql, [sae_id, sae_id, limit])]
