"""The app's questions about concepts. All SQL of the app lives in the modules `queries*`.

Values are always bound parameters; words that become SQL come from the tables below.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from explorer.queries_clips import ClipQueries
from explorer.queries_latents import LatentQueries
from explorer.queries_maps import MapQueries
from explorer.queries_results import ResultQueries
from explorer.views import PAGE_SIZE, ViewState

_ORDER = {  # the column, and the direction in which people want it first
    "monosemanticity": ("c.rank", "ASC"),
    "name": ("lower(c.name)", "ASC"),
    "density": ("c.density", "DESC"),
    "clips": ("c.clips_active", "DESC"),
    "auroc": ("c.auroc", "DESC"),
}
_TURNED = {"ASC": "DESC", "DESC": "ASC"}
_ROW = """c.latent_id, c.rank, c.name, c.description, c.monosemanticity, c.density, c.clips_active,
          c.max_activation, c.auroc, c.auroc_low, c.auroc_high, c.auroc_label,
          coalesce(c.support > 0, true) AS named"""


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
    named: bool
    """False where the name says that the captions have nothing in common."""


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
    auroc_clap: float | None
    """How well the name alone finds, by CLAP, the held-out clips on which the latent fires."""
    auroc_clap_low: float | None
    auroc_clap_high: float | None


class Queries(ClipQueries, LatentQueries, MapQueries, ResultQueries):
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
        count = f"SELECT count(*) AS n FROM browse c WHERE {f.where}"  # noqa: S608 (constant words, bound values)
        total = int(self._rows(count, f.params)[0]["n"])
        pages = max(1, math.ceil(total / limit))
        page = min(state.page, pages)
        column, direction = _ORDER[state.sort]
        if state.reverse:
            direction = _TURNED[direction]
        sql = (
            f"SELECT {_ROW} FROM browse c WHERE {f.where} "  # noqa: S608 (constant words, bound values)
            f"ORDER BY {column} {direction} NULLS LAST, c.rank, c.latent_id LIMIT ? OFFSET ?"
        )
        start = (page - 1) * limit if offset is None else offset
        rows = [ConceptRow(**r) for r in self._rows(sql, [*f.params, limit, start])]
        return ConceptPage(rows, total, page, pages, f.words)

    def concept(self, sae_id: str, latent_id: int, method: str = "ard") -> Concept | None:
        """One concept with its evidence, or None if there is none of that number."""
        sql = f"""
            SELECT {_ROW}, c.captions, c.namer, c.support, m.coherence_most, m.coherence_least, m.std_pooled,
                   m.score_std, m.draws, c.concepts, c.median, c.auroc_clap, c.auroc_clap_low, c.auroc_clap_high
            FROM browse c
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
