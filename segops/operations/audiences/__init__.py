"""Audiences of a running system: publication, measured reach, approval and audit."""
