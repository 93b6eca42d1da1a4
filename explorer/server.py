"""The app as a whole: pages, endpoints, and the route that serves the run's audio with ranges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from ard.store import Run
from explorer import theme
from explorer.api import Api
from explorer.pages.concepts import ConceptsPage
from explorer.queries import Queries
from explorer.service import LiveModel

MAX_UPLOAD = "25mb"
AUDIO_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.(wav|flac|ogg|mp3|opus)")  # the pipeline's opaque names


def build(run: Run, live: LiveModel) -> gr.Blocks:
    """The app over one run; `live` answers questions about steering."""
    queries = Queries(run)
    with gr.Blocks(title="AR&D Explorer", analytics_enabled=False, fill_width=True) as blocks:
        Api(queries, live).register()  # first: an event of a page would take its name otherwise
        ConceptsPage(queries, live).build()
    blocks.queue(default_concurrency_limit=16)
    return blocks


def launch(blocks: gr.Blocks, run: Run, *, host: str, port: int | None, auth: list[tuple[str, str]] | None) -> str:
    """Serve without blocking; returns the address.

    Raises:
        OSError: the port is taken, or the host cannot be bound.
    """
    _, url, _ = blocks.launch(
        server_name=host,
        server_port=port,
        auth=auth,
        theme=theme.theme(),
        css=theme.CSS,
        head=theme.head(),
        favicon_path=theme.FAVICON,
        app_kwargs={"routes": [audio_route(run.audio_dir)]},
        max_file_size=MAX_UPLOAD,
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        share=False,
        quiet=True,
        show_error=True,
        prevent_thread_lock=True,
    )
    return url


def audio_route(folder: Path) -> Route:
    """`/audio/NAME`: one audio file of the folder, nothing else, with ranges, to signed-in visitors."""
    root = folder.resolve()

    async def serve(request: Request) -> Response:
        if not _signed_in(request):
            return PlainTextResponse("Sign in first.", status_code=401)
        name = request.path_params["name"]
        path = root / name
        if not AUDIO_NAME.fullmatch(name) or path.resolve().parent != root or not path.is_file():
            return PlainTextResponse("No such clip.", status_code=404)
        return FileResponse(path, headers={"cache-control": "private, max-age=3600"})

    return Route("/audio/{name}", serve, methods=["GET"])


def _signed_in(request: Request) -> bool:
    """True where the app asks for no password, or the visitor's cookie names a signed-in user."""
    app: Any = request.app
    if app.auth is None:
        return True
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(app.tokens.get(request.cookies.get(name)) is not None for name in names)
