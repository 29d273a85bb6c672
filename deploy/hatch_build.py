"""Builds the kernel into the wheel where cargo is found.

Without cargo, or where the build fails, the wheel is pure Python, and one line says why.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LIBRARIES = ("libsegops_kernel.so", "libsegops_kernel.dylib")


def build(root: Path) -> str:
    """Build the extension into ``segops/kernel``; return why there is none, "" on success."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return "cargo is not installed"
    target = root / "build/kernel"
    command = [cargo, "build", "--release", "--locked", "--features", "python", "--color", "never"]
    command += ["--manifest-path", str(root / "segops/kernel/Cargo.toml"), "--target-dir", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - all of it is ours
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
        return (lines or ["cargo failed"])[0]
    built = next((path for name in _LIBRARIES if (path := target / "release" / name).exists()), None)
    if built is None:
        return "cargo built no library for this platform"
    into = root / "segops/kernel/_native.abi3.so"
    shutil.copy(built, into.with_suffix(".new"))
    into.with_suffix(".new").replace(into)  # a process may be running the former one
    return ""


class KernelBuildHook(BuildHookInterface[Any]):
    """Runs before hatchling collects the files of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the kernel; mark the wheel as one for this platform if it has it."""
        reason = build(Path(self.root))
        if reason:
            self.app.display_warning(f"segops without its kernel, in pure Python: {reason}")
            return
        if version != "editable":
            name = "segops/kernel/_native.abi3.so"
            build_data["force_include"][str(Path(self.root) / name)] = name
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"
