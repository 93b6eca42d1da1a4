from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants

from ard.formats import FormatError, Origin, save_as
from ard.formats.hub import CARD, HubError, pull, push
from ard.sae import TopKSAE
from tests.fixtures import hub as stand_in
from tests.fixtures.exchange import an_sae, tokens
from tests.fixtures.hub import TOKEN, Hub

REPO = "someone/saes"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own upload


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with stand_in.running() as running:
        yield running


def api(hub: Hub, token: str | bool = TOKEN) -> HfApi:
    return HfApi(endpoint=hub.url, token=token)


def same(one: TopKSAE, other: TopKSAE) -> bool:
    """Equal configurations but for what is kept in `extra`."""
    return replace(one.cfg, extra={}) == replace(other.cfg, extra={})


def test_pushed_and_pulled_not_a_bit_is_lost(hub: Hub) -> None:
    sae = an_sae(extra={"note": 1})
    there = push(sae, REPO, api=api(hub))
    assert there == (REPO, "layers.3/e4/k5/recommended", hub.head(REPO))
    assert set(hub.files(REPO) or {}) == {CARD, f"{there.folder}/cfg.json", f"{there.folder}/sae.safetensors"}
    assert hub.messages == ["Add layers.3/e4/k5/recommended in format ard"]  # one commit: never half an SAE
    found = pull(REPO, api=api(hub))
    assert found.place == there
    assert same(found.sae, sae)
    assert found.sae.cfg.extra == {"note": 1, "pulled_from": f"{REPO}/{there.folder}@{there.revision}"}
    for name, value in sae.state_dict().items():
        assert torch.equal(found.sae.state_dict()[name], value)


@pytest.mark.parametrize(("fmt", "weights"), [("saelens", "sae_weights.safetensors"), ("sparsify", "sae.safetensors")])
def test_in_the_formats_of_other_libraries(hub: Hub, fmt: str, weights: str) -> None:
    sae, x = an_sae(), tokens()
    there = push(sae, REPO, fmt, api=api(hub))
    assert there.folder == f"{fmt}/layers.3/e4/k5/recommended"
    assert f"{there.folder}/{weights}" in (hub.files(REPO) or {})
    found = pull(REPO, api=api(hub)).sae
    assert same(found, sae)
    assert (found(x).x_hat - sae(x).x_hat).abs().max() < 1e-5


def test_several_saes_in_one_repository(hub: Hub) -> None:
    first = push(an_sae(), REPO, api=api(hub))
    second = push(an_sae(hookpoint="layers.4"), REPO, "sparsify", folder="layers.4", api=api(hub))
    with pytest.raises(HubError, match=r"has 2 SAEs: layers.3/e4/k5/recommended, layers.4; name one with --folder"):
        pull(REPO, api=api(hub))
    assert pull(REPO, folder=first.folder, api=api(hub)).sae.cfg.hookpoint == "layers.3"
    assert pull(REPO, folder="layers.4/", api=api(hub)).place == second
    with pytest.raises(HubError, match=r"has no SAE in folder 'layers.5'; it has layers.3/e4"):
        pull(REPO, folder="layers.5", api=api(hub))


def test_a_revision_is_read_whole(hub: Hub) -> None:
    first = push(an_sae(), REPO, api=api(hub))
    changed = an_sae()
    with torch.no_grad():
        changed.b_enc.add_(1)
    second = push(changed, REPO, api=api(hub))
    assert first.revision != second.revision
    old = pull(REPO, revision=first.revision, api=api(hub))
    assert torch.equal(old.sae.b_enc, an_sae().b_enc)
    assert torch.equal(pull(REPO, api=api(hub)).sae.b_enc, changed.b_enc)
    with pytest.raises(HubError, match="has no such revision; leave it out"):
        pull(REPO, revision="f" * 40, api=api(hub))


def test_somebody_pushes_while_another_pulls(hub: Hub, tmp_path: Path) -> None:
    """Configuration and weights still come from one commit, the one that was newest when the pull began."""
    first = push(an_sae(), REPO, api=api(hub))
    changed = an_sae()
    with torch.no_grad():
        changed.b_enc.add_(1)
    changed.save(tmp_path)
    names = ("cfg.json", "sae.safetensors")
    newer = {f"{first.folder}/{n}": (tmp_path / n).read_bytes() for n in names}
    hub.meanwhile = lambda: hub.commit(REPO, newer)
    found = pull(REPO, api=api(hub))
    assert found.place == first
    assert first.revision != hub.head(REPO)
    assert torch.equal(found.sae.b_enc, an_sae().b_enc)
    assert torch.equal(pull(REPO, api=api(hub)).sae.b_enc, changed.b_enc)


