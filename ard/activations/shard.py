"""One file of activations: many clips' tokens at one hookpoint, written once, read through the memory map.

The file is a safetensors file (any reader of that format opens it) whose tensors lie in this order:

    x [tokens, d] in the number format · scale [tokens] float32 (int8 only) · norm [tokens] float32 · sink [tokens] bool

Where activations are not stored, norm and sink are all there is.

Its metadata entry `shard` says what it is: hookpoint, model, format, scale, and blake2b over all tensor bytes. The
header has a fixed length, so that tokens are written as they come and the header last; the file appears under its name
only when complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ard.activations.formats import (
    NUMPY,
    SAFETENSORS,
    TORCH,
    Loss,
    check_format,
    encode,
    loss_of,
    to_numpy,
    token_bytes,
)
from ard.files import HIDDEN, fsync_dir
from ard.sinks import SINK_FACTOR
from ard.store import RunError

HEADER = 4096
"""Bytes before the first tensor: a page, so that x starts on one."""
DIGEST = 16
SAMPLE = 4096
"""Tokens of a shard that the loss of its number format is measured on: its first ones."""
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Header:
    """What a shard says about itself."""

    hookpoint: str
    model: str
    """Name and revision of the AudioLLM."""
    format: str
    """Number format (`formats.FORMATS`)."""
    scale: str
    """`token_absmax` for int8, `none` otherwise."""
    stored: bool
    """False: the file holds norms and marks alone, and x is computed again whenever it is needed."""
    sinks: str
    """`mask`: tokens marked as attention sinks are left out of training; `keep`: they are marked and kept in."""
    sink_factor: float
    """Multiple of its clip's median norm above which a token is marked."""
    tokens: int
    d_in: int
    residual: float
    """Σ‖x − x̂‖² over the shard's first tokens, x̂ as stored (`SAMPLE` at most)."""
    variance: float
    """Σ‖x − x̄‖² over the same tokens."""
    blake2b: str
    """Of all tensor bytes, 32 hex digits."""

    @property
    def loss(self) -> Loss:
        """What the number format lost on the sample."""
        return Loss(self.residual, self.variance)


class Shard(NamedTuple):
    """An open shard; the arrays are memory maps, read when touched."""

    path: Path
    header: Header
    x: np.ndarray | None
    """[tokens, d] as stored (bfloat16: its bits); None where only norms and marks are."""
    scale: np.ndarray | None
    norm: np.ndarray
    """[tokens] ‖x‖ before storing."""
    sink: np.ndarray
    """[tokens] True for an attention sink."""

    def trains(self, start: int, stop: int) -> np.ndarray:
        """[stop - start] True for a row that training may use: all, or all but the sinks."""
        return ~self.sink[start:stop] if self.header.sinks == "mask" else np.ones(stop - start, np.bool_)


def shard_path(folder: Path, number: int) -> Path:
    """The file of shard `number` of one hookpoint."""
    return folder / f"{number:05d}{SUFFIX}"


def _layout(header: Header) -> dict[str, tuple[str, list[int], int]]:
    """Tensors in the order they lie: safetensors type, shape, bytes."""
    tokens, d, name = header.tokens, header.d_in, header.format
    tensors = {}
    if header.stored:
        tensors["x"] = (SAFETENSORS[name], [tokens, d], tokens * d * TORCH[name].itemsize)
        if name == "int8":
            tensors["scale"] = ("F32", [tokens], 4 * tokens)
    return tensors | {"norm": ("F32", [tokens], 4 * tokens), "sink": ("BOOL", [tokens], tokens)}


def _header_bytes(header: Header) -> bytes:
    """The first `HEADER` bytes: length, JSON, blanks."""
    entries: dict[str, Any] = {"__metadata__": {"shard": json.dumps(asdict(header), sort_keys=True)}}
    at = 0
    for name, (kind, shape, size) in _layout(header).items():
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries).encode()
    if len(text) > HEADER - 8:
        raise RunError(f"The header of a shard of {header.model!r} takes {len(text)} bytes; shorten the model's name.")
    return (HEADER - 8).to_bytes(8, "little") + text.ljust(HEADER - 8)


