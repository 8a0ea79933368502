"""scikit-learn's digits."""

import hashlib

import numpy as np
import torch

from src.data.bundled import of_sklearn
from src.data.dataset import Dataset, Split
from src.data.pixels import scaled


def load(mean: float = 0.0, std: float = 1.0) -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels from 0 to 16; a fixed fifth is the test set.

    Read from its file, of 64 pixels and a label in each row: to import the library takes longer
    than to train on them.

    Args:
        mean, std: pixels, scaled to [0, 1], become (pixel - mean) / std.
    """
    table = np.loadtxt(of_sklearn("digits.csv.gz"), delimiter=",")
    pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    images, targets = torch.from_numpy(pixels).float() / 16, torch.from_numpy(labels)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    digest = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    whole = Split(scaled(images, mean, std).unsqueeze(1), targets)
    return Dataset(whole.take(train), whole.take(test), classes=10, sha256=digest)
