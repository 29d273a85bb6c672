"""Data files inside installed packages, located without importing the packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from segops.core.errors import UserError


def data_file(package: str, name: str) -> Path:
    """Return the path of the file ``name`` inside ``package``, which need not be importable.

    Raises UserError with a remedy if the package is not installed or has no such file.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"missing demo data: no package {package}; `make install` installs it")
    found = next(iter(sorted(Path(spec.origin).parent.rglob(name))), None)
    if found is None:
        raise UserError(
            f"missing demo data: the installed {package} has no {name}; "
            "`make clean install` installs a version that does"
        )
    return found
