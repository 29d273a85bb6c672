"""The manifests of one partition on the storage, and the claims by which one writer excludes all others.

Object storage offers no lock and, through pyarrow, no conditional write. Claims need neither, only that a
file that was written is read and listed from then on:

- A new writer first writes a claim greater than all others, then reads the latest manifest and goes on from
  it.
- A writer commits a manifest under its own claim, then looks for a greater claim. If there is one, the commit
  does not count: the next writer may have read the manifest before. If there is none, every later writer
  reads this manifest or a later one.

Only after a commit that counts does a writer delete files that it has replaced, and only files with claims
up to its own. A former owner, however late it wakes up, can neither delete nor hide files of a later one.
"""

from __future__ import annotations

import secrets
from typing import Final

from segops.archive.manifest import (
    MANIFESTS,
    ArchiveClaim,
    Manifest,
    claim_of,
    decode_manifest,
    encode_manifest,
    folder_of,
)
from segops.archive.storage import DRAFT, ArchiveError, Storage

_CLAIM_END: Final = ".claim"
_MANIFEST_END: Final = ".json"


class Superseded(ArchiveError):
    """Another writer has claimed the partition: this one has lost the right to it."""


class Ledger:
    """The right of this process to one partition, from its claim on."""

    def __init__(self, storage: Storage, topic: str, partition: int) -> None:
        self._storage = storage
        self._folder = f"{folder_of(topic, partition)}/{MANIFESTS}"
        self._claim = ArchiveClaim(0, "0" * 8)
        self._log_partition = (topic, partition)

    @property
    def current(self) -> ArchiveClaim:
        """The claim of this process."""
        return self._claim

    def claim(self) -> Manifest:
        """Claim the partition; return the manifest to go on from, under the new claim, not yet committed."""
        self._claim = ArchiveClaim(self._greatest().epoch + 1, secrets.token_hex(4))
        self._storage.write(self._name(self._claim, _CLAIM_END), b"")
        self.check()
        found = latest(self._storage, *self._log_partition)
        manifest = found or Manifest(*self._log_partition, self._claim)
        manifest.claim, manifest.sequence = self._claim, 0
        return manifest

    def commit(self, manifest: Manifest) -> None:
        """Write a manifest under the claim. Raises Superseded if it does not count."""
        self._storage.write(self._name(self._claim, _MANIFEST_END), encode_manifest(manifest))
        self.check()
        manifest.sequence += 1

    def check(self) -> None:
        """Raise Superseded if there is a greater claim."""
        if self._greatest() > self._claim:
            raise Superseded("{}, partition {}: claimed by another writer".format(*self._log_partition))

    def sweep(self, manifest: Manifest) -> list[str]:
        """Delete the files that writers up to this claim have left and no manifest names; return their names.

        Call it after a commit of ``manifest``. Also deletes former claims and manifests.
        """
        named = manifest.named()
        leftovers = [name for name in self._storage.list(manifest.folder) if self._is_left(name, named)]
        for name in leftovers:
            self._storage.delete(name)
        return [name for name in leftovers if not name.startswith(self._folder)]

    def _is_left(self, name: str, named: set[str]) -> bool:
        claim = claim_of(name)
        if claim is None or claim > self._claim or name in named:
            return False
        return claim < self._claim or name.endswith(DRAFT) or not name.startswith(self._folder)

    def _greatest(self) -> ArchiveClaim:
        names = [
            name for name in self._storage.list(self._folder) if name.endswith((_CLAIM_END, _MANIFEST_END))
        ]
        return max((found for name in names if (found := claim_of(name))), default=self._claim)

    def _name(self, claim: ArchiveClaim, end: str) -> str:
        return f"{self._folder}/{claim}{end}"


def latest(storage: Storage, topic: str, partition: int) -> Manifest | None:
    """Return the manifest that counts, or None if the partition has none.

    Raises ArchiveError if it is unreadable.
    """
    folder = f"{folder_of(topic, partition)}/{MANIFESTS}"
    while True:
        names = [name for name in storage.list(folder) if name.endswith(_MANIFEST_END)]
        if not names:
            return None
        name = max(names)
        try:
            return decode_manifest(storage.read(name), name)
        except FileNotFoundError:
            continue  # a later claim replaced it in between
