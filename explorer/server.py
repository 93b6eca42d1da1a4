"""The app as a whole: pages, endpoints, and the routes that serve the run's audio and the plotting library."""

from __future__ import annotations

import gzip
import importlib.util
import re
from functools import lru_cache
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
from explorer.pages.listen import ListenPage
from explorer.pages.maps import MapsPage
from explorer.pages.rate import RatePage
from explorer.pages.results import ResultsPage
from explorer.pages.steer import SteerPage
from explorer.queries import Queries
from explorer.service import LiveModel
from explorer.uploads import MAX_MB

AUDIO_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.(wav|flac|ogg|mp3|opus)")  # the pipeline's opaque names


def build(run: Run, live: LiveModel) -> gr.Blocks:
    """The app over one run; `live` answers questions about steering."""
    queries = Queries(run)
    with gr.Blocks(title="AR&D Explorer", analytics_enabled=False, fill_width=True) as blocks:
        Api(queries, live).register()  # first: an event of a page would take its name otherwise
        ConceptsPage(queries).build(blocks)
    for name, path, page in (
        ("Maps", "/maps", MapsPage(queries)),
        ("Steer", "/steer", SteerPage(queries, live)),
        ("Listen", "/listen", ListenPage(queries, live)),
        ("Results", "/results", ResultsPage(queries)),
    ):
        with blocks.route(name, path, show_in_navbar=False):
            page.build(blocks)
    with blocks.route("Rate", "/rate", show_in_navbar=False):
        RatePage(queries).build()
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
        app_kwargs={"routes": [audio_route(run.audio_dir), plotly_route()]},
        max_file_size=f"{MAX_MB}mb",
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


def plotly_route() -> Route:
    """`/plotly.min.js`: the plotting library from its own installed package, so that no other host is asked."""

    async def serve(request: Request) -> Response:
        script, tag = _plotly()
        headers = {"cache-control": "public, max-age=86400", "etag": tag, "content-encoding": "gzip"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(script, media_type="text/javascript", headers=headers)

    return Route("/plotly.min.js", serve, methods=["GET"])


@lru_cache(maxsize=1)
def _plotly() -> tuple[bytes, str]:
    """The library, compressed once, and what it is known by in caches."""
    spec = importlib.util.find_spec("plotly")  # found, not imported: that would take a second
    if spec is None or spec.origin is None:
        raise RuntimeError("The package plotly is not installed; run `make setup`.")
    script = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    return gzip.compress(script, compresslevel=6, mtime=0), f'"{len(script):x}"'


def _signed_in(request: Request) -> bool:
    """True where the app asks for no password, or the visitor's cookie names a signed-in user."""
    app: Any = request.app
    if app.auth is None:
        return True
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(app.tokens.get(request.cookies.get(name)) is not None for name in names)
