"""WavCaps: 403,050 recordings with captions that a language model wrote from the sources' own descriptions.

On disk, as its hub repository (`cvssp/WavCaps`) unpacks::

    WavCaps/json_files/AudioSet_SL/as_final.json           108,317 clips
    WavCaps/json_files/BBC_Sound_Effects/bbc_final.json     31,201
    WavCaps/json_files/FreeSound/fsd_final.json            262,300
    WavCaps/json_files/SoundBible/sb_final.json              1,232
    WavCaps/json_files/blacklist/*.json                    ids that other corpora hold too
    WavCaps/**/AudioSet_SL_flac/Y0123456789A.flac          and FreeSound_flac, BBC_Sound_Effects_flac, SoundBible_flac

Each JSON file is an object with a list `data` (older copies: the list itself) of objects with `id`, `caption`,
`duration` and, by source, `title`, `description`, `author`, `href`, `tags`, `category`, `file_name`, `download_link`.
The ids of AudioSet_SL end in `.wav` though the files are FLAC. The archives unpack into a long path of their makers'
machine, so the FLAC folder is looked for by its name, at any depth.

Licence: for academic use only; each source has its own terms as well. Paper: the part AudioSet_SL, split `train`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from precompute.datasets import DatasetError, Entry
from precompute.datasets.json_stream import members
from precompute.datasets.listing import AudioIndex, Notes, choose, few, required, shown, text

TITLE = "WavCaps"


class Part(NamedTuple):
    """One source of WavCaps."""

    list: str
    """Its JSON file below `json_files`."""
    key: str
    """What its ids are called in other corpora."""
    blacklist: str
    """Its name in the blacklist files."""
    clips: int
    """As published."""


PARTS = {
    "AudioSet_SL": Part("AudioSet_SL/as_final.json", "youtube", "AudioSet", 108_317),
    "BBC_Sound_Effects": Part("BBC_Sound_Effects/bbc_final.json", "bbc", "BBC", 31_201),
    "FreeSound": Part("FreeSound/fsd_final.json", "freesound", "FreeSound", 262_300),
    "SoundBible": Part("SoundBible/sb_final.json", "soundbible", "SoundBible", 1_232),
}
EXPECTED = {name: part.clips for name, part in PARTS.items()} | {"": sum(part.clips for part in PARTS.values())}


def entries(root: Path, notes: Notes, *, part: str = "", blacklist: str = "") -> Iterator[Entry]:
    """Clips of one part, or of all of them; a clip without a caption stays, without one.

    Args:
        root: the folder with `json_files`.
        notes: counts what is odd.
        part: `AudioSet_SL`, `BBC_Sound_Effects`, `FreeSound`, `SoundBible`; empty: all four.
        blacklist: file name below `json_files/blacklist`; the clips it names are left out.

    Raises:
        DatasetError: a list is missing or malformed, or a part has no folder of FLAC files.
    """
    choose(part, ("", *PARTS), TITLE)
    wanted = {part: PARTS[part]} if part else PARTS
    required(root, TITLE, [f"json_files/{one.list}" for one in wanted.values()])
    for name, one in wanted.items():
        yield from _part(root, notes, name, one, _listed(root, blacklist, one))


def _part(root: Path, notes: Notes, name: str, part: Part, left_out: set[str]) -> Iterator[Entry]:
    file = root / "json_files" / part.list
    folder = _flac_folder(root, name)
    audio = AudioIndex(folder)
    for number, item in enumerate(members(file), 1):
        identity = text(item.get("id")) if isinstance(item, dict) else None
        if identity is None:
            notes.add("items without an id", f"{file.name}, item {number}")
            continue
        stem = identity.removesuffix(".wav")
        found = audio.find(stem) or folder / f"{stem}.flac"
        caption = text(item.get("caption"))
        if caption is None:
            notes.add("clips without a caption", identity)
        yield Entry(
            clip_id=f"wavcaps/{name}/{stem}",
            file=found,
            path=shown(found, root),
            caption=caption,
            attributes={"subset": name} | {k: v for k in ("title", "author", "href") if (v := text(item.get(k)))},
            dataset="wavcaps",
            key=f"{part.key}:{stem.removeprefix('Y') if part.key == 'youtube' else stem}",
            problem="on the blacklist" if stem in left_out else "",
        )


def _flac_folder(root: Path, name: str) -> Path:
    """The folder `<name>_flac`, or `<name>` with audio of its own, at any depth but `json_files`."""
    for wanted in (f"{name}_flac", name):
        for place, below, files in os.walk(root):
            below[:] = sorted(one for one in below if one != "json_files" and not one.startswith("."))
            # Zip_files/<name> holds the archive parts, so a folder of the plain name must hold audio.
            if Path(place).name == wanted and (wanted != name or any(f.endswith((".flac", ".wav")) for f in files)):
                return Path(place)
    raise DatasetError(
        f"{TITLE} at {root} has no folder {name}_flac; join and unpack the archive parts in Zip_files/{name}."
    )


def _listed(root: Path, blacklist: str, part: Part) -> set[str]:
    """Ids of one source in a blacklist file, without their ending."""
    if not blacklist:
        return set()
    file = root / "json_files" / "blacklist" / blacklist
    try:
        tree: Any = json.loads(file.read_text(encoding="utf-8"))
        return {Path(str(name)).stem for name in tree.get(part.blacklist, [])}
    except FileNotFoundError:
        there = sorted(p.name for p in file.parent.glob("*.json"))
        raise DatasetError(f"{file} does not exist; blacklists there: {few(there) or 'none'}.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, TypeError) as error:
        raise DatasetError(f"{file} is no JSON object of lists of ids ({error}); fetch it again.") from None
