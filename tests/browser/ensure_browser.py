"""Find a Chromium for the browser tests, or install one: `python -m tests.browser.ensure_browser`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HINT = (
    "The browser tests need Chromium: install it (Debian, Ubuntu: `sudo apt-get install chromium`; elsewhere: "
    "`.venv/bin/playwright install chromium`), or name one with CHROMIUM=/path/to/chromium."
)


def find_browser() -> str | None:
    """Path of a Chromium: $CHROMIUM, one on the PATH, or the one Playwright installed."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def install() -> None:
    """Install Debian's chromium, where we may."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        print("+", " ".join(command), flush=True)
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
            return


def main() -> int:
    if find_browser() is None:
        install()
    if find_browser() is None:
        print(HINT, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
