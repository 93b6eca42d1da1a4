"""What else is known of one latent: histogram, output words, similar latents."""

from __future__ import annotations

from typing import NamedTuple

from explorer.queries_base import Tables


class Histogram(NamedTuple):
    """Audio tokens in each bin of z; one edge more than counts."""

    edges: list[float]
    counts: list[int]


class OutputToken(NamedTuple):
    """One token of the AudioLLM's vocabulary and what the latent's decoder row adds to its logit."""

    side: str
    token: str
    logit: float


class Neighbour(NamedTuple):
    """A similar latent. `cosine` of the decoder rows (same hookpoint only), `coactivation` over the clips."""

    sae_id: str
    latent_id: int
    name: str
    cosine: float | None
    coactivation: float | None


class Named(NamedTuple):
    """What the app calls a latent, and the activation its slider is scaled with."""

    latent_id: int
    name: str
    max_activation: float | None
    density: float | None
    monosemanticity: float | None


class Firing(NamedTuple):
    """One latent that fires in a clip, and how much (Eq. 2)."""

    latent_id: int
    name: str
    representativeness: float
    max_activation: float


class LatentQueries(Tables):
    """Questions about one latent."""

    def histogram(self, sae_id: str, latent_id: int) -> Histogram | None:
        """Distribution of its activations above 0, or None where none is stored."""
        sql = "SELECT edges, counts FROM histograms WHERE sae_id = ? AND latent_id = ?"
        rows = self._rows(sql, [sae_id, latent_id])
        return Histogram(list(rows[0]["edges"]), list(rows[0]["counts"])) if rows and rows[0]["counts"] else None

    def firing(self, sae_id: str, clip_id: str, limit: int = 20) -> list[Firing]:
        """The latents that fire in one clip, by r, the strongest first; a nameless one is `latent N`."""
        sql = """
            SELECT f.latent_id, coalesce(c.name, 'latent ' || f.latent_id) AS name, f.representativeness,
                   f.max_activation
            FROM (SELECT * FROM latents_by_clip WHERE sae_id = ? AND clip_id = ?
                  ORDER BY representativeness DESC, latent_id LIMIT ?) f
            LEFT JOIN concepts c ON c.sae_id = f.sae_id AND c.latent_id = f.latent_id AND c.method = 'ard'
            ORDER BY f.representativeness DESC, f.latent_id"""
        part = self._part("latents_by_clip", sae_id=sae_id, clip_id=clip_id)
        return [Firing(**r) for r in self._rows(sql, [sae_id, clip_id, limit], part)]

    def output_tokens(self, sae_id: str, latent_id: int, limit: int = 8) -> list[OutputToken]:
        """Words it promotes and suppresses most, strongest first."""
        sql = """SELECT side, token, logit FROM output_tokens
                 WHERE sae_id = ? AND latent_id = ? AND rank <= ? ORDER BY side, rank"""
        return [OutputToken(**r) for r in self._rows(sql, [sae_id, latent_id, limit])]

    def neighbours(self, sae_id: str, latent_id: int, limit: int = 5, elsewhere: int = 3) -> list[Neighbour]:
        """Similar latents: the nearest `limit` of the same SAE, then the nearest `elsewhere` of each other SAE."""
        sql = """
            SELECT n.neighbour_sae_id AS sae_id, n.neighbour_id AS latent_id, coalesce(c.name, '') AS name,
                   n.cosine, n.coactivation
            FROM neighbours n LEFT JOIN concepts c
                ON c.sae_id = n.neighbour_sae_id AND c.latent_id = n.neighbour_id AND c.method = 'ard'
            WHERE n.sae_id = ? AND n.latent_id = ?
            QUALIFY row_number() OVER (PARTITION BY n.neighbour_sae_id ORDER BY n.rank)
                    <= CASE WHEN n.neighbour_sae_id = n.sae_id THEN ? ELSE ? END
            ORDER BY (n.neighbour_sae_id <> n.sae_id), n.neighbour_sae_id, n.rank"""
        return [Neighbour(**r) for r in self._rows(sql, [sae_id, latent_id, limit, elsewhere])]

    def named(self, sae_id: str, latent_ids: list[int]) -> list[Named]:
        """Name and largest activation of each latent that exists, in the order asked; a nameless one is `latent N`."""
        sql = f"""
            SELECT l.latent_id, coalesce(c.name, 'latent ' || l.latent_id) AS name, l.max_activation, l.density,
                   c.monosemanticity
            {_NAMED} WHERE l.sae_id = ? AND list_contains(?::INT[], l.latent_id)"""
        found = {r["latent_id"]: Named(**r) for r in self._rows(sql, [sae_id, latent_ids])}
        return [found[i] for i in latent_ids if i in found]

    def suggest(self, sae_id: str, words: str, limit: int) -> list[Named]:
        """Latents that fire, whose name or description holds every word, or of that number; best named first."""
        where, params = ["l.sae_id = ?", "l.max_activation > 0"], [sae_id]
        for word in words.lower().split():
            text = "lower(coalesce(c.name || ' ' || c.description, ''))"
            where.append(f"(contains({text}, ?) OR CAST(l.latent_id AS VARCHAR) = ?)")
            params += [word, word]
        sql = f"""
            SELECT l.latent_id, coalesce(c.name, 'latent ' || l.latent_id) AS name, l.max_activation, l.density,
                   c.monosemanticity
            {_NAMED} WHERE {" AND ".join(where)}
            ORDER BY c.rank NULLS LAST, l.latent_id LIMIT ?"""
        return [Named(**r) for r in self._rows(sql, [*params, limit])]


_NAMED = """FROM latents l LEFT JOIN concepts c
                ON c.sae_id = l.sae_id AND c.latent_id = l.latent_id AND c.method = 'ard'"""
