"""Sources: topics that exist already, mapped to events (``segops sources``)."""
