"""The same job on segops and on its alternatives: ``make bench-peers``."""
