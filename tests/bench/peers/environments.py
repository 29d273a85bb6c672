"""The environments of the peers: virtual environments and jars, built once below ``.segops/peers``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = ROOT / ".segops" / "peers"

#: The compared versions. Clients are pinned with the frameworks: their speed is part of the figure.
REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "faust": (
        "faust-streaming[rocksdict,orjson,uvloop]==0.15.3",
        "mode-streaming==0.7.1",
        "aiokafka==0.14.0",
        "rocksdict==0.3.29",
        "cramjam==2.11.0",
    ),
    "quix": ("quixstreams==3.28.1", "confluent-kafka==2.12.2", "rocksdict==0.3.29", "orjson==3.13.0"),
    "bytewax": ("bytewax[kafka]==0.21.1", "confluent-kafka==2.12.2", "orjson==3.13.0"),
    "pyflink": ("apache-flink==2.3.0", "orjson==3.13.0"),
}


class Unavailable(Exception):
    """Raised when a peer cannot be installed on this machine; the message gives the reason."""


def python(name: str) -> Path:
    """Return the interpreter of an environment, creating it if needed. Raises Unavailable."""
    folder, wanted = CACHE / f"venv-{name}", "\n".join(REQUIREMENTS[name])
    stamp, interpreter = folder / "requirements.txt", folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == wanted:
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    print(f"  installing {', '.join(REQUIREMENTS[name])}", flush=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS[name]])
    stamp.write_text(wanted)
    return interpreter


def jars(name: str) -> Path:
    """Return the folder with the jars of the Maven project ``name`` and its dependencies."""
    project, folder = HERE / name, CACHE / f"jars-{name}"
    wanted = _fingerprint(project)
    stamp = folder / "sources"
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"  building {name} with Maven", flush=True)
        _run(["mvn", "-B", "-q", "-f", str(project / "pom.xml"), f"-Dpeers.out={folder}", "package"])
        stamp.write_text(wanted)
    return folder / "jars"


def _fingerprint(project: Path) -> str:
    files = sorted(path for path in project.rglob("*") if path.is_file() and "target" not in path.parts)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1_800, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-600:]
        raise Unavailable(f"{Path(command[0]).name} failed: {output}")