def test_the_card_is_written_once_and_names_the_ways_to_read(hub: Hub) -> None:
    hub.create(REPO)
    hub.commit(REPO, {CARD: b"my own"})
    push(an_sae(), REPO, api=api(hub))
    assert (hub.files(REPO) or {})[CARD] == b"my own"
    push(an_sae(), "someone/new", api=api(hub))
    card = (hub.files("someone/new") or {})[CARD].decode()
    assert "library_name: ard-explorer" in card
    assert 'sae_lens.SAE.from_pretrained("someone/new", "saelens/<sae_id>")' in card
    assert TOKEN not in card


def test_private_is_passed_on_and_needs_the_token(hub: Hub) -> None:
    push(an_sae(), REPO, private=True, api=api(hub))
    assert hub.private == {REPO}
    assert same(pull(REPO, api=api(hub)).sae, an_sae())
    with pytest.raises(HubError, match=r"shows no repository someone/saes; check the name, or log in"):
        pull(REPO, api=api(hub, token=False))
    push(an_sae(), "someone/open", api=api(hub))
    assert same(pull("someone/open", api=api(hub, token=False)).sae, an_sae())


def test_what_others_pushed_with_sparsify(hub: Hub, tmp_path: Path) -> None:
    """Layout of a training run: the hookpoint is the folder's name, the model stands one folder above."""
    save_as(an_sae(), tmp_path / "a", "sparsify")
    cfg = json.loads((tmp_path / "a/cfg.json").read_text())
    del cfg["ard"]
    hub.create(REPO)
    hub.commit(
        REPO,
        {
            "config.json": b'{"model": "some/model"}',
            "layers.10/cfg.json": json.dumps(cfg).encode(),
            "layers.10/sae.safetensors": (tmp_path / "a/sae.safetensors").read_bytes(),
        },
    )
    sae = pull(REPO, api=api(hub)).sae
    assert (sae.cfg.sae_id, sae.cfg.model) == ("layers.10/e4/k5/recommended", "some/model")
    assert pull(REPO, origin=Origin("layers.2"), api=api(hub)).sae.cfg.hookpoint == "layers.2"


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["saes", "a/b/c", "some one/saes", "someone/..", "", "someone/"])
def test_names_that_are_none(hub: Hub, name: str) -> None:
    for do in (lambda: push(an_sae(), name, api=api(hub)), lambda: pull(name, api=api(hub))):
        with pytest.raises(HubError, match="is no name of a repository; write it as owner/name"):
            do()
    assert hub.asked == []


def test_a_repository_that_is_not_there_or_holds_no_sae(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"shows no repository someone/none; check the name"):
        pull("someone/none", api=api(hub))
    hub.create(REPO)
    with pytest.raises(HubError, match=r"someone/saes has 0 SAEs\."):
        pull(REPO, api=api(hub))


def test_no_permission(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"does not let you do this in someone/saes \(status 401\); log in"):
        push(an_sae(), REPO, api=api(hub, token=False))
    with pytest.raises(HubError, match=r"does not let you do this in others/saes \(status 403\)"):
        push(an_sae(), "others/saes", api=api(hub))
    hub.create("others/saes")
    with pytest.raises(HubError, match=r"does not let you do this in others/saes \(status 403\)"):
        push(an_sae(), "others/saes", api=api(hub))
    assert hub.messages == []


def test_a_hub_that_fails(hub: Hub) -> None:
    hub.status = 503
    with pytest.raises(HubError, match=r"answered with status 503 for someone/saes; try again later"):
        pull(REPO, api=api(hub))


def test_no_network() -> None:
    with socket.socket() as closed:  # a port that nothing listens on
        closed.bind(("127.0.0.1", 0))
        nowhere = HfApi(endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}", token=TOKEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        for do in (lambda: pull(REPO, api=nowhere), lambda: push(an_sae(), REPO, api=nowhere)):
            with pytest.raises(
                HubError, match=r"cannot be reached \(ConnectError\); check the network and HF_ENDPOINT"
            ):
                do()


def test_offline_by_the_users_own_wish(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        pull(REPO, api=api(hub))
    assert hub.asked == []


def test_another_kind_of_sae_in_the_repository(hub: Hub) -> None:
    hub.create(REPO)
    hub.commit(REPO, {"a/cfg.json": b'{"architecture": "jumprelu", "metadata": {}}', "a/sae_weights.safetensors": b""})
    with pytest.raises(FormatError, match="architecture 'jumprelu'; only 'topk'"):
        pull(REPO, api=api(hub))
