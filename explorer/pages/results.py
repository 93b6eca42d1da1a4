"""The results page: the run's measured tables, each with what it shows, and what the run was made from."""

from __future__ import annotations

from typing import Any

import gradio as gr

from explorer import render_results
from explorer.pages.shared import QUIET, header, known_sae
from explorer.queries import Queries


class ResultsPage:
    """Builds the page inside a `gr.Blocks`; everything on it is read anew at each visit."""

    def __init__(self, queries: Queries):
        self.queries = queries

    def build(self, blocks: gr.Blocks) -> None:
        """Lay out the page."""
        self.header = gr.HTML(header(self.queries, "Results", self.queries.default_sae()))
        self.body = gr.HTML(elem_id="results")
        blocks.load(self.open, None, [self.header, self.body], **QUIET)

    def open(self, request: gr.Request) -> list[Any]:
        """The tables as they are now."""
        queries = self.queries
        sae_id = known_sae(queries, str(request.query_params.get("sae", "")), raw=True)
        tables = {name: queries.results(name) for name in render_results.TABLES}
        tables |= {
            "interpretability": queries.interpretability(),
            "steering": queries.steering(),
            "labels": queries.label_summary(),
            "detection": queries.detection_summary(),
        }
        body = render_results.page(tables, queries.run.manifest, queries.run.path)
        return [header(queries, "Results", sae_id), body]
