"""Each method takes the steps that its twin in torch.optim takes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.optimizers.references import TWINS, Settings

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
COMMON: list[Settings] = [
    {},
    {"lr": 0.01},
    {"weight_decay": 0.1},
    {"maximize": True},
    {"weight_decay": 0.1, "maximize": True},
]


def difference(ours: Tensor, twin: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((ours - twin).abs().max() / twin.abs().max())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("settings", COMMON, ids=str)
@pytest.mark.parametrize("name", TWINS)
def test_network(name: str, settings: Settings, dtype: torch.dtype, fused: bool) -> None:
    ours, twin, extra = TWINS[name]
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).to(
        dtype
    )
    x, y = torch.randn(32, 12, dtype=dtype), torch.randint(0, 4, (32,))
    copies = [p.detach().clone() for p in net.parameters()]
    theirs = twin(net.parameters(), foreach=False, **{"lr": 1e-3, **extra, **settings})
    mine = ours(copies, **settings, fused=fused)
    for _ in range(100):
        theirs.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        for copy, param in zip(copies, net.parameters(), strict=True):
            copy.grad = param.grad
        theirs.step()
        mine.step()
    for copy, param in zip(copies, net.parameters(), strict=True):
        assert difference(copy, param.detach()) < TOLERANCE[dtype]
