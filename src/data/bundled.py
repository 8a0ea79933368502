"""Files that an installed library brings along."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from src.errors import InputError


def of_sklearn(name: str) -> Path:
    """A file of scikit-learn's data sets; see `of_package`."""
    return of_package("sklearn", "datasets", "data", name)


def of_package(package: str, *parts: str) -> Path:
    """A file of a package, found without importing it, which takes longer than to read the file.

    Raises:
        InputError: it isn't there.
    """
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder).joinpath(*parts)).is_file():
            return path
    name = {"sklearn": "scikit-learn"}.get(package, package)
    raise InputError(f"data: {name} has no {parts[-1]}; install {name} again")


def sha256(*paths: Path) -> str:
    """The digest of the files' contents, one after the other."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
