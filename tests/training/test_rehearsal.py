"""What a run is tried for before it leaves anything."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from src.data.splits import Split
from src.training.leaves import fingerprint
from src.training.rehearsal import try_checkpoint, try_model, try_steps
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


class Noisy(torch.optim.SGD):
    """Draws from torch's own generator, which a checkpoint keeps."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            for param in group["params"]:
                param.data.add_(torch.randn_like(param), alpha=0.1)


class Forgetful(torch.optim.SGD):
    """Its rate shrinks by a number that no state dict holds, and that is no attribute."""

    shrunk: ClassVar[dict[int, float]] = {}

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        rate = self.shrunk[id(self)] = self.shrunk.get(id(self), 1.0) / 2
        for group in self.param_groups:
            for param in group["params"]:
                param.data.add_(param.grad, alpha=-rate)


def pairs(kind: type[torch.optim.SGD]) -> tuple[Pair, Pair]:
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        made.append(Pair(model, kind(model.parameters(), lr=0.1)))
    return made[0], made[1]


def test_a_checkpoint_is_tried_with_the_same_random_numbers() -> None:
    pair, twin = pairs(Noisy)
    try_steps(pair, DATA)
    try_checkpoint(pair, twin, pair.state_dict(), DATA)


def test_a_checkpoint_that_forgets_is_refused() -> None:
    pair, twin = pairs(Forgetful)
    try_steps(pair, DATA)
    with pytest.raises(ValueError, match=r"two steps after a checkpoint model\.weight isn't what"):
        try_checkpoint(pair, twin, pair.state_dict(), DATA)
