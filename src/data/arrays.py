"""Arrays in an .npz file of one's own."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from src.data.dataset import Dataset
from src.data.own import check_memory, dataset, divided, encoded, file_at
from src.errors import InputError

WHOLE, APART = ("x", "y"), ("x_train", "y_train", "x_test", "y_test")
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def load(
    path: str,
    task: str | None = None,
    vocabulary: int | None = None,
    test_fraction: float = 0.2,
    test_seed: int = 0,
) -> Dataset:
    """Read x and y, or x_train, y_train, x_test and y_test; the first axis counts samples.

    Inputs become float32, or int64 with a vocabulary. Words, truth values and whole numbers as
    targets are classes; other numbers are real.

    Args:
        path: of the file.
        task: classification or regression, where the targets' type says another.
        vocabulary: inputs are tokens below it.
        test_fraction, test_seed: which rows are the test set, if the file doesn't say.

    Raises:
        InputError: the file or an array isn't what it must be.
    """
    where = f"data.path={path}"
    arrays = _read(file_at(path), where)
    names = APART if {*APART} <= arrays.keys() else WHOLE
    if not {*names} <= arrays.keys():
        has = ", ".join(arrays) or "nothing"
        raise InputError(
            f"{where}: must hold {' and '.join(WHOLE)}, or {', '.join(APART)}; it holds {has}"
        )
    for x_name, y_name in zip(names[::2], names[1::2], strict=True):
        _check(where, x_name, arrays[x_name], y_name, arrays[y_name])
    if names is WHOLE:
        x, y = arrays["x"], arrays["y"]
        train, test = divided(len(x), test_fraction, test_seed)
        inputs, targets = (x[train], x[test]), (y[train], y[test])
    else:
        inputs = (arrays["x_train"], arrays["x_test"])
        targets = (arrays["y_train"], arrays["y_test"])
    first, second = (_inputs(each, vocabulary, where) for each in inputs)
    codes, classes = encoded(where, np.concatenate(targets), task)
    if classes is not None:
        encoded(f"{where}: the training set", targets[0], "classification")  # not one class only
    count = None if classes is None else len(classes)
    cut = len(targets[0])
    return dataset((first, second), (codes[:cut], codes[cut:]), count, vocabulary)


def _read(path: Path, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of the file, unless they need more memory than there is."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{where}: not an .npz file, which numpy.savez writes")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {name: _size(archive, name) for name in archive.namelist()}
        shapes = ", ".join(
            f"{name.removesuffix('.npy')} {shape}" for name, (shape, _) in sizes.items()
        )
        check_memory(where, f"arrays of {shapes}", sum(size for _, size in sizes.values()))
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy may raise anything on a damaged file
        reason = " ".join(str(error).split())
        if "allow_pickle" in reason:
            reason = "an array of Python objects, which could run code as it is read; save numbers"
        raise InputError(f"{where}: {reason}") from error


def _size(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], int]:
    """An array's shape and its bytes as float32 or int64, from its header."""
    with archive.open(name) as file:
        version = npy.read_magic(file)
        shape, _, kind = READERS.get(version, npy.read_array_header_2_0)(file)
    return shape, math.prod(shape) * max(4, kind.itemsize)


def _check(where: str, x_name: str, x: NDArray[Any], y_name: str, y: NDArray[Any]) -> None:
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise InputError(
            f"{where}: {x_name} has the shape {x.shape} and {y_name} {y.shape}; the first axis of "
            "both must be the same number of samples, 1 or more"
        )
    for name, array in ((x_name, x), (y_name, y)):
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            place = tuple(int(axis) for axis in np.argwhere(~finite)[0])
            raise InputError(f"{where}: {name}[{', '.join(map(str, place))}] is {array[place]}")
    if x.dtype.kind not in "biuf":
        raise InputError(f"{where}: {x_name} must hold numbers, it holds {x.dtype}")


def _inputs(x: NDArray[Any], vocabulary: Any, where: str) -> NDArray[Any]:
    if vocabulary is None:
        return x.reshape(len(x), -1).astype(np.float32) if x.ndim == 1 else x.astype(np.float32)
    if type(vocabulary) is not int or vocabulary < 1:
        raise InputError(f"data.vocabulary={vocabulary}: must be null or an integer >= 1")
    if x.dtype.kind not in "biu":
        raise InputError(f"{where}: tokens must be whole numbers, not {x.dtype}")
    return x.astype(np.int64)
