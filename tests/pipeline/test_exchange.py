"""`python -m precompute export|import|push|pull` from a run folder to other libraries' files and back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ard.sae import TopKSAE
from ard.store import Run
from precompute.__main__ import main
from precompute.environment import PROJECT
from tests.fixtures import hub as stand_in
from tests.fixtures.exchange import an_sae, as_saelens, as_sparsify, tokens, write_saelens, write_sparsify
from tests.fixtures.run import SAE_ID, make_run

READ = {"saelens": as_saelens, "sparsify": as_sparsify}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("runs") / "exchange", concepts=0)
    an_sae(hookpoint="layers.1", k=8).save(made.sae_dir(SAE_ID))
    return made


@pytest.mark.parametrize("fmt", ["saelens", "sparsify"])
def test_export_and_import(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], fmt: str) -> None:
    there, back, x = tmp_path / "there", tmp_path / "back", tokens()
    assert main(["export", "--run", str(run.path), "--format", fmt, "--to", str(there)]) == 0
    assert capsys.readouterr().out == f"{SAE_ID} in format {fmt}: {there}\n"
    ours = TopKSAE.load(run.sae_dir(SAE_ID))
    assert np.abs(READ[fmt](there, x).x_hat - ours(x).x_hat.detach().numpy()).max() < 1e-5
    assert main(["import", "--from", str(there), "--format", fmt, "--to", str(back)]) == 0
    assert capsys.readouterr().out == f"{SAE_ID}, d_sae 64, of some/model@abc123: {back}\n"
    assert {p.name for p in back.iterdir()} == {"cfg.json", "sae.safetensors"}
    assert TopKSAE.load(back).cfg == ours.cfg
    assert (TopKSAE.load(back)(x).z - ours(x).z).abs().max() < 1e-5


def test_import_of_what_others_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, to = write_sparsify(tmp_path / "theirs"), tmp_path / "ours"
    arguments = ["import", "--from", str(theirs), "--to", str(to)]
    assert main(arguments) == 2
    assert "name it with --hookpoint layers.<l>." in capsys.readouterr().err
    assert main([*arguments, "--hookpoint", "layers.6", "--model", "m@1"]) == 0
    cfg = TopKSAE.load(to).cfg
    assert (cfg.sae_id, cfg.model) == ("layers.6/e1.5/k1/recommended", "m@1")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("export --run RUN --sae layers.9/e1/k1/paper --format saelens --to NEW", "has no SAE 'layers.9/e1/k1/paper'"),
        ("export --run NEW --format saelens --to NEW", "is not a run"),
        ("export --run RUN --format pt --to NEW", "invalid choice: 'pt'"),
        ("export --run RUN --format saelens --to TAKEN", "holds an SAE already; give --to another folder, or add"),
        ("export --run RUN --format saelens --to OTHER --force", "holds other things than an SAE"),
        ("export --run RUN --format saelens --to FILE", "is a file; --to needs a folder"),
        ("import --from NEW --to NEW", "cfg.json is missing; give a folder"),
        ("import --from RELU --to NEW", "architecture 'standard'; only 'topk'"),
        ("push --run RUN --repo nameless", "'nameless' is no name of a repository"),
        ("pull --repo a/b --to TAKEN", "holds an SAE already"),
        ("pull --repo a/b --to NEW --quiet", "HF_HUB_OFFLINE is set"),
    ],
)
def test_mistakes_give_one_sentence(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    an_sae().save(tmp_path / "taken")
    write_saelens(tmp_path / "relu", architecture="standard")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("")
    names = {"RUN": str(run.path)} | {n.upper(): str(tmp_path / n) for n in ("new", "taken", "other", "file", "relu")}
    assert main([names.get(word, word) for word in line.split()]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.strip().count("\n") == 0
    assert said.out == ""
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "other" / "thesis.txt").read_text() == "years"


def test_force_replaces_an_sae(run: Run, tmp_path: Path) -> None:
    arguments = ["export", "--run", str(run.path), "--format", "saelens", "--to", str(tmp_path / "to")]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert main([*arguments, "--force"]) == 0


def test_push_and_pull_as_a_user_would(run: Run, tmp_path: Path) -> None:
    """A process of its own, told by the environment where the hub is and who asks."""
    with stand_in.running() as hub:
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("HF_", "HUGGING"))}
        environment |= {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": stand_in.TOKEN, "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip

        def command(*arguments: str) -> subprocess.CompletedProcess[str]:
            line = [sys.executable, "-m", "precompute", *arguments, "--quiet"]
            return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, cwd=PROJECT)

        pushed = command("push", "--run", str(run.path), "--repo", "someone/saes", "--format", "saelens", "--private")
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stdout == f"{SAE_ID}: someone/saes/saelens/{SAE_ID}, revision {hub.head('someone/saes')}\n"
        assert hub.private == {"someone/saes"}
        pulled = command("pull", "--repo", "someone/saes", "--to", str(tmp_path / "ours"))
        assert pulled.returncode == 0, pulled.stderr
        assert stand_in.TOKEN not in pushed.stdout + pushed.stderr + pulled.stdout + pulled.stderr
        environment["HF_TOKEN"] = "another"
        refused = command("pull", "--repo", "someone/saes", "--to", str(tmp_path / "none"))
    assert refused.returncode == 2
    assert "shows no repository someone/saes" in refused.stderr
    assert refused.stderr.count("\n") == 1
    found, ours, x = TopKSAE.load(tmp_path / "ours"), TopKSAE.load(run.sae_dir(SAE_ID)), tokens()
    assert (found(x).x_hat - ours(x).x_hat).abs().max() < 1e-5
    shutil.rmtree(tmp_path / "ours")


def test_help_and_mistakes_load_no_model_library() -> None:
    code = "import sys; from precompute.__main__ import main; main(['export', '--help']); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert found.stdout.endswith("False\n")
