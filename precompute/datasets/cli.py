"""Command `python -m precompute datasets`: what corpora there are, and whether one on disk is whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from precompute.config import value_of


def add(commands: argparse._SubParsersAction) -> None:
    """The command and its options."""
    command = commands.add_parser("datasets", help="corpora that can be read; `datasets check NAME --root DIR`")
    command.add_argument("action", nargs="?", choices=["list", "show", "check"], default="list")
    command.add_argument("name", nargs="?", metavar="NAME", help="corpus, for show and check")
    command.add_argument("--root", type=Path, metavar="DIR", help="folder of the corpus, for check")
    command.add_argument("--part", default="", help="a part of it alone")
    command.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", dest="options", help="one option of its adapter"
    )


def run(args: argparse.Namespace) -> int:
    """0 where all is well, 1 where clips would be left out.

    Raises:
        DatasetError: the corpus, or an option, cannot be used at all.
    """
    from precompute.datasets.corpora import CORPORA

    if args.action == "list":
        _list()
        return 0
    if args.name not in CORPORA:
        return _mistake(f"There is no corpus {args.name!r}; the corpora are {', '.join(CORPORA)}.")
    if args.action == "show":
        print(CORPORA[args.name].layout)
        return 0
    if args.root is None:
        return _mistake(f"datasets check {args.name} needs --root, the folder of {CORPORA[args.name].title}.")
    return _check(args)


def _check(args: argparse.Namespace) -> int:
    from precompute.config_sections import CorpusEntry
    from precompute.datasets.check import check

    options = {}
    for item in args.options:
        key, equals, text = item.partition("=")
        if not equals:
            return _mistake(f"--option {item!r} is not of the form KEY=VALUE, for instance merge_excited=true.")
        options[key.strip()] = value_of(text.strip())
    report = check(CorpusEntry(args.name, part=args.part, options=options), args.root)
    print("\n".join(report.lines()))
    return 0 if report.good else 1


def _list() -> None:
    from precompute.datasets.corpora import CORPORA

    print(f"{'name':<12}{'clips':>9}  {'usual folder':<22}{'licence':<24}what to fetch")
    for corpus in CORPORA.values():
        clips = corpus.expected.get("") or sum({*corpus.expected.values()}) or None
        count = f"{clips:,}" if clips else "–"
        print(f"{corpus.name:<12}{count:>9}  {corpus.folder:<22}{corpus.licence:<24}{corpus.download}")
    print("\n`datasets show NAME` tells the layout, `datasets check NAME --root DIR` looks through yours.")
    print("Besides: --audio takes a folder of audio files, or a CSV, JSONL or Parquet manifest.")


def _mistake(sentence: str) -> int:
    print(f"precompute: {sentence}", file=sys.stderr)
    return 2