class ShardWriter:
    """Writes one shard as its tokens come; `with` publishes it at the end, and removes it after an error.

    Args:
        path: where it will appear.
        hookpoint, model: what the activations are of.
        d_in: width of x.
        format: number format on disk.
        sinks: `mask` or `keep`: what readers do with tokens marked as attention sinks.
        sink_factor: what marked them.
        stored: False leaves x out: only norms and marks are written.
    """

    def __init__(
        self,
        path: Path,
        *,
        hookpoint: str,
        model: str,
        d_in: int,
        format: str,  # noqa: A002
        sinks: str = "mask",
        sink_factor: float = SINK_FACTOR,
        stored: bool = True,
    ) -> None:
        self.path, self.d_in, self.format = path, d_in, check_format(format)
        self._says: dict[str, Any] = {"hookpoint": hookpoint, "model": model, "sinks": sinks}
        self._says |= {"sink_factor": sink_factor, "d_in": d_in, "stored": stored}
        self._temporary = path.with_name(f"{HIDDEN}{path.name}.{os.getpid()}.tmp")
        self._hash = hashlib.blake2b(digest_size=DIGEST)
        self._scales: list[np.ndarray] = []
        self._norms: list[np.ndarray] = []
        self._sinks: list[np.ndarray] = []
        self._sample: list[Tensor] = []
        self.tokens = 0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = self._temporary.open("wb")
        self._file.write(b"\0" * HEADER)
        return self

    def append(self, x: Float[Tensor, "tokens d"], sinks: Bool[Tensor, " tokens"]) -> None:
        """Write tokens, in order; what lies on a GPU is brought into the number format there.

        Raises:
            FormatError: a value is not finite in the number format.
        """
        stored = encode(x, self.format)
        if self._says["stored"]:
            self._put(to_numpy(stored.x.cpu()))
            if stored.scale is not None:
                self._scales.append(stored.scale.cpu().numpy())
        self._norms.append(x.float().norm(dim=-1).cpu().numpy())
        self._sinks.append(sinks.cpu().numpy().astype(np.bool_))
        if self.tokens < SAMPLE:
            self._sample.append(x[: SAMPLE - self.tokens].float().cpu().clone())
        self.tokens += len(x)

    def _put(self, data: np.ndarray) -> None:
        view = memoryview(np.ascontiguousarray(data)).cast("B")
        self._file.write(view)
        self._hash.update(view)

    def _finish(self) -> None:
        for parts, kind in ((self._scales, np.float32), (self._norms, np.float32), (self._sinks, np.bool_)):
            if parts:
                self._put(np.concatenate(parts).astype(kind, copy=False))
        loss = loss_of(torch.cat(self._sample), self.format) if self._sample else Loss(0.0, 0.0)
        scale = "token_absmax" if self.format == "int8" else "none"
        says = self._says | {"tokens": self.tokens, "blake2b": self._hash.hexdigest()} | loss._asdict()
        self.header = Header(format=self.format, scale=scale, **says)
        self._file.seek(0)
        self._file.write(_header_bytes(self.header))
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = False
        try:
            if kind is None:
                self._finish()
                complete = True
        finally:
            self._file.close()
            if not complete:
                self._temporary.unlink()
        if complete:
            self._temporary.replace(self.path)
            fsync_dir(self.path.parent)


def read_header(path: Path) -> Header:
    """What a shard says about itself; its length is checked, its content is not (`verify` does).

    Raises:
        RunError: missing, cut short, or not a shard.
    """
    try:
        with path.open("rb") as file:
            start = file.read(HEADER)
        header = Header(**json.loads(json.loads(start[8:])["__metadata__"]["shard"]))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; run the stage activations again.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no shard of activations ({error}); run the stage activations again.") from None
    expected = HEADER + header.tokens * token_bytes(header.d_in, header.format, header.stored)
    if path.stat().st_size != expected:
        raise RunError(
            f"{path} has {path.stat().st_size:,} bytes where its header says {expected:,}; "
            "delete it and run the stage activations again."
        )
    return header


def open_shard(path: Path) -> Shard:
    """The shard behind memory maps.

    Raises:
        RunError: as `read_header`.
    """
    header = read_header(path)
    arrays: dict[str, np.ndarray] = {}
    at = HEADER
    kinds = {"x": NUMPY[header.format], "scale": np.float32, "norm": np.float32, "sink": np.bool_}
    for name, (_kind, shape, size) in _layout(header).items():
        mapped = np.memmap(path, kinds[name], "r", at, tuple(shape)) if size else np.empty(shape, kinds[name])
        arrays[name] = np.asarray(mapped)
        at += size
    return Shard(path, header, arrays.get("x"), arrays.get("scale"), arrays["norm"], arrays["sink"])


def verify(path: Path, block: int = 1 << 24) -> Header:
    """Read a shard through and compare its hash.

    Raises:
        RunError: as `read_header`, or other content than was written.
    """
    header, digest = read_header(path), hashlib.blake2b(digest_size=DIGEST)
    with path.open("rb") as file:
        file.seek(HEADER)
        while data := file.read(block):
            digest.update(data)
    if digest.hexdigest() != header.blake2b:
        raise RunError(f"{path} is damaged (its hash differs); delete it and run the stage activations again.")
    return header
