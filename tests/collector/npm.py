"""Packages of npm, installed once below ``.segops``."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / ".segops/npm"


def installed(*packages: str) -> Path:
    """Return the folder of these packages' modules; without npm, skip the test, in CI fail."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("npm is not installed")
    folder = _FOLDER / sha256(" ".join(packages).encode()).hexdigest()[:12]
    modules = folder / "node_modules"
    if not all((modules / package.rpartition("@")[0] / "package.json").exists() for package in packages):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
        subprocess.run(command, cwd=folder, check=True)
    return modules
