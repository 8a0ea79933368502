"""What data in a file of one's own have in common: targets, a test set, and memory."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from src.data.dataset import Dataset, Split
from src.errors import InputError

MOST_CLASSES = 1000  # of whole numbers that nobody called classes
COPIES = 3  # of the data while they are read, split and held out
TASKS = ("classification", "regression")


def file_at(path: Any, key: str = "data.path") -> Path:
    """The file at a path.

    Raises:
        InputError: there is none, it can't be read or it is empty.
    """
    file = Path(str(path)).expanduser()
    try:
        size = file.stat().st_size
        with open(file, "rb"):
            pass
    except OSError as error:
        raise InputError(f"{key}={path}: {error.strerror}") from error
    if size == 0:
        raise InputError(f"{key}={path}: the file is empty")
    return file


def check_memory(where: str, what: str, needed: float) -> None:
    """Refuse what wouldn't fit into memory, before the system ends the process.

    Args:
        where: the setting, for the message.
        what: the data in words.
        needed: bytes of one copy.
    """
    free = psutil.virtual_memory().available
    if COPIES * needed > free:
        raise InputError(
            f"{where}: {what} take {COPIES * needed / 1e9:.1f} GB of memory while they are read "
            f"and split; {free / 1e9:.1f} GB are free"
        )


def check_task(task: Any) -> None:
    if task not in (None, *TASKS):
        raise InputError(f"data.task={task}: must be null, {' or '.join(TASKS)}")


def encoded(where: str, targets: NDArray[Any], task: Any) -> tuple[NDArray[Any], list[Any] | None]:
    """Targets as class indices, int64, and the classes in order; or as float32, and None.

    Words, truth values and whole numbers are classes, other numbers aren't, unless `task` says.

    Raises:
        InputError: the targets can't be what `task` says, or are of one class only.
    """
    check_task(task)
    is_real, is_number = targets.dtype.kind == "f", targets.dtype.kind in "iuf"
    if task == "regression" or (task is None and is_real):
        if not is_number and targets.dtype.kind != "b":
            raise InputError(f"{where}: data.task=regression needs numbers, not {targets[0]!r}")
        return targets.astype(np.float32), None
    classes, indices = np.unique(targets, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{where}: all targets are of one class, {classes[0]!s}")
    if task is None and is_number and len(classes) > MOST_CLASSES:
        raise InputError(
            f"{where}: {len(classes):,} different whole numbers: say data.task=regression, or "
            "data.task=classification if they are classes"
        )
    return indices.reshape(targets.shape).astype(np.int64), classes.tolist()


def divided(count: int, fraction: Any, seed: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices of the training and the test set, each in the order of the file.

    Args:
        fraction: of the rows, in (0, 1), rounded, for the test set.
        seed: chooses which; another than the run's.
    """
    if type(fraction) not in (int, float) or not 0 < fraction < 1:
        raise InputError(f"data.test_fraction={fraction}: must be in (0, 1)")
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise InputError(f"data.test_seed={seed}: must be an integer from 0 to {2**32 - 1}")
    tested = round(fraction * count)
    if not 0 < tested < count:
        raise InputError(f"data.test_fraction={fraction}: leaves {tested} of {count} rows to test")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    return np.sort(order[tested:]), np.sort(order[:tested])


def dataset(
    inputs: tuple[NDArray[Any], NDArray[Any]],
    targets: tuple[NDArray[Any], NDArray[Any]],
    classes: int | None,
    vocabulary: int | None = None,
) -> Dataset:
    """A data set of training and test arrays."""
    parts = [
        Split(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y)))
        for x, y in zip(inputs, targets, strict=True)
    ]
    return Dataset(parts[0], parts[1], classes, vocabulary)
