"""Which history an application has."""

from __future__ import annotations

from segops.archive.history import History, TopicHistory
from segops.archive.storage import open_storage
from segops.config import Settings


def open_history(settings: Settings, topic: str) -> History:
    """Return the history of a topic: with SEGOPS_ARCHIVE_URL, the archive's before the topic's own.

    Raises UserError if an archive is configured and pyarrow is not installed.
    """
    retained = TopicHistory(settings.kafka, topic)
    if settings.archive.url is None:
        return retained
    storage = open_storage(settings.archive)
    from segops.archive.reading import ArchiveHistory, ChainedHistory  # they need pyarrow

    return ChainedHistory(ArchiveHistory(storage, topic), retained)
