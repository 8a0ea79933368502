"""Models evaluated at once, beside each alone: the same numbers."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from src.data import Split
from src.losses import MSE, CrossEntropy, Loss
from src.models import MLP
from src.shapes import Shapes
from src.training import evaluation
from src.training.looks import Look, Looks
from src.training.stack import Stack
from src.training.tape import NotStackedError
from src.training.together import Together
from tests.training.test_stack import Convolution, cross_entropy, several

CLASSES, NUMBERS = CrossEntropy(), MSE()
CLASSES.bind(Shapes((64,), classes=10))
NUMBERS.bind(Shapes((64,), target=(1,)))
CASES: list[tuple[Callable[[], nn.Module], Loss]] = [
    (lambda: MLP(64, 10), CLASSES),
    (Convolution, CLASSES),
    (lambda: MLP(64, 1, ()), NUMBERS),
]


def looks(make: Callable[[], nn.Module], loss: Loss, count: int, size: int = 50) -> list[Look]:
    targets = torch.randint(10, (size,)) if loss is CLASSES else torch.randn(size, 1)
    data = Split(torch.rand(size, 64), targets)
    return [Look(model, loss, data) for model in several(make, count)]


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize(("make", "loss"), CASES, ids=["classes", "buffers", "numbers"])
def test_the_same_numbers(
    make: Callable[[], nn.Module], loss: Loss, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all and of some, before and after they moved, in parts; the models stay as they are."""
    monkeypatch.setattr(evaluation, "BATCH", 20)
    wanted = looks(make, loss, count)
    made = Looks(Stack([look.model for look in wanted]))
    for some in (wanted, wanted[::2], wanted[::-1]):
        assert made.means(some) == [look.alone() for look in some]
        assert all(look.model.training for look in wanted)
        with torch.no_grad():
            for look in wanted:
                for param in look.model.parameters():
                    param += 0.1 * torch.randn(param.shape)
    assert len(made.programs) == 1


def test_sets_that_share_their_inputs() -> None:
    """Each is evaluated with its own targets."""
    clean = looks(*CASES[0], 4)
    data = Split(clean[0].data.inputs, clean[0].data.targets.flip(0))
    noisy = [Look(look.model, look.loss, data) for look in clean]
    made = Looks(Stack([look.model for look in clean]))
    for some in (clean, noisy, clean):
        assert made.means(some) == [look.alone() for look in some]


def test_sets_that_share_their_inputs_in_one_hub() -> None:
    clean = looks(*CASES[0], 8)
    data = Split(clean[0].data.inputs, clean[0].data.targets.flip(0))
    wanted = [Look(each.model, each.loss, data) if at % 2 else each
              for at, each in enumerate(clean)]  # fmt: skip
    right = [look.alone() for look in wanted]
    hub: Together[tuple[int, dict[str, float]]] = Together(8)

    def task(at: int, look: Look) -> tuple[int, dict[str, float]]:
        batch = look.data.inputs[:8], look.data.targets[:8]
        hub.backward("kind", look.model, partial(cross_entropy, look.model), batch)
        return at, hub.evaluate("kind", look.model, look.loss, look.data)

    found = dict(hub.run([partial(task, at, look) for at, look in enumerate(wanted)]))
    assert [found[at] for at in range(8)] == right
    assert hub.looks["kind"].programs


class Noisy(MLP):
    """Draws wherever it is."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs + torch.rand(inputs.shape))


def test_a_model_that_draws_is_evaluated_alone() -> None:
    wanted = looks(lambda: Noisy(64, 10), CLASSES, 3)
    with pytest.raises(NotStackedError, match="draws"):
        Looks(Stack([look.model for look in wanted])).means(wanted)
    assert all(look.model.training for look in wanted)


class Counted(MLP):
    factor = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * self.factor


def test_what_does_not_agree_is_seen() -> None:
    """What was recorded of one model isn't what another does."""
    wanted = looks(lambda: Counted(64, 10), CLASSES, 3)
    wanted[2].model.factor = 2.0  # type: ignore[assignment]
    with pytest.raises(NotStackedError, match="evaluated together"):
        Looks(Stack([look.model for look in wanted])).means(wanted)
