"""scikit-learn's digits, whose pixels are input and target at once."""

from src.data import digits
from src.data.dataset import Dataset, Split


def load() -> Dataset:
    """The pictures of `src.data.digits`, pixels in [0, 1], each to be given back."""
    data = digits.load()
    train, test = (Split(part.inputs, part.inputs) for part in (data.train, data.test))
    return Dataset(train, test, sha256=data.sha256)
