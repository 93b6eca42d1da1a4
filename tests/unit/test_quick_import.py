from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

from explorer.quick_import import import_gradio

CODE = """
import inspect, os, sys
from pathlib import Path
found, written = inspect.getfile, []
def watch(event, args):
    if event == "open" and str(args[0]).endswith(".pyi"):
        written.append(args[0])
sys.addaudithook(watch)
from explorer.quick_import import import_gradio
gradio = import_gradio()
assert inspect.getfile is found, "inspect is as it was"
assert inspect.getfile(gradio.Slider).endswith("slider.py")
assert not written, written[:3]
with gradio.Blocks() as page:
    button = gradio.Button("go")
    button.click(lambda: 1, None, gradio.Number())
assert page.get_config_file()["dependencies"]
print("ok")
"""


def test_gradio_works_and_writes_no_stub() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stderr


def test_it_is_the_same_gradio() -> None:
    before = inspect.getfile
    assert import_gradio() is __import__("gradio")
    assert inspect.getfile is before
