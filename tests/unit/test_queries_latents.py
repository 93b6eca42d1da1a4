from __future__ import annotations

from pathlib import Path

from ard import tables
from explorer.queries import Queries
from tests.fixtures.run import SAE_ID, make_run

OTHER = "layers.9/e2/k4/paper"


def test_neighbours_are_the_nearest_of_this_sae_and_some_of_each_other(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    key = {"sae_id": SAE_ID, "latent_id": 0}
    rows = [
        {**key, "rank": rank, "neighbour_sae_id": sae_id, "neighbour_id": 10 * rank, "cosine": 1 / rank}
        for sae_id in (SAE_ID, OTHER)
        for rank in (3, 1, 2, 4, 6, 5)
    ]
    run.write("neighbours", tables.from_rows("neighbours", rows))
    found = Queries(run).neighbours(SAE_ID, 0, limit=4, elsewhere=2)
    assert [(n.sae_id, n.latent_id) for n in found] == [
        (SAE_ID, 10), (SAE_ID, 20), (SAE_ID, 30), (SAE_ID, 40), (OTHER, 10), (OTHER, 20),
    ]  # fmt: skip
    assert found[1].cosine == 0.5
    assert Queries(run).neighbours(SAE_ID, 5) == []
