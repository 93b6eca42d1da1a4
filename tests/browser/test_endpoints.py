"""The endpoints as a script sees them, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ard.store import Run
from tests.browser.conftest import Served
from tests.fixtures import run as made


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    made_client = Client(served.url, verbose=False, analytics_enabled=False)
    yield made_client
    made_client.close()


def test_only_documented_endpoints_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/search_concepts", "/concept", "/clip", "/listen", "/steer", "/results"}


def test_search(client: Client) -> None:
    found: dict[str, Any] = client.predict("meowing", "monosemanticity", 3, 2, api_name="/search_concepts")
    assert (found["total"], found["offset"]) == (10, 2)
    assert [c["latent_id"] for c in found["concepts"]] == [12, 18, 24]


def test_one_concept_and_its_clips(client: Client) -> None:
    concept: dict[str, Any] = client.predict(made.SAE_ID, 7, api_name="/concept")
    assert concept["name"] == "dog barking 7"
    assert [c["clip_id"] for c in concept["clips"]["most"]] == [made.clip_id(i) for i in made.top_clips(7)]
    clip: dict[str, Any] = client.predict("clip-001", api_name="/clip")
    assert (clip["audio"], clip["duration_s"]) == ("audio/00000001.wav", 2.0)


def test_steer(client: Client, served: Served) -> None:
    answer = client.predict("clip-002", "What is it?", [7, 8], [3.0, 4.0], api_name="/steer")
    assert served.model.asked[-1] == ("00000002.wav", "What is it?", (7, 8), (3.0, 4.0))
    assert answer == {
        "baseline": "A dog barks.",
        "steered": "A <i>cat</i> meows at 3.",
        "note": "Clamped at 50 positions.",
    }


def test_steer_with_an_uploaded_file_and_switches(client: Client, served: Served, own: Path) -> None:
    client.predict(handle_file(own), "What?", [7], [3], "", "after_topk", "audio", "off", True, api_name="/steer")
    assert served.model.asked[-1] == ("own.wav", "What?", (7,), (3.0,))
    assert served.model.switches[-1] == ("after_topk", "audio", "off", True)


def test_listen(client: Client, own: Path) -> None:
    for audio in ("clip-003", handle_file(own)):
        heard: dict[str, Any] = client.predict(audio, "", 2, api_name="/listen")
        assert (heard["sae_id"], heard["tokens"], heard["seconds_per_token"]) == (made.SAE_ID, 50, 0.04)
        assert [(c["latent_id"], c["name"]) for c in heard["concepts"]] == [(7, "dog barking 7"), (5, made.HOSTILE)]
        assert heard["concepts"][0]["values"] == [4.0] * 25 + [0.0] * 25


def test_results(client: Client) -> None:
    results: dict[str, Any] = client.predict(api_name="/results")
    of_people = {"human", "human_catches", "human_correlation"}
    of_steering = {"steering", "steering_comparators", "steering_judged", "judge_agreement"}
    of_names = {"interpretability", "controls", "comparisons", "stability"}
    assert set(results) == {"ablation", "saes", *of_names, *of_people, *of_steering}
    assert results["human"][0]["rating_mean"] == 4.25
    assert [r["sensitivity"] for r in results["steering"]] == [0.75, 0.0]
    assert len(results["interpretability"]) == 7


def test_a_file_that_was_not_uploaded_is_never_read(client: Client, made_up_run: Run) -> None:
    secret = made_up_run.path / "audio" / "00000001.wav"
    sent = {"path": str(secret), "orig_name": "x.wav"}
    with pytest.raises(AppError, match="audio"):
        client.predict(sent, "", 2, api_name="/listen")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.wav"
    soundfile.write(path, 0.1 * np.sin(np.arange(16_000) / 5), 16_000)
    return path


@pytest.mark.parametrize(
    ("endpoint", "values", "field"),
    [
        ("/search_concepts", ("x", "best", 3, 0), "by"),
        ("/search_concepts", ("x", "name", 0, 0), "limit"),
        ("/search_concepts", ("x", "name", 5, -1), "offset"),
        ("/concept", (made.SAE_ID, 63), "latent_id"),
        ("/clip", ("none",), "clip_id"),
        ("/steer", ("none", "?", [1], [1.0]), "audio"),
        ("/steer", ("", "?", [1], [1.0]), "audio"),
        ("/steer", ({"path": "/etc/passwd"}, "?", [1], [1.0]), "audio"),
        ("/steer", ("clip-001", "?", ["x"], [1.0]), "latents"),
        ("/steer", ("clip-001", "?", [1], [1.0], "layers.9/e1/k1/none"), "sae_id"),
        ("/steer", ("clip-001", "?", [1], [1.0], "", "never"), "when"),
        ("/listen", ("none", "", 5), "audio"),
        ("/listen", ("clip-001", "", 0), "top"),
        ("/steer", ("clip-001", "?", [1, 2], [1.0]), "latents"),
        ("/steer", ("clip-001", " ", [1], [1.0]), "prompt"),
        ("/steer", ("clip-001", "wrong", [1], [1.0]), "prompt"),
    ],
)
def test_bad_input_names_the_field(client: Client, endpoint: str, values: tuple[Any, ...], field: str) -> None:
    with pytest.raises(AppError, match=field):
        client.predict(*values, api_name=endpoint)
