"""SAEs to and from the real SAELens and sparsify, latents and reconstructions compared to 1e-5.

The libraries live in an environment of their own (`make peers`), or in the one that ARD_PEERS names; one process there
writes SAEs of many kinds and reads ours, and this one compares.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from huggingface_hub import HfApi, constants
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ard.formats import FormatError, Origin, detect, hub, load_from, save_as
from ard.sae import TopKSAE
from precompute.environment import PROJECT
from tests.fixtures import hub as stand_in
from tests.fixtures.exchange import an_sae, tokens

PEERS = Path(os.environ.get("ARD_PEERS") or PROJECT / ".venv-peers/bin/python")
SCRIPT = PROJECT / "tests/peers/check_formats.py"
REPO = "someone/saes"
TOLERANCE = 1e-5
SAELENS = (
    "plain", "rescaled", "uncentred", "rescaled_uncentred", "few", "bfloat16", "float16", "training", "inference",
    "before_6",
)  # fmt: skip
SPARSIFY = ("layers.7", "layers.8.mlp", "layers.9", "layers.10", "layers.11")
KINDS = ("standard", "jumprelu", "gated", "transcoder", "skip_transcoder", "layer_norm", "unknown_factor")

pytestmark = [
    pytest.mark.skipif(not PEERS.is_file(), reason=f"{PEERS} is not there; `make peers` installs SAELens and sparsify"),
    pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning"),
]


def ours() -> dict[str, TopKSAE]:
    """What is written for the libraries to read."""
    unit = an_sae(scale=1.0)
    few, wide = an_sae(), an_sae(d_in=192, expansion=4.0, k=8, scale=0.44)
    tied = an_sae(scale=1.0)
    with torch.no_grad():
        for p in wide.parameters():
            p.mul_(0.25)  # 12 times as wide: sums as large as the others'
        unit.W_dec.copy_(F.normalize(unit.W_dec, dim=-1))
        few.b_enc.sub_(1.0)
        tied.W_enc[8:] = tied.W_enc[:8].repeat(7, 1)  # every pre-activation eight times
        tied.b_enc[8:] = tied.b_enc[:8].repeat(7)
    return {
        "paper": an_sae("paper"), "scaled": an_sae(), "large_scale": an_sae(scale=12.5), "unit": unit, "few": few,
        "wide": wide, "odd": an_sae(expansion=2.5), "tied": tied,
    }  # fmt: skip


class Ground(NamedTuple):
    """Where the peers wrote, and where they read ours and computed."""

    theirs: Path
    ours: Path


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """One start of the peers' interpreter for everything: importing them takes longest."""
    made = Ground(tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("ours"))
    (made.ours / "x").mkdir()
    for case, sae in ours().items():
        save_file({"x": tokens(d_in=sae.cfg.d_in)}, made.ours / "x" / f"{case}.safetensors")
        for fmt in ("saelens", "sparsify"):
            save_as(sae, made.ours / fmt / case, fmt)
    save_file({"x": tokens()}, made.ours / "x" / "hub.safetensors")
    with stand_in.running() as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        api = HfApi(endpoint=running.url, token=stand_in.TOKEN)
        for fmt in ("saelens", "sparsify"):
            hub.push(an_sae(), REPO, fmt, api=api)
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("HF_", "PYTHON"))}
        environment |= {"HF_ENDPOINT": running.url, "HF_HOME": str(made.ours / "home"), "HF_HUB_DISABLE_XET": "1"}
        line = [PEERS, SCRIPT, "write", made.theirs, "read", made.ours, "hub", f"{made.ours}={REPO}"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def computed(folder: Path, fmt: str, case: str) -> tuple[dict[str, Tensor], dict]:
    place = folder / "computed" / fmt
    return load_file(place / f"{case}.safetensors"), json.loads((place / f"{case}.json").read_text())


@torch.no_grad()
def compare(sae: TopKSAE, theirs: dict[str, Tensor]) -> None:
    out = sae(theirs["x"])
    assert (out.z - theirs["z"]).abs().max() <= TOLERANCE
    assert (out.x_hat - theirs["x_hat"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("fmt", ["saelens", "sparsify"])
@pytest.mark.parametrize("case", [case for case in ours() if case != "tied"])
def test_the_libraries_compute_what_ours_computes(ground: Ground, fmt: str, case: str) -> None:
    sae = ours()[case]
    theirs, told = computed(ground.ours, fmt, case)
    active = (theirs["z"] > 0).sum(1)
    assert active.max() == sae.cfg.k
    assert (active.min() < sae.cfg.k) == (case == "few")
    compare(sae, theirs)
    assert (told["d_in"], told["d_sae"], told["k"]) == (sae.cfg.d_in, sae.cfg.d_sae, sae.cfg.k)
    if fmt == "saelens":
        assert told["hook_name"] == "blocks.3.hook_resid_post"
        assert (told["model_name"], told["model_revision"]) == ("some/model", "abc123")


@pytest.mark.parametrize("fmt", ["saelens", "sparsify"])
def test_equal_values_at_the_kth_place(ground: Ground, fmt: str) -> None:
    """The values kept are the same; which of the equal latents keep them is the libraries' own choice, not ours."""
    sae = ours()["tied"]
    theirs, _ = computed(ground.ours, fmt, "tied")
    z = sae.encode(theirs["x"]).detach()
    assert (z.sort(-1).values - theirs["z"].sort(-1).values).abs().max() <= TOLERANCE
    best = sae.pre_activations(theirs["x"])[:, :8].argmax(-1)  # eight times the same value, k = 5 of them stay
    for row, first in zip(z, best.tolist(), strict=True):
        assert row.nonzero().flatten().tolist() == [first + 8 * i for i in range(5)]


@pytest.mark.parametrize("fmt", ["saelens", "sparsify"])
def test_the_libraries_read_what_was_pushed(ground: Ground, fmt: str) -> None:
    compare(an_sae(), computed(ground.ours, fmt, "hub")[0])


@pytest.mark.parametrize(("fmt", "case"), [("saelens", c) for c in SAELENS] + [("sparsify", c) for c in SPARSIFY])
def test_ours_computes_what_the_libraries_compute(ground: Ground, tmp_path: Path, fmt: str, case: str) -> None:
    folder = ground.theirs / fmt / case
    assert detect(folder) == fmt
    sae = load_from(folder)
    theirs, told = computed(ground.theirs, fmt, case)
    compare(sae, theirs)
    active = (theirs["z"] > 0).sum(1)
    assert (active.min() < sae.cfg.k) == (case in ("few", "layers.9"))
    assert (sae.cfg.d_in, sae.cfg.d_sae, sae.cfg.k) == (told["d_in"], told["d_sae"], told["k"])
    assert sae.cfg.hookpoint == ("layers.7" if fmt == "saelens" else case)
    assert sae.cfg.model == ("some/model" if fmt == "saelens" else "")
    sae.save(tmp_path)
    compare(TopKSAE.load(tmp_path), theirs)


@pytest.mark.parametrize(
    ("fmt", "case"), [("saelens", kind) for kind in KINDS] + [("sparsify", f"layers.{i}") for i in (1, 2, 3)]
)
def test_other_kinds_are_refused(ground: Ground, fmt: str, case: str) -> None:
    with pytest.raises(FormatError, match=r"TopK|only 'none'"):
        load_from(ground.theirs / "refused" / fmt / case, fmt, Origin("layers.1"))


def test_nothing_that_the_peers_wrote_is_left_out(ground: Ground) -> None:
    assert {p.name for p in (ground.theirs / "saelens").iterdir()} == set(SAELENS)
    assert {p.name for p in (ground.theirs / "sparsify").iterdir()} == set(SPARSIFY)
    assert {p.name for p in (ground.theirs / "refused/saelens").iterdir()} == set(KINDS)
