"""`python -m precompute export|import|push|pull`: SAEs to and from other libraries' formats and a model hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ard.formats import Origin
    from ard.sae import TopKSAE

COMMANDS = ("export", "import", "push", "pull")
FOREIGN = ("saelens", "sparsify")
FORMATS = ("ard", *FOREIGN)


class ExchangeError(ValueError):
    """An SAE cannot be exported, imported, pushed or pulled as asked; the message says how to mend it."""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """The four commands and their options; the libraries that they need are loaded only when one runs."""
    export = commands.add_parser("export", help="an SAE of a run in another library's format")
    _of_run(export)
    export.add_argument("--format", required=True, choices=FOREIGN)
    _target(export)
    take = commands.add_parser("import", help="a TopK SAE of another library as ours")
    take.add_argument("--from", dest="source", type=Path, metavar="FOLDER", required=True, help="its cfg.json's folder")
    take.add_argument("--format", choices=FOREIGN, help="default: what the files look like")
    _target(take)
    _origin(take)
    push = commands.add_parser("push", help="an SAE of a run to a model hub")
    _of_run(push)
    push.add_argument("--repo", required=True, metavar="OWNER/NAME", help="made if it is not there")
    push.add_argument("--format", choices=FORMATS, default="ard")
    push.add_argument("--folder", help="in the repository; default the sae_id, below other formats' names")
    push.add_argument("--private", action="store_true", help="if the repository is new")
    push.add_argument("--quiet", action="store_true", help="no progress, only what went wrong")
    pull = commands.add_parser("pull", help="a TopK SAE from a model hub as ours")
    pull.add_argument("--repo", required=True, metavar="OWNER/NAME")
    pull.add_argument("--folder", help="in the repository; needed where it has several SAEs")
    pull.add_argument("--revision", help="commit, branch or tag; default the newest")
    pull.add_argument("--format", choices=FORMATS, help="default: what the files look like")
    _target(pull)
    _origin(pull)
    pull.add_argument("--quiet", action="store_true", help="no progress, only what went wrong")


def _of_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, metavar="DIR", required=True, help="run folder")
    command.add_argument("--sae", metavar="SAE_ID", help="default: the run's default SAE")


def _target(command: argparse.ArgumentParser) -> None:
    command.add_argument("--to", type=Path, metavar="FOLDER", required=True, help="new or empty folder for the files")
    command.add_argument("--force", action="store_true", help="write over an SAE that lies there")


def _origin(command: argparse.ArgumentParser) -> None:
    command.add_argument("--hookpoint", metavar="layers.<l>", help="what it reads, if its files do not say it (right)")
    command.add_argument("--model", metavar="NAME", help="model it was trained on, if its files do not say it (right)")


def run(args: argparse.Namespace) -> int:
    """Do one of `COMMANDS` and say in one line what was written.

    Raises:
        ExchangeError, RunError, SAEError, HubError: one sentence each.
    """
    print({"export": _export, "import": _import, "push": _push, "pull": _pull}[args.command](args))
    return 0


def _export(args: argparse.Namespace) -> str:
    from ard.formats import save_as

    _free(args.to, args.force)
    sae = _sae(args)
    save_as(sae, args.to, args.format)
    return f"{sae.cfg.sae_id} in format {args.format}: {args.to}"


def _import(args: argparse.Namespace) -> str:
    from ard.formats import load_from

    _free(args.to, args.force)
    sae = load_from(args.source, args.format, _said(args))
    sae.save(args.to)
    return f"{sae.cfg.sae_id}, d_sae {sae.cfg.d_sae}, of {sae.cfg.model or 'an unnamed model'}: {args.to}"


def _push(args: argparse.Namespace) -> str:
    from ard.formats import hub

    _quiet(args.quiet)
    sae = _sae(args)
    place = hub.push(sae, args.repo, args.format, folder=args.folder, private=True if args.private else None)
    return f"{sae.cfg.sae_id}: {place.repo}/{place.folder}, revision {place.revision}"


def _pull(args: argparse.Namespace) -> str:
    from ard.formats import hub

    _free(args.to, args.force)
    _quiet(args.quiet)
    found = hub.pull(args.repo, folder=args.folder, fmt=args.format, revision=args.revision, origin=_said(args))
    found.sae.save(args.to)
    return f"{found.sae.cfg.sae_id} of {found.place.repo}, revision {found.place.revision}: {args.to}"


def _sae(args: argparse.Namespace) -> TopKSAE:
    from ard.sae import TopKSAE
    from ard.store import Run

    run = Run.open(args.run)
    ids = run.read("saes", ["sae_id"])["sae_id"].to_pylist() if run.has("saes") else []
    chosen = str(args.sae or run.manifest.get("default_sae"))
    if chosen not in ids:
        raise ExchangeError(f"{args.run} has no SAE {chosen!r}; it has {', '.join(ids) or 'none yet'}.")
    return TopKSAE.load(run.sae_dir(chosen))


def _said(args: argparse.Namespace) -> Origin:
    from ard.formats import Origin

    return Origin(args.hookpoint, args.model)


def _free(folder: Path, force: bool) -> None:
    """Refuse to write over something: only what holds an SAE is replaced, and only when asked to."""
    if folder.is_file():
        raise ExchangeError(f"{folder} is a file; --to needs a folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / "cfg.json").is_file():
        raise ExchangeError(f"{folder} holds other things than an SAE; give --to a new or empty folder.")
    if not force:
        raise ExchangeError(f"{folder} holds an SAE already; give --to another folder, or add --force to replace it.")


def _quiet(quiet: bool) -> None:
    if quiet:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
