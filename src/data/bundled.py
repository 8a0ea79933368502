"""Files that an installed library brings along."""

from importlib.util import find_spec
from pathlib import Path

from src.errors import InputError


def of_sklearn(name: str) -> Path:
    """A file of scikit-learn's data sets, found without importing the library.

    Raises:
        InputError: it isn't there.
    """
    spec = find_spec("sklearn")  # which doesn't import it
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / "datasets" / "data" / name).is_file():
            return path
    raise InputError(f"data: scikit-learn has no {name}; install scikit-learn again")
