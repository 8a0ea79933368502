"""The leaves of what a checkpoint holds."""

import threading

import pytest
import torch

from src.training.leaves import difference, fingerprint, storage


def test_generators_are_told_apart_by_their_states() -> None:
    first, same, other = (torch.Generator().manual_seed(seed) for seed in (0, 0, 1))
    assert fingerprint(first, (), ()) == fingerprint(same, (), ()) is not None
    assert fingerprint(first, (), ()) != fingerprint(other, (), ())
    torch.rand(1, generator=same)
    assert fingerprint(first, (), ()) != fingerprint(same, (), ())


@pytest.mark.parametrize(
    "other",
    [
        torch.tensor([1.0, 2.5]),
        torch.tensor([1.0, 2.0], dtype=torch.float64),
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([1.0]),
    ],
)
def test_tensors_are_told_apart_by_their_contents(other: torch.Tensor) -> None:
    """Alone and in what holds them."""
    value = torch.tensor([1.0, 2.0])
    for wrap in (lambda tensor: tensor, lambda tensor: {"kept": [tensor, 3]}):
        found = fingerprint(wrap(value), (), ())
        assert found == fingerprint(wrap(value.clone()), (), ()) is not None
        assert found != fingerprint(wrap(other), (), ())


def test_what_is_saved_elsewhere_is_left_out() -> None:
    """A change of a shared tensor, or of the owner, is none of the attribute's."""
    value, owner = torch.tensor([1.0, 2.0]), {"x": 1}
    known = ({id(owner)}, {storage(value)})
    before = fingerprint([value, owner], *known)
    value.mul_(2)
    owner["x"] = 2
    assert fingerprint([value, owner], *known) == before is not None
    assert fingerprint([value, owner], (), ()) != before


def test_what_cannot_be_compared() -> None:
    assert fingerprint(threading.Lock(), (), ()) is None


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 2]}, None),
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}, "b[1]"),
        ({"a": float("nan")}, {"a": float("nan")}, None),
        ({"a": 1}, {"a": 1, "b": None}, "b"),
        ({"a": 1, "b": None}, {"a": 1}, "b"),
        ({"a": torch.zeros(1)}, {"a": 0}, "a"),
        ({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, -0.0])}, "a"),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2)}, None),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(1, 2)}, "a"),
    ],
)
def test_the_first_leaf_that_differs(left: object, right: object, name: str | None) -> None:
    assert difference(left, right) == name
