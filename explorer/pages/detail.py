"""One concept as the pages show it: head, clips of one side, evidence."""

from __future__ import annotations

from typing import NamedTuple

from explorer import players, render, render_concept
from explorer.queries import Queries
from explorer.views import ViewState


class Detail(NamedTuple):
    """HTML of the parts of one concept."""

    head: str
    cards: str
    evidence: str


_NO_CLIPS = {
    "most": "The latent's most representative clips would be here; the stage `representatives` finds them.",
    "least": "The draw of its least representative clips would be here; the stage `representatives` makes it.",
}


def detail(queries: Queries, state: ViewState) -> Detail:
    """What is known of the state's concept, or why there is nothing to show."""
    if state.latent_id is None:
        return Detail(render.empty("No concept chosen", "Choose one in the list to hear its clips."), "", "")
    sae_id, run = queries.sae_of(state), queries.run.path
    found = queries.concept(sae_id, state.latent_id, state.method)
    if found is None:
        text = (
            f"Latent {state.latent_id} of {sae_id or 'this run'} has no name by method {state.method}: "
            "it may be dead or unscored."
        )
        return Detail(render.empty("No such concept", text), "", "")
    clips = queries.representatives(sae_id, state.latent_id, state.method, state.side)
    top = found.row.max_activation or max((max(c.values, default=0.0) for c in clips), default=0.0)
    cards = (
        players.clip_cards(clips, queries.run.audio_dir.resolve(), top)
        if clips
        else render.empty("No clips", _NO_CLIPS[state.side])
    )
    evidence = render_concept.evidence(
        [
            render_concept.why(found),
            render_concept.histogram(queries.histogram(sae_id, state.latent_id), run),
            render_concept.outputs(queries.output_tokens(sae_id, state.latent_id), run),
            render_concept.neighbours(queries.neighbours(sae_id, state.latent_id), sae_id, run),
        ]
    )
    return Detail(render_concept.concept(found), cards, evidence)
