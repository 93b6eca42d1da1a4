"""The endpoints as a script sees them, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.browser.conftest import Served
from tests.fixtures import run as made


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    made_client = Client(served.url, verbose=False, analytics_enabled=False)
    yield made_client
    made_client.close()


def test_only_documented_endpoints_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/search_concepts", "/concept", "/clip", "/steer"}


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


def test_steer(client: Client) -> None:
    answer = client.predict("clip-002", "What is it?", [7, 8], [3.0, 4.0], api_name="/steer")
    assert answer == {
        "baseline": "A dog barks.",
        "steered": "A <i>cat</i> meows at 3.",
        "note": "Clamped at 50 positions.",
    }


@pytest.mark.parametrize(
    ("endpoint", "values", "field"),
    [
        ("/search_concepts", ("x", "best", 3, 0), "by"),
        ("/search_concepts", ("x", "name", 0, 0), "limit"),
        ("/search_concepts", ("x", "name", 5, -1), "offset"),
        ("/concept", (made.SAE_ID, 63), "latent_id"),
        ("/clip", ("none",), "clip_id"),
        ("/steer", ("none", "?", [1], [1.0]), "clip_id"),
        ("/steer", ("clip-001", "?", [1, 2], [1.0]), "latents"),
        ("/steer", ("clip-001", " ", [1], [1.0]), "prompt"),
        ("/steer", ("clip-001", "wrong", [1], [1.0]), "question"),
    ],
)
def test_bad_input_names_the_field(client: Client, endpoint: str, values: tuple[Any, ...], field: str) -> None:
    with pytest.raises(AppError, match=field):
        client.predict(*values, api_name=endpoint)
