"""Open a finished run in the browser: `python app.py --run data/runs/demo`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported: it asks at import

LOCAL = ("127.0.0.1", "localhost", "::1")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, exit status 2."""
        raise UsageError(f"{message}; `python app.py --help` lists what is allowed.")


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says the mend."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = _Parser(prog="app.py", description="Explore, hear and steer the concepts of a finished run.")
    parser.add_argument("--run", type=Path, default=Path("data/runs/demo"), help="run folder (default: data/runs/demo)")
    parser.add_argument("--model", help="AudioLLM for steering: a folder or hub id (default: the run's own)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=_port, default=7860, help="port to listen on (default: 7860)")
    parser.add_argument("--auth", type=Path, metavar="FILE", help="users who may enter, one `name:password` a line")
    parser.add_argument("--no-model", action="store_true", help="do not load the AudioLLM; steering is off")
    args = parser.parse_args(argv)
    if args.model and args.no_model:
        raise UsageError("--model and --no-model exclude each other; leave one of them out.")
    return args


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, give a number from 1 to 65535")
    return int(text)


def read_auth(path: Path | None) -> list[tuple[str, str]] | None:
    """Users and passwords of an `--auth` file; blank lines and lines that start with # are skipped.

    Raises:
        UsageError: the file cannot be read, holds nobody, or a line is not `name:password`.
    """
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--auth {path} cannot be read ({type(error).__name__}); give a text file.") from None
    users = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            name, _, password = line.partition(":")
            if not name.strip() or not password:
                raise UsageError(f"--auth {path}, line {number}: expected `name:password`.")
            users.append((name.strip(), password))
    if not users:
        raise UsageError(f"--auth {path} names nobody; write one `name:password` a line.")
    return users


def start(args: argparse.Namespace) -> str:
    """Open the run, begin to load the model, serve; returns the address.

    Raises:
        UsageError: the run, the users' file or the port cannot be used.
    """
    users = read_auth(args.auth)
    from ard.store import Run, RunError
    from ard.tables import TableError

    try:
        run = Run.open(args.run)
    except (RunError, TableError) as error:
        raise UsageError(str(error)) from None
    from explorer.quick_import import import_gradio

    import_gradio()
    from ard.live import Live
    from explorer import server
    from explorer.service import NoModel

    model = args.model or run.manifest.get("config", {}).get("model", {}).get("audio_lm")
    live: Live | NoModel
    if model and not args.no_model:
        live = Live(run, model)
    else:
        why = "--no-model was given" if args.no_model else "the run names no model"
        live = NoModel(f"Steering is off because {why}; start the app with --model DIR_OR_ID to steer.")
    try:
        url = server.launch(server.build(run, live), run, host=args.host, port=args.port, auth=users)
    except OSError as error:
        raise UsageError(
            f"--host {args.host} --port {args.port} cannot be used ({error}); try another --port."
        ) from None
    if isinstance(live, Live):
        live.start()
    return url


def main(argv: list[str] | None = None) -> int:
    """Run until interrupted; exit status 2 after a user's mistake."""
    try:
        args = arguments(argv)
        url = start(args)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"AR&D Explorer is open at {url} (Ctrl-C closes it).", flush=True)
    if args.host not in LOCAL and not args.auth:
        print("Everyone who reaches this address can use it; --auth FILE asks for a password.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
