"""Command line: `python -m precompute run|STAGE|status|steer|dictionary|datasets|export|import|push|pull`."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from precompute import exchange
from precompute.datasets import cli as datasets
from precompute.stages import STAGES

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tokenizers warn on every fork otherwise

COMMANDS = ["run", *STAGES, "status", "steer", "dictionary", "datasets", *exchange.COMMANDS]
MISTAKE = 2
RUNS = Path("data/runs")
DICTIONARY = Path("data/README.md")


class Parser(argparse.ArgumentParser):
    """Argument parser that answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with status 2."""
        self.exit(MISTAKE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def parser() -> Parser:
    """All commands and options."""
    top = Parser(prog="python -m precompute", description="Turn a model and sound into the tables the explorer reads.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="all stages in order; what is done is skipped")
    run.add_argument("--preset", help="settings to start from (precompute/presets), default demo")
    run.add_argument("--audio", metavar="PATH", help="your own clips: a folder of audio files, or a manifest")
    _common(run, run_help="run folder, default data/runs/<preset> (or the name of --audio)")
    for name in STAGES:
        stage = commands.add_parser(name, help=f"stage {name} alone")
        _common(stage, run_help="run folder", required=True)
        stage.add_argument("--force", action="store_true", help="run even if it is done")
    status = commands.add_parser("status", help="each stage: done, stale (and why), missing or left out")
    _common(status, run_help="run folder", required=True)
    status.add_argument("--json", action="store_true", help="as JSON")
    status.add_argument("--verify", action="store_true", help="read every file of activations and compare its hash")
    _steer(commands.add_parser("steer", help="one steered answer as JSON"))
    words = commands.add_parser("dictionary", help="write data/README.md, the meaning of every column")
    words.add_argument("--out", type=Path, default=DICTIONARY)
    exchange.add_commands(commands)
    datasets.add(commands)
    return top


def _common(command: argparse.ArgumentParser, run_help: str, required: bool = False) -> None:
    command.add_argument("--run", type=Path, metavar="DIR", required=required, help=run_help)
    command.add_argument("--config", type=Path, metavar="FILE.toml", help="settings that go over the preset's")
    command.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", dest="sets", help="one setting or more"
    )
    _models(command)


def _models(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="DIR_OR_ID", help="AudioLLM")
    command.add_argument("--clap", metavar="DIR_OR_ID", help="CLAP")
    command.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    command.add_argument("--quiet", action="store_true", help="no progress, only what went wrong")


def _steer(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, metavar="DIR", required=True, help="run folder")
    command.add_argument("--clip", required=True, metavar="ID_OR_FILE", help="clip_id of the run, or an audio file")
    command.add_argument("--latent", type=int, action="append", required=True, help="latent_id; may be repeated")
    command.add_argument("--value", type=float, action="append", required=True, help="one for each --latent")
    command.add_argument("--prompt", help="question, default the run's first one")
    command.add_argument("--sae", metavar="SAE_ID", help="default: the run's default SAE")
    command.add_argument("--when", choices=["before_topk", "after_topk"], default="before_topk")
    command.add_argument("--positions", choices=["audio", "prompt", "all"], default="all")
    command.add_argument("--decoding", choices=["replace", "clamp", "off"], default="replace")
    command.add_argument("--error-term", action="store_true", help="add x − x̂ back")
    command.add_argument("--max-new-tokens", type=int, default=48)
    _models(command)


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when everything asked for is done, 2 for a user's mistake, 1 for a failure of the machine."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return _fail(f"There is no command {argv[0]!r}{hint}; commands are {', '.join(COMMANDS)}.", MISTAKE)
    try:
        args = parser().parse_args(argv)
        args.line = shlex.join(["python", "-m", "precompute", *argv])
    except SystemExit as left:  # argparse leaves on --help and on mistakes; a caller wants the status
        return int(left.code or 0)
    try:
        return _dispatch(args)
    except ValueError as error:
        if not type(error).__module__.startswith(("ard.", "precompute.")):
            raise  # not one of our sentences: a bug, whose traceback is wanted
        return _fail(str(error), MISTAKE)
    except OSError as error:
        return _fail(f"{error.filename or 'A file'}: {error.strerror or error}; finished stages are kept.", 1)
    except KeyboardInterrupt:
        return _fail("Stopped; finished stages are kept, the same command goes on from there.", 130)


def _fail(sentence: str, status: int) -> int:
    print(f"precompute: {sentence}", file=sys.stderr)
    return status


def _dispatch(args: argparse.Namespace) -> int:
    if args.command == "dictionary":
        from ard.files import write_atomic
        from ard.tables import data_dictionary

        write_atomic(args.out, data_dictionary().encode())
        return 0
    if args.command in exchange.COMMANDS:
        return exchange.run(args)
    if args.command == "datasets":
        return datasets.run(args)
    return {"run": _run, "status": _status, "steer": _steer_command}.get(args.command, _one_stage)(args)


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    found = {"model.audio_lm": args.model, "model.clap": args.clap, "model.device": args.device}
    if getattr(args, "audio", None):
        found |= {"data.source": "audio", "data.audio": args.audio}
    return {k: v for k, v in found.items() if v is not None}


def _run(args: argparse.Namespace) -> int:
    from ard.store import Run
    from precompute import config as settings
    from precompute.runner import Runner

    old = Run(args.run).manifest.get("config") if args.run else None
    fresh = args.preset or args.audio or args.config or old is None
    preset = (args.preset or "demo") if fresh else None
    config = settings.load(preset, args.config, _overrides(args), args.sets, None if fresh else old)
    folder = args.run or RUNS / (Path(args.audio).resolve().stem if args.audio and not args.preset else config.preset)
    runner = Runner(Run.create(folder), config, args.quiet, args.line)
    runner.run_all()
    if not args.quiet:
        left_out = f" (left out: {', '.join(config.stages_left_out)})" if config.stages_left_out else ""
        print(f"All stages are done{left_out}: {folder}")
    return 0


def _existing(args: argparse.Namespace) -> tuple[Any, Any]:
    """A run that has a manifest, and its configuration with what the command line changes."""
    from ard.store import Run
    from precompute import config as settings

    run = Run(args.run)
    if not run.manifest:
        from ard.store import RunError

        raise RunError(
            f"{args.run} has no manifest.json yet; start it with `python -m precompute run --run {args.run}`."
        )
    config_file, sets = getattr(args, "config", None), getattr(args, "sets", [])
    return run, settings.load(None, config_file, _overrides(args), sets, run.manifest.get("config"))


def _one_stage(args: argparse.Namespace) -> int:
    from precompute.runner import Runner

    run, config = _existing(args)
    Runner(run, config, args.quiet, args.line).run_all([args.command], force=args.force)
    return 0


def _verify(run: Any, quiet: bool) -> int:
    """Compare the content of every file of activations with its hash; 1 with the first damaged one."""
    from ard.activations.shard import SUFFIX, verify
    from ard.store import RunError

    files = sorted(run.activations_dir.glob(f"*/*{SUFFIX}"))
    for path in tqdm(files, unit=" file", leave=False, disable=quiet):
        try:
            verify(path)
        except RunError as damage:
            return _fail(str(damage), 1)
    if not quiet:
        print(f"{len(files)} files of activations are as they were written.")
    return 0


def _status(args: argparse.Namespace) -> int:
    from precompute.runner import Runner

    run, config = _existing(args)
    if args.verify:
        return _verify(run, args.quiet)
    states = Runner(run, config, quiet=True).states()
    if args.json:
        rows = [{**s._asdict(), "record": {k: s.record.get(k) for k in ("rows", "seconds", "bytes")}} for s in states]
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'stage':<16}{'state':<9}{'rows':>12}{'seconds':>10}{'MB':>9}  why")
    for s in states:
        count = f"{sum(s.record['rows'].values()):,}" if s.record else ""
        seconds = f"{s.record['seconds']:,.1f}" if s.record else ""
        size = f"{s.record['bytes'] / 1e6:,.1f}" if s.record else ""
        print(f"{s.stage:<16}{s.state:<9}{count:>12}{seconds:>10}{size:>9}  {s.why}".rstrip())
    return 0


def _steer_command(args: argparse.Namespace) -> int:
    from ard.store import Run
    from precompute import config as settings
    from precompute.stages.base import Models
    from precompute.steer import request_of, steer_once

    run = Run.open(args.run)
    config = settings.load(overrides=_overrides(args), base=run.manifest.get("config"))
    switches = {
        "when": args.when,
        "positions": args.positions,
        "decoding": args.decoding,
        "error_term": args.error_term,
    }
    request = request_of(
        args.clip,
        args.latent,
        args.value,
        switches,
        prompt=args.prompt,
        sae_id=args.sae,
        max_new_tokens=args.max_new_tokens,
    )
    print(json.dumps(steer_once(run, Models(config), request), indent=2, ensure_ascii=False, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
