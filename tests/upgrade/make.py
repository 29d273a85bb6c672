"""Write the archive of the upgrade test: topics and stores as the checked-out version writes them.

    python -m tests.upgrade.make tests/upgrade/data/COMMIT.tar.xz

Run it in a checkout of the version to archive, with this folder copied into its tests. It needs Apache Kafka
(the ``jvm`` kind).
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from pathlib import Path

from segops.brokers import choose

from ..streaming.helpers import Stack, wait_until
from .stream import APPLIED, GUARANTEES, PARTITIONS, PUBLISHED, WRITTEN, expected, segments, stream

#: The broker must not delete the records before the test reads them, a year or two later.
RETENTION = {"SEGOPS_RETENTION": "36500d"}
#: A short session timeout: the stopped worker leaves the group soon.
MEMBER = {"SEGOPS_SESSION_TIMEOUT": "6s"}


def main() -> None:
    """Fill the topics, let a worker process a part, stop everything cleanly, and archive the files."""
    target = Path(sys.argv[1]).absolute()
    os.environ.update(RETENTION)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with choose(folder / "broker", prefer="jvm") as broker:
            for prefix, guarantee in GUARANTEES.items():
                _fill(broker.bootstrap_servers, prefix, guarantee, folder / prefix)
        with tarfile.open(target, "w:xz", preset=9) as archive:
            archive.add(folder, ".", filter=_state_only)


def _fill(bootstrap_servers: str, prefix: str, guarantee: str, folder: Path) -> None:
    folder.mkdir()
    stack = Stack(bootstrap_servers, prefix, folder, partitions=PARTITIONS, guarantee=guarantee)
    stack.environment = MEMBER
    sent = stream()
    stack.publish(segments())
    try:
        stack.start()
        stack.send(sent[:APPLIED])
        published = expected(stack.definitions, sent[:PUBLISHED])
        wait_until(lambda: set(stack.changes()) >= set(published), "changes published", stack.diagnosis)
    finally:
        stack.close()
    stack.send(sent[APPLIED:WRITTEN])


def _state_only(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Exclude logs and locks, and remove the name of the archive's owner."""
    name = Path(member.name).name
    if name in ("LOG", "LOCK") or (
        name.endswith(".log") and "/data/" not in member.name and "/profiles/" not in member.name
    ):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
