"""Data files inside installed packages, found without importing the packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from segops.core.errors import UserError


def data_file(package: str, name: str) -> Path:
    """The file ``name`` inside ``package``, which need not be importable.

    Raises UserError, with what to do, when the package is not installed or holds no such file.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"the demo's data is missing: no package {package}; `make install` installs it")
    found = next(iter(sorted(Path(spec.origin).parent.rglob(name))), None)
    if found is None:
        raise UserError(
            f"the demo's data is missing: the installed {package} holds no {name}; "
            "`make clean install` installs the version that does"
        )
    return found
