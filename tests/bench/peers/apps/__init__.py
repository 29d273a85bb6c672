"""The peers' programs. Each runs in an environment of its own; nothing here is imported by the bench."""
