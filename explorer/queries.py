"""The app's questions about concepts and clips. All SQL of the app lives in the modules `queries*`.

Values are always bound parameters; words that become SQL come from the tables below.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pyarrow as pa

from explorer.queries_latents import LatentQueries
from explorer.queries_maps import MapQueries
from explorer.queries_results import ResultQueries
from explorer.views import PAGE_SIZE, ViewState

_ORDER = {  # the column, and the direction in which people want it first
    "monosemanticity": ("c.rank", "ASC"),
    "name": ("lower(c.name)", "ASC"),
    "density": ("l.density", "DESC"),
    "clips": ("l.clips_active", "DESC"),
    "auroc": ("d.auroc", "DESC"),
}
_TURNED = {"ASC": "DESC", "DESC": "ASC"}
_FROM = """FROM {} c LEFT JOIN latents l USING (sae_id, latent_id)
           LEFT JOIN detection d USING (sae_id, method, latent_id)"""
# What a search looks through, put together once for each concept and not once for each word.
_WITH_WORDS = """(SELECT *, lower(name || ' ' || description || ' ' || coalesce(array_to_string(captions, ' '), ''))
                  AS words FROM concepts)"""
_ROW = """c.latent_id, c.rank, c.name, c.description, c.monosemanticity, l.density, l.clips_active,
          l.max_activation, d.auroc, d.auroc_low, d.auroc_high, d.label AS auroc_label"""


class Filter(NamedTuple):
    """A WHERE clause, its bound values, and what it says in words."""

    where: str
    params: list[Any]
    words: str


class ConceptRow(NamedTuple):
    """One line of the table of concepts."""

    latent_id: int
    rank: int
    name: str
    description: str
    monosemanticity: float
    density: float | None
    clips_active: int | None
    max_activation: float | None
    auroc: float | None
    auroc_low: float | None
    auroc_high: float | None
    auroc_label: str | None


class ConceptPage(NamedTuple):
    """One page of concepts and where it lies in the whole."""

    rows: list[ConceptRow]
    total: int
    page: int
    pages: int
    words: str


class Concept(NamedTuple):
    """Everything known about one concept but its clips."""

    sae_id: str
    method: str
    row: ConceptRow
    captions: list[str]
    namer: str
    coherence_most: float | None
    coherence_least: float | None
    std_pooled: float | None
    score_std: float | None
    draws: int | None
    concepts: int
    median: float | None
    support: float | None


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


class Queries(LatentQueries, MapQueries, ResultQueries):
    """The run's tables behind named questions. Safe to share between threads: each question has its own cursor."""

    # -- what there is -------------------------------------------------------------------------------------------

    def default_sae(self) -> str:
        """The SAE the app opens with: the manifest's `default_sae`, or the first that has concepts."""
        named = self.run.manifest.get("default_sae")
        if isinstance(named, str) and named:
            return named
        rows = self._rows("SELECT min(sae_id) AS sae_id FROM concepts WHERE method = 'ard'", [])
        return rows[0]["sae_id"] or ""

    def sae_ids(self) -> list[str]:
        """Every SAE of the run."""
        return [r["sae_id"] for r in self._rows("SELECT sae_id FROM saes ORDER BY sae_id", [])]

    def sources(self) -> list[tuple[str, str, int]]:
        """Every (sae_id, method) that has concepts, with how many."""
        sql = (
            "SELECT sae_id, method, count(*) AS n FROM concepts "
            "GROUP BY sae_id, method ORDER BY (method <> 'ard'), sae_id, method"
        )
        return [(r["sae_id"], r["method"], r["n"]) for r in self._rows(sql, [])]

    def questions(self, limit: int = 20) -> list[str]:
        """The questions put to the model while activations were read, most used first."""
        sql = "SELECT question FROM answers GROUP BY question ORDER BY count(*) DESC, question LIMIT ?"
        return [r["question"] for r in self._rows(sql, [limit])]

    def resolve(self, sae_id: str, method: str) -> tuple[str, str]:
        """The SAE and method to show: as wished, or for an SAE without that method the first method it has."""
        chosen = sae_id or self.default_sae()
        methods = [m for s, m, _ in self.sources() if s == chosen]
        return chosen, method if method in methods or not methods else methods[0]

    def has_detection(self, sae_id: str, method: str) -> bool:
        """True where the concepts have a detection score by labels."""
        sql = "SELECT 1 AS one FROM detection WHERE sae_id = ? AND method = ? AND auroc IS NOT NULL LIMIT 1"
        return bool(self._rows(sql, [sae_id, method]))

    def clip_count(self) -> int:
        """Clips of the run that were not left out."""
        return int(self._rows("SELECT count(*) AS n FROM clips WHERE status = 'ok'", [])[0]["n"])

    # -- concepts ------------------------------------------------------------------------------------------------

    def filter(self, state: ViewState) -> Filter:
        """Concepts of one SAE and method; every word of the search in name, description or captions, or the latent."""
        where, params = ["c.sae_id = ?", "c.method = ?"], [self.sae_of(state), state.method]
        for word in state.query.lower().split():
            where.append("(contains(c.words, ?) OR CAST(c.latent_id AS VARCHAR) = ?)")
            params += [word, word]
        words = f"with “{state.query}” in name, description or captions" if state.query else ""
        return Filter(" AND ".join(where), params, words)

    def sae_of(self, state: ViewState) -> str:
        """The SAE a state means."""
        return state.sae_id or self.default_sae()

    def concepts(self, state: ViewState, *, limit: int = PAGE_SIZE, offset: int | None = None) -> ConceptPage:
        """One page of concepts; a page past the end gives the last one."""
        f = self.filter(state)
        source = _WITH_WORDS if state.query else "concepts"
        count = f"SELECT count(*) AS n FROM {source} c WHERE {f.where}"  # noqa: S608 (constant words, bound values)
        total = int(self._rows(count, f.params)[0]["n"])
        pages = max(1, math.ceil(total / limit))
        page = min(state.page, pages)
        column, direction = _ORDER[state.sort]
        if state.reverse:
            direction = _TURNED[direction]
        sql = (
            f"SELECT {_ROW} {_FROM.format(source)} WHERE {f.where} "
            f"ORDER BY {column} {direction} NULLS LAST, c.rank, c.latent_id LIMIT ? OFFSET ?"
        )
        start = (page - 1) * limit if offset is None else offset
        rows = [ConceptRow(**r) for r in self._rows(sql, [*f.params, limit, start])]
        return ConceptPage(rows, total, page, pages, f.words)

    def concept(self, sae_id: str, latent_id: int, method: str = "ard") -> Concept | None:
        """One concept with its evidence, or None if there is none of that number."""
        sql = f"""
            SELECT {_ROW}, c.captions, c.namer, c.support, m.coherence_most, m.coherence_least, m.std_pooled,
                   m.score_std, m.draws,
                   (SELECT count(*) FROM concepts WHERE sae_id = $sae AND method = $method) AS concepts,
                   (SELECT median(score) FROM monosemanticity WHERE sae_id = $sae AND method = $method) AS median
            {_FROM.format("concepts")}
            LEFT JOIN (SELECT * FROM monosemanticity
                       WHERE sae_id = $sae AND method = $method AND latent_id = $latent) m USING (latent_id)
            WHERE c.sae_id = $sae AND c.latent_id = $latent AND c.method = $method
            ORDER BY abs(m.score - c.monosemanticity) LIMIT 1"""  # noqa: S608 (constant words, bound values)
        rows = self._rows(sql, {"sae": sae_id, "latent": latent_id, "method": method})
        if not rows:
            return None
        r = rows[0]
        row = ConceptRow(*(r.pop(name) for name in ConceptRow._fields))
        return Concept(sae_id=sae_id, method=method, row=row, **{**r, "captions": r["captions"] or []})

    # -- clips ---------------------------------------------------------------------------------------------------

    def representatives(self, sae_id: str, latent_id: int, method: str = "ard", side: str = "most") -> list[Clip]:
        """The clips that stand for a latent (`most`) or the draw of the least representative ones, in rank order."""
        sql = f"""
            SELECT r.score, {_CLIP_COLUMNS}
            FROM (SELECT * FROM representatives
                  WHERE sae_id = $sae AND latent_id = $latent AND method = $method AND side = $side
                  QUALIFY seed = min(seed) OVER ()) r
            JOIN clips k USING (clip_id)
            {_OF_LATENT}
            ORDER BY r.rank"""  # noqa: S608 (constant words, bound values)
        values = {"sae": sae_id, "latent": latent_id, "method": method, "side": side}
        return [_clip(r) for r in self._rows(sql, values, self._of_latent(sae_id, latent_id))]

    def _of_latent(self, sae_id: str, latent_id: int) -> dict[str, pa.Table]:
        """What `_OF_LATENT` asks for."""
        both = ("clip_latents", "traces")
        return {k: v for name in both for k, v in self._part(name, sae_id=sae_id, latent_id=latent_id).items()}

    def clip(self, clip_id: str) -> Clip | None:
        """One clip on its own (scores 0, no trace), or None."""
        sql = f"""
            SELECT 0.0 AS score, {_CLIP_COLUMNS}
            FROM clips k
            LEFT JOIN (SELECT NULL::FLOAT AS mean_activation, NULL::FLOAT AS coverage,
                              NULL::FLOAT AS representativeness) cl ON false
            LEFT JOIN (SELECT NULL::FLOAT[] AS "values", NULL::FLOAT AS seconds_per_token) t ON false
            WHERE k.clip_id = ?"""  # noqa: S608 (constant words, bound values)
        rows = self._rows(sql, [clip_id])
        return _clip(rows[0]) if rows else None

    def clip_of(self, clip_id: str, sae_id: str, latent_id: int) -> Clip | None:
        """One clip as an example of a latent: its scores (0 where it does not fire) and its trace if one is stored."""
        sql = f"""
            SELECT 0.0 AS score, {_CLIP_COLUMNS}
            FROM clips k {_OF_LATENT}
            WHERE k.clip_id = $clip"""  # noqa: S608 (constant words, bound values)
        values = {"sae": sae_id, "latent": latent_id, "clip": clip_id}
        rows = self._rows(sql, values, self._of_latent(sae_id, latent_id))
        return _clip(rows[0]) if rows else None

    def find_clips(self, words: str, limit: int) -> list[tuple[str, str]]:
        """(caption, clip_id) of playable clips with every word in caption, labels or id; held-out clips first."""
        where, params = ["k.status = 'ok'", "k.audio IS NOT NULL"], list[Any]()
        for word in words.lower().split():
            where.append("contains(lower(caption || ' ' || array_to_string(k.labels, ' ') || ' ' || k.clip_id), ?)")
            params.append(word)
        sql = f"""
            SELECT clip_id, caption FROM (SELECT k.* EXCLUDE (caption), {_CAPTION} FROM clips k) k
            WHERE {" AND ".join(where)} ORDER BY (split = 'train'), clip_id LIMIT ?"""  # noqa: S608 (constant words)
        return [(r["caption"] or r["clip_id"], r["clip_id"]) for r in self._rows(sql, [*params, limit])]


# A clip may have several captions: the model's first, then the corpus's.
_CAPTION = """coalesce((SELECT min_by(x.caption, (x.model = 'corpus')::VARCHAR || x.model)
                        FROM captions x WHERE x.clip_id = k.clip_id), k.caption, '') AS caption"""
# The latent stands in the inner questions, so that they can be put to its own rows alone.
_OF_LATENT = """
    LEFT JOIN (SELECT * FROM clip_latents WHERE sae_id = $sae AND latent_id = $latent) cl ON cl.clip_id = k.clip_id
    LEFT JOIN (SELECT * FROM traces WHERE sae_id = $sae AND latent_id = $latent) t ON t.clip_id = k.clip_id"""
_CLIP_COLUMNS = f"""k.clip_id, k.audio, k.duration_s, k.labels, {_CAPTION},
                   cl.mean_activation, cl.coverage, cl.representativeness, t."values", t.seconds_per_token"""


def _clip(r: dict[str, Any]) -> Clip:
    numbers = ("duration_s", "score", "mean_activation", "coverage", "representativeness", "seconds_per_token")
    for name in numbers:
        r[name] = float(r[name] or 0.0)
    for name in ("labels", "values"):
        r[name] = list(r[name] or [])
    return Clip(**r)
