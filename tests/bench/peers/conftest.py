"""Exclude the peers' programs, which import packages of their own environments only."""

collect_ignore_glob = ["apps/*_*.py"]
