"""SAEs on a model hub, through huggingface_hub: one commit a push, one revision a pull.

    push(sae, "owner/name")                 our format, in the folder <sae_id> of the repository
    push(sae, "owner/name", "saelens")      SAELens' format, in saelens/<sae_id>
    pull("owner/name")                      any of the formats, as a TopKSAE

huggingface_hub finds the endpoint (HF_ENDPOINT) and the token (HF_TOKEN, or `hf auth login`) itself; neither is ever
written to a file or a message here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ard.formats import FORMATS, Origin, files_of, load_from, save_as
from ard.sae import TopKSAE
from ard.sae_config import CONFIG_FILE

CARD = "README.md"
SHOWN = 5  # folders named in a message


class HubError(ValueError):
    """A model hub could not be reached or refused; the message says what to do."""


class Place(NamedTuple):
    """Where in a hub an SAE lies: repository, folder in it, and the commit that holds it."""

    repo: str
    folder: str
    revision: str


class Pulled(NamedTuple):
    """An SAE from a hub and where it lay."""

    sae: TopKSAE
    place: Place


def push(
    sae: TopKSAE,
    repo: str,
    fmt: str = "ard",
    *,
    folder: str | None = None,
    private: bool | None = None,
    api: HfApi | None = None,
) -> Place:
    """Commit `sae` to the repository `repo`, which is made if it is not there, in one commit.

    The folder in it is the sae_id, below the format's name for the formats of other libraries. `private` counts only
    for a new repository; None leaves it to the hub. A README.md is added where there is none.

    Raises:
        HubError: the hub refused or was not reached. FormatError: the format cannot hold the SAE.
    """
    api = api or HfApi()
    folder = folder or (sae.cfg.sae_id if fmt == "ard" else f"{fmt}/{sae.cfg.sae_id}")
    with tempfile.TemporaryDirectory(prefix="ard-push-") as made, _sentences(repo, api):
        save_as(sae, Path(made), fmt)
        if not api.repo_exists(repo):
            api.create_repo(repo, repo_type="model", private=private)
        there = {file.rfilename for file in api.model_info(repo).siblings or []}
        added = [CommitOperationAdd(f"{folder}/{name}", str(Path(made, name))) for name in files_of(fmt)]
        if CARD not in there:
            added.append(CommitOperationAdd(CARD, _card(repo).encode()))
        done = api.create_commit(repo, added, commit_message=f"Add {sae.cfg.sae_id} in format {fmt}")
    return Place(repo, folder, done.oid)


def pull(
    repo: str,
    *,
    folder: str | None = None,
    fmt: str | None = None,
    revision: str | None = None,
    origin: Origin | None = None,
    api: HfApi | None = None,
) -> Pulled:
    """The SAE in `folder` of the repository `repo`; without `folder` the only one there.

    Files are read from one commit, so the configuration and the weights belong together. `extra["pulled_from"]` of the
    SAE's configuration names it.

    Raises:
        HubError: the hub refused or was not reached, or the repository has no such SAE, or several.
        FormatError, SAEError: what lies there is no TopK SAE, or damaged.
    """
    api = api or HfApi()
    with _sentences(repo, api):
        info = api.model_info(repo, revision=revision)
        names = {file.rfilename for file in info.siblings or []}
        folder = _the_folder(repo, names, folder)
        files = {name for each in FORMATS for name in files_of(each)}
        here = {str(PurePosixPath(folder, name)) for name in files}
        here.add(str(PurePosixPath(folder).parent / "config.json"))  # of a sparsify run: it names the model
        paths = {name: Path(api.hf_hub_download(repo, name, revision=info.sha)) for name in sorted(here & names)}
        place = Place(repo, folder, str(info.sha))
    sae = load_from(paths[str(PurePosixPath(folder, CONFIG_FILE))].parent, fmt, origin)
    sae.cfg = replace(sae.cfg, extra={**sae.cfg.extra, "pulled_from": f"{repo}/{folder}@{place.revision}"})
    return Pulled(sae, place)


def _the_folder(repo: str, names: set[str], asked: str | None) -> str:
    folders = sorted(str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).name == CONFIG_FILE)
    some = f"{', '.join(folders[:SHOWN])}{' …' if len(folders) > SHOWN else ''}"
    if asked is not None:
        if (asked := str(PurePosixPath(asked))) not in folders:
            raise HubError(f"{repo} has no SAE in folder {asked!r}; it has {some or 'none at all'}.")
        return asked
    if len(folders) != 1:
        raise HubError(f"{repo} has {len(folders)} SAEs{f': {some}; name one with --folder' if folders else ''}.")
    return folders[0]


def _card(repo: str) -> str:
    """README.md of a new repository: how to read what lies in it."""
    return f"""---
library_name: ard-explorer
tags: [sparse-autoencoder, topk, audio, interpretability]
---

# {repo.rsplit("/", maxsplit=1)[-1]}

TopK sparse autoencoders over the residual stream of an audio language model (AR&D, arXiv 2602.22253, Eq. 1), one folder
each. `cfg.json` in it names the model and the hookpoint whose activations it was trained on.

| folder | read it with |
| --- | --- |
| `<sae_id>` | `python -m precompute pull --repo {repo} --folder <sae_id> --to FOLDER` |
| `saelens/<sae_id>` | `sae_lens.SAE.from_pretrained("{repo}", "saelens/<sae_id>")` |
| `sparsify/<sae_id>` | `sparsify.SparseCoder.load_from_hub("{repo}", "sparsify/<sae_id>")` |
"""


@contextmanager
def _sentences(repo: str, api: HfApi) -> Iterator[None]:
    """Every way in which a hub can refuse, as one sentence with what to do."""
    hub = api.endpoint
    if repo.count("/") != 1:
        raise HubError(f"{repo!r} is no name of a repository; write it as owner/name.")
    try:
        yield
    except HFValidationError:
        raise HubError(f"{repo!r} is no name of a repository; write it as owner/name.") from None
    except RevisionNotFoundError:
        raise HubError(f"{repo} on {hub} has no such revision; leave it out for the newest one.") from None
    except RepositoryNotFoundError:  # gated ones too; a hub does not tell strangers which of its private ones exist
        raise HubError(
            f"{hub} shows no repository {repo}; check the name, or log in with `hf auth login` if it is private."
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise HubError(
                f"{hub} does not let you do this in {repo} (status {status}); log in with `hf auth login`, with a token"
                " that may write there."
            ) from None
        raise HubError(f"{hub} answered with status {status} for {repo}; try again later.") from None
    except LocalTokenNotFoundError:
        raise HubError(f"There is no token for {hub}; log in with `hf auth login`.") from None
    except OfflineModeIsEnabled:
        raise HubError(f"HF_HUB_OFFLINE is set, so {hub} is not asked; unset it to use the hub.") from None
    except (httpx2.HTTPError, EntryNotFoundError, RuntimeError) as error:  # transfers wrap what went wrong in the last
        why = type(error.__cause__ or error).__name__
        raise HubError(f"{hub} cannot be reached ({why}); check the network and HF_ENDPOINT, then try again.") from None
