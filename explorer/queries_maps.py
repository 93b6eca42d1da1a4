"""The two maps: where concepts and clips lie, and how much a clip fires a latent."""

from __future__ import annotations

from typing import NamedTuple

from explorer.queries_base import Tables


class ConceptPoint(NamedTuple):
    """A concept on its map."""

    latent_id: int
    x: float
    y: float
    name: str
    monosemanticity: float | None
    density: float | None


class ClipPoint(NamedTuple):
    """A clip on its map; `activation` is r of the chosen latent (Eq. 2), None where no latent is chosen."""

    clip_id: str
    x: float
    y: float
    caption: str
    labels: list[str]
    activation: float | None


class MapQueries(Tables):
    """Questions about the maps."""

    def concept_map(self, sae_id: str) -> list[ConceptPoint]:
        """Every concept of an SAE that has a place, weakest first so that the best are drawn on top."""
        sql = """
            SELECT p.latent_id, p.x, p.y, coalesce(c.name, 'latent ' || p.latent_id) AS name, c.monosemanticity,
                   l.density
            FROM concept_map p LEFT JOIN latents l USING (sae_id, latent_id)
            LEFT JOIN concepts c ON c.sae_id = p.sae_id AND c.latent_id = p.latent_id
                AND c.method = CASE WHEN p.sae_id LIKE '%/raw' THEN 'poly' ELSE 'ard' END
            WHERE p.sae_id = ? ORDER BY c.monosemanticity NULLS FIRST, p.latent_id"""
        return [ConceptPoint(**r) for r in self._rows(sql, [sae_id])]

    def clip_map(self, sae_id: str = "", latent_id: int | None = None) -> list[ClipPoint]:
        """Every clip that has a place, those that fire the latent most on top."""
        sql = """
            SELECT p.clip_id, p.x, p.y, coalesce(k.caption, '') AS caption, k.labels,
                   CASE WHEN ?::INT IS NULL THEN NULL ELSE coalesce(a.representativeness, 0) END AS activation
            FROM clip_map p JOIN clips k USING (clip_id)
            LEFT JOIN (SELECT * FROM clip_latents WHERE sae_id = ? AND latent_id = ?) a ON a.clip_id = p.clip_id
            ORDER BY activation NULLS FIRST, p.clip_id"""
        part = {} if latent_id is None else self._part("clip_latents", sae_id=sae_id, latent_id=latent_id)
        return [
            ClipPoint(**{**r, "labels": list(r["labels"] or [])})
            for r in self._rows(sql, [latent_id, sae_id, latent_id], part)
        ]

    def mapped_saes(self) -> list[str]:
        """SAEs whose concepts have a place."""
        return [r["sae_id"] for r in self._rows("SELECT DISTINCT sae_id FROM concept_map ORDER BY sae_id", [])]
