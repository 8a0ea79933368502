"""Characters of English text that comes with Python: its own reference manual."""

import hashlib

import numpy as np
import torch

from src.data.dataset import Dataset, Split
from src.errors import InputError

# Python's help text hardly holds another one. The set is fixed, so that a model has the same shape
# whichever text it gets.
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
OTHER = len(CHARACTERS)  # the token of every other character


def load(rows: int = 2000, length: int = 32) -> Dataset:
    """Stretches of text, and the character that follows each of their characters.

    The topics of Python's help, in the order of their names, without a gap; the last fifth of the
    rows is the test set, so topics that weren't trained on.

    The text changes with Python's version, now and then also with its patch version. `sha256` is
    that of what was read, so runs on two versions are known to have had other data.

    Args:
        rows: of training and test set together, >= 5.
        length: characters of a row, >= 1.

    Raises:
        InputError: Python came without its topics, or the text is too short for so many rows.
    """
    if rows < 5 or length < 1:
        raise ValueError(f"rows must be >= 5 and length >= 1, got rows={rows}, length={length}")
    text = manual()
    if len(text) <= rows * length:
        most = (len(text) - 1) // length
        raise InputError(
            f"data.rows={rows}: the text has {len(text)} characters, which make at most {most} "
            f"rows of data.length={length}"
        )
    text = text[: rows * length + 1]
    tokens = torch.from_numpy(encoded(text))
    whole = Split(tokens[:-1].view(rows, length), tokens[1:].view(rows, length))
    order, cut = torch.arange(rows), rows - rows // 5
    digest = hashlib.sha256(text.encode()).hexdigest()
    train, test = whole.take(order[:cut]), whole.take(order[cut:])
    return Dataset(train, test, OTHER + 1, OTHER + 1, digest)


def manual() -> str:
    """All topics of `help()`, in the order of their names.

    Raises:
        InputError: this Python has none.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError(f"data: this Python has no pydoc_data/topics.py: {error}") from error
    return "".join(topics[name] for name in sorted(topics))


def encoded(text: str) -> np.ndarray:
    """A token for each character, int64."""
    places = {character: place for place, character in enumerate(CHARACTERS)}
    return np.array([places.get(character, OTHER) for character in text], dtype=np.int64)
