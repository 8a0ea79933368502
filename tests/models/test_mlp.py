"""The multilayer perceptron."""

import numpy as np
import pytest
import torch
from torch import nn

from src.models import MLP


def test_equals_plain_arithmetic() -> None:
    net = MLP(12, 3, [5, 4], "relu")
    values = [p.detach().double().numpy() for p in net.parameters()]
    inputs = torch.randn(7, 1, 3, 4)
    hidden = inputs.flatten(1).double().numpy()
    for index in (0, 2):
        hidden = np.maximum(hidden @ values[index].T + values[index + 1], 0)
    expected = hidden @ values[4].T + values[5]
    np.testing.assert_allclose(net(inputs).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_is_the_originals_network() -> None:
    """Same layers drawn in the same order: the notebook's weights from the same seed."""
    torch.manual_seed(0)
    original = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    torch.manual_seed(0)
    ours = MLP(784, 10)
    for theirs, mine in zip(original.parameters(), ours.parameters(), strict=True):
        assert torch.equal(theirs, mine)
    assert sum(p.numel() for p in ours.parameters()) == 79_510


def test_without_hidden_layers() -> None:
    assert [p.shape for p in MLP(6, 2, []).parameters()] == [(2, 6), (2,)]


@pytest.mark.parametrize("sizes", [[0], [-1], [1.5], [True], ["9"]])
def test_bad_sizes(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="hidden_sizes must be integers >= 1"):
        MLP(4, 2, sizes)
