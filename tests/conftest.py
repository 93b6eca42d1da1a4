"""What every test shares: order (fast ones first), counts (reduced or full), a made-up run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ard.store import Run

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing a test needs lies on a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

FULL = bool(os.environ.get("ARD_FULL"))
ROOMS = ("unit", "property", "pipeline", "browser", "faults")

_SLOW_MACHINES = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("reduced", max_examples=25, deadline=None, suppress_health_check=_SLOW_MACHINES)
settings.register_profile("full", max_examples=400, deadline=None, suppress_health_check=_SLOW_MACHINES)
settings.load_profile("full" if FULL else "reduced")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast rooms first."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        room = item.path.relative_to(here).parts[0]
        return ROOMS.index(room) if room in ROOMS else len(ROOMS)

    items.sort(key=place)


@pytest.fixture(scope="session")
def full() -> bool:
    """True under `make test-full`: run fault and load tests at their full counts."""
    return FULL


@pytest.fixture(scope="session")
def made_up_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small finished run, written without any model; do not write to it."""
    from tests.fixtures.run import make_run

    return make_run(tmp_path_factory.mktemp("runs") / "made-up")
