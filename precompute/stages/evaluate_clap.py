"""Names against held-out clips by CLAP, labels left aside: the columns `*clap*` of table `detection`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ard.name_quality import STRONG, SoundOfName
from ard.naming import NO_NAME
from ard.percentile import percentile_scale
from ard.resampling import bootstrap_weights
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, NamedConcepts, vectors
from precompute.stages.evaluate_scores import Matrix, dense, part


class NameBench:
    """Names and held-out clips in CLAP's space, with the resamples of the clips (whole recordings)."""

    def __init__(self, ctx: Context, clips: Labelled, names: list[str]) -> None:
        """Embed the names; the clips' embeddings are those of the run."""
        self.p, self.hidden, self.train = ctx.config.rank.p, clips.hidden, clips.train
        self._place = {name: i for i, name in enumerate(names)}
        sounds = vectors(ctx, [clips.clip_ids[i] for i in clips.hidden]).astype(np.float64)
        texts = ctx.models.clap.embed_text(names).double().numpy() if names and len(sounds) else None
        self.similarity = np.zeros((len(names), len(sounds))) if texts is None else texts @ sounds.T
        recordings = clips.recordings[clips.hidden]
        self._recordings = np.unique(recordings, return_inverse=True)[1]
        self._weights = bootstrap_weights(recordings, ctx.config.evaluate.bootstrap, ctx.config.seed)

    def rows(self, concepts: NamedConcepts, matrix: Matrix) -> list[dict[str, Any]]:
        """One row a concept with its key and the CLAP columns; these are empty where the name says there is none.

        Without a held-out clip there is nothing to hear and no row.

        Ours: the latent fires where the clip score of the concept's own method is above 0.
        """
        if not len(self.hidden):
            return []
        scores = dense(matrix, self.hidden, concepts.latent_ids)
        strong = STRONG * percentile_scale(part(matrix, self.train, concepts.latent_ids))
        found: list[dict[str, Any]] = []
        by_name: dict[str, list[int]] = {}
        for i, name in enumerate(concepts.names):
            by_name.setdefault(name, []).append(i)
        for name, places in by_name.items():
            sound = None if name == NO_NAME else SoundOfName(self.similarity[self._place[name]], self._weights)
            for i in places:
                key = {"sae_id": concepts.sae_id, "method": concepts.method, "latent_id": int(concepts.latent_ids[i])}
                found.append(key | self._row(sound, scores[:, i], float(strong[i])))
        return found

    def _row(self, sound: SoundOfName | None, scores: np.ndarray, strong: float) -> dict[str, Any]:
        row: dict[str, Any] = {"auroc_clap": None, "firing": int((scores > 0).sum()), "heard": len(scores)}
        if sound is None:
            return row
        fit = sound.quality(scores, self._recordings, p=self.p, strong_above=strong)
        row |= {"auroc_clap_strong": fit.auroc_strong, "clap_top": fit.top, "clap_rest": fit.rest}
        if fit.auroc is not None:
            row |= {f"auroc_clap{end}": v for end, v in zip(("", "_low", "_high"), fit.auroc, strict=True)}
        return row
