"""Clips as the app shows them: on their own, and as examples of a latent."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from explorer.queries_base import Tables

SIDES = ("most", "least")
# The latent stands in the inner questions, so that they can be put to its own rows alone.
_OF_LATENT = """
    LEFT JOIN (SELECT * FROM clip_latents WHERE sae_id = $sae AND latent_id = $latent) cl ON cl.clip_id = k.clip_id
    LEFT JOIN (SELECT * FROM traces WHERE sae_id = $sae AND latent_id = $latent) t ON t.clip_id = k.clip_id"""
_COLUMNS = """k.clip_id, k.audio, k.duration_s, k.labels, k.shown_caption AS caption,
              cl.mean_activation, cl.coverage, cl.representativeness, t."values", t.seconds_per_token"""


class Clip(NamedTuple):
    """One clip as an example of one latent. `values`: z at each audio token, empty where no trace is stored."""

    clip_id: str
    audio: str | None
    duration_s: float
    caption: str
    labels: list[str]
    score: float
    mean_activation: float
    coverage: float
    representativeness: float
    values: list[float]
    seconds_per_token: float


class ClipQueries(Tables):
    """Questions about clips."""

    def clip_count(self) -> int:
        """Clips of the run that were not left out."""
        return int(self._rows("SELECT count(*) AS n FROM clips WHERE status = 'ok'", [])[0]["n"])

    def both_sides(self, sae_id: str, latent_id: int, method: str = "ard") -> dict[str, list[Clip]]:
        """The clips that stand for a latent (`most`) and the draw of the least representative ones, in rank order."""
        sql = """
            SELECT side, clip_id, score FROM representatives
            WHERE sae_id = $sae AND latent_id = $latent AND method = $method
            QUALIFY seed = min(seed) OVER (PARTITION BY side) ORDER BY rank"""
        of_latent = {"sae": sae_id, "latent": latent_id}
        ranked = self._rows(sql, {**of_latent, "method": method})
        # Which clips is known before they are looked up: a join would weigh every clip of the run.
        names = {f"clip_{i}": clip_id for i, clip_id in enumerate(sorted({r["clip_id"] for r in ranked}))}
        if not names:
            return {side: [] for side in SIDES}
        wanted = ", ".join(f"${name}" for name in names)
        sql = f"""
            SELECT {_COLUMNS} FROM (SELECT * FROM clip_cards WHERE clip_id IN ({wanted})) k {_OF_LATENT}"""  # noqa: S608
        rows = self._rows(sql, of_latent | names, self._of_latent(sae_id, latent_id))
        found = {r["clip_id"]: r for r in rows}
        return {
            side: [
                _clip({**found[r["clip_id"]], "score": r["score"]})
                for r in ranked
                if r["side"] == side and r["clip_id"] in found
            ]
            for side in SIDES
        }

    def representatives(self, sae_id: str, latent_id: int, method: str = "ard", side: str = "most") -> list[Clip]:
        """One side of `both_sides`."""
        return self.both_sides(sae_id, latent_id, method)[side]

    def _of_latent(self, sae_id: str, latent_id: int) -> dict[str, pa.Table]:
        """What `_OF_LATENT` asks for."""
        both = ("clip_latents", "traces")
        return {k: v for name in both for k, v in self._part(name, sae_id=sae_id, latent_id=latent_id).items()}

    def clip(self, clip_id: str) -> Clip | None:
        """One clip on its own (scores 0, no trace), or None."""
        sql = """SELECT clip_id, audio, duration_s, labels, shown_caption AS caption FROM clip_cards
                 WHERE clip_id = ?"""
        rows = self._rows(sql, [clip_id])
        return _clip(rows[0]) if rows else None

    def clip_of(self, clip_id: str, sae_id: str, latent_id: int) -> Clip | None:
        """One clip as an example of a latent: its scores (0 where it does not fire) and its trace if one is stored."""
        sql = f"""
            SELECT {_COLUMNS} FROM (SELECT * FROM clip_cards WHERE clip_id = $clip) k {_OF_LATENT}"""  # noqa: S608
        values = {"sae": sae_id, "latent": latent_id, "clip": clip_id}
        rows = self._rows(sql, values, self._of_latent(sae_id, latent_id))
        return _clip(rows[0]) if rows else None

    def find_clips(self, words: str, limit: int) -> list[tuple[str, str]]:
        """(caption, clip_id) of playable clips with every word in caption, labels or id; held-out clips first."""
        where, params = ["status = 'ok'", "audio IS NOT NULL"], list[Any]()
        for word in words.lower().split():
            where.append("contains(lower(shown_caption || ' ' || array_to_string(labels, ' ') || ' ' || clip_id), ?)")
            params.append(word)
        sql = f"""
            SELECT clip_id, shown_caption AS caption FROM clip_cards
            WHERE {" AND ".join(where)} ORDER BY (split = 'train'), clip_id LIMIT ?"""  # noqa: S608 (constant words)
        return [(r["caption"] or r["clip_id"], r["clip_id"]) for r in self._rows(sql, [*params, limit])]


def _clip(r: dict[str, Any]) -> Clip:
    """A row as a `Clip`; what the question did not ask for is 0 or empty."""
    known: dict[str, Any] = {name: r.get(name) for name in Clip._fields}
    numbers = ("duration_s", "score", "mean_activation", "coverage", "representativeness", "seconds_per_token")
    known |= {name: float(known[name] or 0.0) for name in numbers}
    known |= {name: list(known[name] or []) for name in ("labels", "values")}
    return Clip(**known)
