"""The same job, side by side: segops against what its user would pick instead. ``make bench-peers``."""
