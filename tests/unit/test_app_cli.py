from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import app
from ard.store import Run

ROOT = Path(__file__).parents[2]


def test_the_documented_options() -> None:
    args = app.arguments(["--run", "r", "--model", "m", "--host", "0.0.0.0", "--port", "8000", "--auth", "users.txt"])
    assert (args.run, args.model, args.host, args.port, args.auth) == (
        Path("r"),
        "m",
        "0.0.0.0",
        8000,
        Path("users.txt"),
    )
    assert app.arguments([]).port == 7860
    assert app.arguments([]).host == "127.0.0.1"
    assert app.arguments(["--no-model"]).no_model


@pytest.mark.parametrize(
    "argv", [["--port", "0"], ["--port", "x"], ["--port", "65536"], ["--what"], ["--model", "m", "--no-model"]]
)
def test_a_wrong_option_is_one_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(argv) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert argv[-1].lstrip("-") in said or "exclude" in said


def test_a_missing_run_names_the_command_that_makes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--run", str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "python -m precompute run" in said
    assert str(tmp_path / "none") in said
    assert said.count("\n") == 1


def test_a_damaged_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_text("{half")
    assert app.main(["--run", str(tmp_path)]) == 2
    assert "manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "names nobody"), ("# only a comment\n", "names nobody"), ("ann\n", "line 1"), ("a:b\n:c\n", "line 2")],
)
def test_users_files_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(app.UsageError, match=says):
        app.read_auth(path)


def test_users_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("# who\nann:one:two\n\nbob:x\n")
    assert app.read_auth(path) == [("ann", "one:two"), ("bob", "x")]
    with pytest.raises(app.UsageError, match="cannot be read"):
        app.read_auth(tmp_path / "none")


def test_explorer_imports_no_model(made_up_run: Run) -> None:
    """A fresh interpreter builds the whole app and never loads torch."""
    code = (
        "import sys; from pathlib import Path; from ard.store import Run; from explorer import server; "
        "from explorer.service import NoModel; server.build(Run.open(Path(sys.argv[1])), NoModel('off')); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'precompute')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(made_up_run.path)], cwd=ROOT, check=False)
    assert done.returncode == 0
