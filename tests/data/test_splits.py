"""The splits of a data set in memory."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from src.data import Dataset, Split, load, splits
from src.shapes import Shapes


def digits(mean: float = 0.0, std: float = 1.0, fraction: float = 0.2, seed: int = 0):  # type: ignore[no-untyped-def]
    return load({"_target_": "src.data.digits.load", "mean": mean, "std": std}, fraction, seed)


def pictures(*parts) -> list[bytes]:  # type: ignore[no-untyped-def]
    return sorted(image.numpy().tobytes() for part in parts for image in part.inputs)


def test_every_image_is_in_one_split() -> None:
    data = digits()
    assert [len(part) for part in (data.train, data.val, data.test)] == [1150, 288, 359]
    expected = sorted(image.astype(np.float32).tobytes() for image in load_digits().images / 16)
    assert pictures(data.train, data.val, data.test) == expected


def test_labels_stay_with_their_images() -> None:
    bunch = load_digits()
    label = dict(
        zip((i.astype(np.float32).tobytes() for i in bunch.images / 16), bunch.target, strict=True)
    )
    data = digits()
    for part in (data.train, data.val, data.test):
        for image, target in zip(part.inputs, part.targets, strict=True):
            assert label[image.numpy().tobytes()] == target


def test_the_split_seed_moves_validation_only() -> None:
    one, other = digits(seed=0), digits(seed=1)
    assert pictures(one.val) != pictures(other.val)
    assert pictures(one.test) == pictures(other.test)
    assert pictures(one.train, one.val) == pictures(other.train, other.val)


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A set of 50 and 7 pictures, each of its own number in place of a label."""

    def read(*settings: object) -> Dataset:
        train, test = torch.arange(50), 100 + torch.arange(7)
        parts = [Split(part.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 3), part)
                 for part in (train, test)]  # fmt: skip
        return Dataset(*parts, classes=107, sha256="12ab")

    monkeypatch.setattr(splits, "build", read)
    splits._load.cache_clear()
    yield
    splits._load.cache_clear()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 0.999), st.integers(0, 2**32 - 1))
def test_a_fraction_is_held_out(numbered: None, fraction: float, seed: int) -> None:
    """Rounded to whole pictures; nothing is lost, nothing stands twice, the order is kept."""
    data = digits(fraction=fraction, seed=seed)
    train, val = data.train.targets.tolist(), data.val.targets.tolist()
    assert abs(len(val) - 50 * fraction) <= 0.5
    assert sorted(train + val) == list(range(50))
    assert (train, val) == (sorted(train), sorted(val))
    assert data.test.targets.tolist() == list(range(100, 107))
    for part in (data.train, data.val, data.test):
        assert part.inputs.shape[1:] == (1, 2, 3)
        assert part.inputs[:, 0, 1, 2].tolist() == part.targets.tolist()
    splits._load.cache_clear()
    torch.rand(3)
    again = digits(fraction=fraction, seed=seed)
    assert again.val.targets.tolist() == val


def test_the_digest_is_that_of_the_source(numbered: None) -> None:
    assert digits().sha256 == digits(seed=1).sha256 == "12ab"
    moved = digits().to(torch.device("meta"))
    assert {part.inputs.device.type for part in (moved.train, moved.val, moved.test)} == {"meta"}
    assert {part.targets.device.type for part in (moved.train, moved.val, moved.test)} == {"meta"}
    assert [len(part) for part in (moved.train, moved.val, moved.test)] == [40, 10, 7]
    assert (moved.shapes, moved.sha256) == (Shapes((1, 2, 3), classes=107), "12ab")


def test_nothing_held_out() -> None:
    data = digits(fraction=0.0)
    assert (len(data.train), len(data.val)) == (1438, 0)


def test_normalised_once() -> None:
    plain, normal = digits(), digits(mean=0.25, std=0.5)
    assert torch.equal(normal.train.inputs, (plain.train.inputs - 0.25) / 0.5)
    assert plain.train.inputs.min() == 0
    assert plain.train.inputs.max() == 1
    assert plain.train.inputs.dtype == torch.float32


def test_shapes_are_those_of_the_data() -> None:
    data = digits()
    assert data.shapes == Shapes((1, 8, 8), classes=10)
    assert data.shapes.in_features == 64
    assert len(data.sha256) == 64


def test_mnist(mnist_root: str) -> None:
    data = load({"_target_": "src.data.mnist.load", "root": mnist_root}, 0.1, 0)
    assert [len(part) for part in (data.train, data.val, data.test)] == [54_000, 6_000, 10_000]
    assert data.shapes == Shapes((1, 28, 28), classes=10)
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]  # as everybody's MNIST begins
