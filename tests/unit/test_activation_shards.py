"""Number formats and shard files: what is written is read, by us and by safetensors; damage is noticed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from ard.activations.formats import FORMATS, FormatError, Stored, decode, encode, from_numpy, loss_of
from ard.activations.shard import HEADER, Header, ShardWriter, open_shard, read_header, shard_path, verify
from ard.store import RunError

KIND = {"hookpoint": "layers.1", "model": "tiny@abc"}


def draw(tokens: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(tokens, d)).astype(np.float32))


def write(path: Path, x: torch.Tensor, name: str = "float16", parts: int = 2) -> Header:
    sinks = torch.arange(len(x)) % 5 == 3
    with ShardWriter(path, **KIND, d_in=x.shape[1], format=name) as writer:
        for piece, mask in zip(x.tensor_split(parts), sinks.tensor_split(parts), strict=True):
            writer.append(piece, mask)
    return writer.header


def test_int8_by_hand() -> None:
    """A token's largest value is 127 steps; every other one is at most half a step away."""
    x = torch.tensor([[2.54, -0.015, 0.03, 1.0], [0.0, 0.0, 0.0, 0.0]])
    q, scale = encode(x, "int8")
    assert scale.tolist() == pytest.approx([0.02, 0.0])
    assert q.tolist() == [[127, -1, 2, 50], [0, 0, 0, 0]]  # -0.75 and 1.5 steps; halves go to the even number
    assert decode(Stored(q, scale))[0].tolist() == pytest.approx([2.54, -0.02, 0.04, 1.0])


def test_what_a_format_loses_by_hand() -> None:
    """x = 0 and 3 steps of 1/127 beside a 1: rounding loses nothing; 3.25 steps lose a quarter step."""
    step = 1 / 127
    assert loss_of(torch.tensor([[1.0, 0.0], [1.0, 3 * step]]), "int8").fvu == pytest.approx(0, abs=1e-9)
    loss = loss_of(torch.tensor([[1.0, 0.0], [1.0, 3.25 * step]]), "int8")
    assert loss.residual == pytest.approx((step / 4) ** 2, rel=1e-5)
    assert loss.variance == pytest.approx((3.25 * step) ** 2 / 2, rel=1e-5)
    assert loss.fvu == pytest.approx(2 * (0.25 / 3.25) ** 2, rel=1e-5)


def test_longer_formats_lose_less() -> None:
    lost = {name: loss_of(draw(500, 64), name).fvu for name in FORMATS}
    assert lost["float32"] == 0 < lost["float16"] < lost["bfloat16"] < lost["int8"] < 1e-3


def test_values_a_format_cannot_hold_are_refused() -> None:
    with pytest.raises(FormatError, match=r"not finite as float16; use --set activations\.dtype=bfloat16"):
        encode(torch.tensor([[1e5]]), "float16")
    assert encode(torch.tensor([[1e5]]), "bfloat16").x.isfinite().all()
    with pytest.raises(FormatError, match="not finite"):
        encode(torch.tensor([[torch.nan]]), "int8")
    with pytest.raises(FormatError, match="'float8' does not exist; choose one of float32, float16, bfloat16, int8"):
        encode(torch.ones(1, 1), "float8")


@pytest.mark.parametrize("name", FORMATS)
def test_a_shard_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    x = draw(23, 6)
    header = write(tmp_path / "a.safetensors", x, name, parts=4)
    shard = open_shard(tmp_path / "a.safetensors")
    assert shard.header == header == verify(tmp_path / "a.safetensors")
    assert (header.tokens, header.d_in, header.format, header.hookpoint) == (23, 6, name, "layers.1")
    assert header.scale == ("token_absmax" if name == "int8" else "none")
    expected = encode(x, name)
    assert from_numpy(np.array(shard.x), name).equal(expected.x)
    if expected.scale is None:
        assert shard.scale is None
    else:
        assert shard.scale.tolist() == expected.scale.tolist()
    assert shard.sink.nonzero()[0].tolist() == [3, 8, 13, 18]
    np.testing.assert_allclose(shard.norm, x.norm(dim=-1), rtol=1e-6)
    assert header.loss.fvu == pytest.approx(loss_of(x, name).fvu)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("name", FORMATS)
def test_safetensors_reads_a_shard(tmp_path: Path, name: str) -> None:
    """The file is what it says: the format's own library finds the same tensors."""
    x = draw(9, 5)
    write(tmp_path / "a.safetensors", x, name)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.get_tensor("x").equal(encode(x, name).x)
        assert file.get_tensor("sink").tolist() == [i % 5 == 3 for i in range(9)]
        assert set(file.keys()) == {"x", "norm", "sink"} | ({"scale"} if name == "int8" else set())
        assert '"hookpoint": "layers.1"' in file.metadata()["shard"]


def test_pieces_do_not_matter_for_the_bytes(tmp_path: Path) -> None:
    x = draw(50, 4)
    for i, parts in enumerate((1, 7)):
        write(shard_path(tmp_path, i), x, "bfloat16", parts)
    assert shard_path(tmp_path, 0).read_bytes() == shard_path(tmp_path, 1).read_bytes()


def test_a_shard_of_no_tokens_is_a_shard(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "a.safetensors", **KIND, d_in=3, format="float16"):
        pass
    shard = open_shard(tmp_path / "a.safetensors")
    assert shard.x.shape == (0, 3)
    assert shard.header.loss.fvu == 0
    verify(tmp_path / "a.safetensors")


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(FormatError),
        ShardWriter(tmp_path / "a.safetensors", **KIND, d_in=1, format="float16") as writer,
    ):
        writer.append(torch.tensor([[1e6]]), torch.tensor([False]))
    assert not list(tmp_path.iterdir())


def test_damage_is_noticed(tmp_path: Path) -> None:
    """A cut file when opened, a flipped bit when verified, a strange file by its header."""
    path = tmp_path / "a.safetensors"
    write(path, draw(8, 4))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(RunError, match="bytes where its header says"):
        open_shard(path)
    path.write_bytes(whole[: HEADER + 5] + bytes([whole[HEADER + 5] ^ 1]) + whole[HEADER + 6 :])
    assert open_shard(path).header.tokens == 8
    with pytest.raises(RunError, match="its hash differs"):
        verify(path)
    path.write_bytes(b"x" * 100)
    with pytest.raises(RunError, match="no shard of activations"):
        read_header(path)
    with pytest.raises(RunError, match="is missing"):
        read_header(tmp_path / "b.safetensors")


def test_a_header_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    kind = KIND | {"model": "m" * HEADER}
    with (
        pytest.raises(RunError, match="shorten the model's name"),
        ShardWriter(tmp_path / "a", **kind, d_in=1, format="float32") as writer,
    ):
        writer.append(torch.ones(1, 1), torch.tensor([False]))
    assert not list(tmp_path.iterdir())


def test_every_field_of_the_header_is_kept(tmp_path: Path) -> None:
    header = write(tmp_path / "a.safetensors", draw(5, 2), "int8")
    assert dataclasses.asdict(read_header(tmp_path / "a.safetensors")) == dataclasses.asdict(header)
