"""The peers' programs import what is in their own environments only."""

collect_ignore_glob = ["apps/*_*.py"]
