"""What a run is tried for before it leaves anything."""

import pytest
import torch
from torch import Tensor, nn

from src.data.splits import Split
from src.training.leaves import fingerprint
from src.training.rehearsal import try_model, try_steps
from src.training.state import Pair

DATA = Split(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 2)


class OnlyTrains(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            raise RuntimeError("no evaluation")
        return super().forward(input)


def test_a_model_that_cannot_be_evaluated() -> None:
    """It would train for hours, and fail at its first evaluation."""
    try_model(nn.Linear(3, 2), DATA, 2)
    with pytest.raises(RuntimeError, match="no evaluation"):
        try_model(OnlyTrains(3, 2), DATA, 2)


def test_groups_without_a_rate() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    try_steps(Pair(model, optimizer), DATA)
    for group in optimizer.param_groups:
        del group["lr"]
    with pytest.raises(ValueError, match="no lr"):
        try_steps(Pair(model, optimizer), DATA)


def test_generators_are_told_apart_by_their_states() -> None:
    first, same, other = (torch.Generator().manual_seed(seed) for seed in (0, 0, 1))
    assert fingerprint(first, (), ()) == fingerprint(same, (), ()) is not None
    assert fingerprint(first, (), ()) != fingerprint(other, (), ())
    torch.rand(1, generator=same)
    assert fingerprint(first, (), ()) != fingerprint(same, (), ())
