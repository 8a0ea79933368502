"""The splits of a data set in memory."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from src.data import load, sizes, sources
from src.errors import InputError


def digits(mean: float = 0.0, std: float = 1.0, fraction: float = 0.2, seed: int = 0):  # type: ignore[no-untyped-def]
    return load("digits", None, mean, std, fraction, seed)


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


def test_nothing_held_out() -> None:
    data = digits(fraction=0.0)
    assert (len(data.train), len(data.val)) == (1438, 0)


def test_normalised_once() -> None:
    plain, normal = digits(), digits(mean=0.25, std=0.5)
    assert torch.equal(normal.train.inputs, (plain.train.inputs - 0.25) / 0.5)
    assert plain.train.inputs.min() == 0
    assert plain.train.inputs.max() == 1
    assert plain.train.inputs.dtype == torch.float32


def test_sizes_flow_from_the_data() -> None:
    data = digits()
    assert (data.in_features, data.num_classes) == (64, 10)
    assert sizes("digits") == (data.shape, data.num_classes) == ((1, 8, 8), 10)
    assert len(data.sha256) == 64


def test_mnist(mnist_root: str) -> None:
    data = load("mnist", mnist_root, 0.0, 1.0, 0.1, 0)
    assert [len(part) for part in (data.train, data.val, data.test)] == [54_000, 6_000, 10_000]
    assert sizes("mnist") == (data.shape, data.num_classes) == ((1, 28, 28), 10)
    assert (data.in_features, data.num_classes) == (784, 10)
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]  # as everybody's MNIST begins


def test_every_source_states_its_sizes() -> None:
    assert sources.EXTENTS.keys() == sources.SOURCES.keys()


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="must be one of digits, mnist, fashion_mnist, kmnist"):
        load("minst", None, 0.0, 1.0, 0.1, 0)
