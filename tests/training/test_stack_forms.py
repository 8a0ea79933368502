"""Forms of single operations for K models: which are used, and what refuses to be stacked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.losses import L1, MSE, BinaryCrossEntropy, CrossEntropy, Huber, Poisson
from src.models import MLP
from src.shapes import Shapes
from src.training import stack
from src.training.stack import Stack, same
from src.training.steps import Steps
from src.training.tape import NotStackedError, Want
from tests.training.test_stack import batches, cross_entropy, several
from tests.training.test_steps import drawn, step, wanting

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
K = 4


def compare(make: Callable[[], nn.Module], loss: Loss, given: list[Any], stacked: Stack) -> None:
    """The gradients and losses of a stack's models beside those of each alone."""
    twins = several(make, K)
    wants = [
        Want(m, partial(loss, m), batch) for m, batch in zip(stacked.models, given, strict=True)
    ]
    losses = stacked.gradients(wants)
    for model, twin, batch, value in zip(stacked.models, twins, given, losses, strict=True):
        right = loss(twin, *batch)
        right.backward()  # type: ignore[no-untyped-call]
        assert value.item() == right.item()
        for param, other in zip(model.parameters(), twin.parameters(), strict=True):
            assert same(param.grad, other.grad)  # type: ignore[arg-type]


def small() -> MLP:
    return MLP(6, 3, (5,))


def test_the_loss_and_its_gradient_are_made_for_all_at_once() -> None:
    """K calls of each were as long as a tenth of a small network's step."""
    stacked = Stack(several(small, K))
    compare(small, cross_entropy, batches(K, 6, 3, 8), stacked)
    (program,) = stacked.programs.values()
    assert {stack._nll, stack._nll_backward} <= {each.func for each in program.operations}


LOSSES: dict[str, tuple[Any, int, Shapes]] = {
    "weights": (CrossEntropy("balanced"), 3, Shapes((6,), classes=3)),
    "smoothing": (CrossEntropy(label_smoothing=0.1), 3, Shapes((6,), classes=3)),
    "both": (CrossEntropy([0.0, 1.0, 3.0], 0.2), 3, Shapes((6,), classes=3)),
    "neither": (CrossEntropy(), 3, Shapes((6,), classes=3)),
    "two classes": (BinaryCrossEntropy(), 1, Shapes((6,), (1,), classes=2)),
    "squares": (MSE(), 2, Shapes((6,), (2,))),
    "absolute": (L1(), 2, Shapes((6,), (2,))),
    "huber": (Huber(), 2, Shapes((6,), (2,))),
    "counts": (Poisson(), 2, Shapes((6,), (2,))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_of_the_losses_at_once(name: str) -> None:
    """With its settings: what it does after the sum over classes must be done for the number, too.

    It ended all runs of a comparison with class weights.
    """
    loss, outputs, shapes = LOSSES[name]
    draw = torch.Generator().manual_seed(0)
    classes, shape = shapes.classes, (8, *shapes.target)
    given = [
        (
            torch.rand(8, 6, generator=draw),
            torch.randint(classes, shape, generator=draw)
            if classes
            else torch.rand(shape, generator=draw),
        )
        for _ in range(K)
    ]
    loss.bind(shapes)
    loss.prepare(given[0][1], shapes)
    make = partial(MLP, 6, outputs, (5,))
    stacked = Stack(several(make, K))
    for _ in range(2):
        compare(make, lambda model, x, y: loss.training(model(x), y), given, stacked)


@pytest.mark.parametrize(
    "loss",
    [
        lambda model, x, y: 2 * F.cross_entropy(model(x), y),
        lambda model, x, y: F.cross_entropy(model(x), y).square(),
        lambda model, x, y: F.cross_entropy(model(x), y) + 0.1 * model(x).square().mean(),
        lambda model, x, y: F.cross_entropy(model(x), y) - model.layers[1].weight.norm(),
        lambda model, x, y: F.cross_entropy(model(x), y) * torch.arange(3.0)[2],
    ],
)
def test_a_loss_of_ones_own(loss: Loss) -> None:
    """A sum over classes that isn't the last thing it does."""
    compare(small, loss, batches(K, 6, 3, 8), Stack(several(small, K)))


@pytest.mark.parametrize("ignored", [-100, 0])
def test_targets_that_do_not_count(ignored: int) -> None:
    """In no batch that was compared, in some of another, in all of a third but one."""
    stacked = Stack(several(small, K))

    def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs), targets, ignore_index=ignored)

    for count in (0, 3, 7):
        given = batches(K, 6, 3, 8)
        for _, targets in given:
            targets.clamp_(min=1)
            targets[:count] = ignored
        compare(small, loss, given, stacked)
    assert len(stacked.programs) == 1


@pytest.mark.parametrize("how", ["sum", "none"])
def test_another_mean_of_the_losses(how: str) -> None:
    """Their stacked form is of the mean alone; it is seen that it gives something else."""

    def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs), targets, reduction=how).mean()

    compare(small, loss, batches(K, 6, 3, 8), Stack(several(small, K)))


def test_numbers_of_another_precision() -> None:
    """They are tried with numbers of their own precision."""

    def double() -> nn.Module:
        return small().double()

    given = [(x.double(), y) for x, y in batches(K, 6, 3, 8)]
    stacked = Stack(several(double, K))
    compare(double, cross_entropy, given, stacked)
    (program,) = stacked.programs.values()
    assert stack._nll_backward in {each.func for each in program.operations}


class Fixed(MLP):
    """Multiplies by a tensor that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__(6, 3, (5,))
        self.fixed = torch.arange(36.0).view(6, 6) / 36

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs @ self.fixed + self.fixed[0])


def test_what_all_have_in_common() -> None:
    stacked = Stack(several(Fixed, K))
    for _ in range(2):
        compare(Fixed, cross_entropy, batches(K, 6, 3, 8), stacked)


class Counting(MLP):
    """Keeps something in a tensor that is neither a parameter nor a buffer."""

    def __init__(self, what: str) -> None:
        super().__init__(6, 3, (5,))
        self.what, self.kept = what, torch.ones(6)

    def forward(self, inputs: Tensor) -> Tensor:
        kept = self.kept if self.what.startswith("own") else torch.ones(6)
        kept.add_(inputs.sum(0) if self.what.endswith("sum") else 1)
        return super().forward(inputs * kept)


@pytest.mark.parametrize("what", ["own count", "own sum", "new count", "new sum"])
def test_what_changes_a_constant_trains_alone(what: str) -> None:
    """Each has its own, of which a stack knows nothing."""
    models = several(lambda: Counting(what), K)
    wants = [Want(m, partial(cross_entropy, m), b)
             for m, b in zip(models, batches(K, 6, 3, 8), strict=True)]  # fmt: skip
    with pytest.raises(NotStackedError, match=r"changes a constant|the bits"):
        Stack(models).gradients(wants)


class Choosing(MLP):
    """Goes another way for another batch."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits = super().forward(inputs)
        return logits if torch.equal(inputs, inputs.round()) else -logits


def test_what_depends_on_the_equality_of_tensors_trains_alone() -> None:
    """All may go the same way in the batch that is compared, and not in the next."""
    models = several(lambda: Choosing(6, 3), K)
    wants = [Want(m, partial(cross_entropy, m), b)
             for m, b in zip(models, batches(K, 6, 3, 8), strict=True)]  # fmt: skip
    with pytest.raises(NotStackedError, match="may depend on"):
        Stack(models).gradients(wants)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (None, [1.0], False),
        ([1.0, 2.0], [1.0], False),
        ([1.0], [1.0], True),
        ([float("nan"), 1.0], [float("nan"), 1.0], True),
        ([float("nan"), 1.0], [2.0, 1.0], False),
        ([2.0, 1.0], [float("nan"), 1.0], False),
        ([float("nan"), 1.0], [float("nan"), 2.0], False),
        ([1.0], [1.0 + 2**-23], False),
    ],
)
def test_the_same_bits(one: list[float] | None, other: list[float], agree: bool) -> None:
    first = None if one is None else torch.tensor(one)
    assert same(first, torch.tensor(other)) is agree
    assert not same(torch.tensor(other).double(), torch.tensor(other))


def test_models_whose_parameters_need_no_gradient_are_refused() -> None:
    models = several(small, 2)
    next(models[1].parameters()).requires_grad_(False)
    with pytest.raises(NotStackedError, match="needs no gradient"):
        Stack(models)
    doubles = [*several(small, 1), small().double()]
    with pytest.raises(NotStackedError, match="other shapes"):
        Stack(doubles)


def test_a_program_is_used_by_the_next_stack_of_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was seen that it gives their bits as well; else one is made for them."""
    recorded, known, real = list[Want](), dict[Any, Any](), stack.record

    def record(want: Want) -> Any:
        recorded.append(want)
        return real(want)

    monkeypatch.setattr(stack, "record", record)
    for make in (small, small, partial(Scaled, 2.0)):
        compare(make, cross_entropy, batches(K, 6, 3, 8), Stack(several(make, K), known))
    assert len(recorded) == 2 and len(known) == 1


class Scaled(MLP):
    def __init__(self, factor: float) -> None:
        super().__init__(6, 3, (5,))
        self.factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * self.factor


def test_what_is_compared_changes_nothing() -> None:
    """The buffers of models are as they were, where they can't be stacked too."""

    class Averaging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.out = nn.BatchNorm1d(6), nn.Linear(6, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return F.dropout(self.out(self.norm(inputs)), 0.5)  # type: ignore[no-any-return]

    models = several(Averaging, K)
    before = [buffer.clone() for model in models for buffer in model.buffers()]
    wants = [Want(m, partial(cross_entropy, m), b)
             for m, b in zip(models, batches(K, 6, 3, 8), strict=True)]  # fmt: skip
    with pytest.raises(NotStackedError, match="draws random numbers"):
        Stack(models).gradients(wants)
    after = [buffer for model in models for buffer in model.buffers()]
    assert all(map(torch.equal, after, before))


def counting(ahead: int, count: int) -> list[Want]:
    """Optimizers of a rule that counts its steps; some have taken one more."""
    from src.optimizers import Adam

    wants = wanting(Adam, count, fused=False)
    step(wants)
    step(wants[:ahead])
    return wants


@pytest.mark.parametrize(
    ("ahead", "count", "taken"),
    [(1, 2, [False] * 2), (1, 4, [False, True, True, True]), (2, 4, [True] * 4)],
)
def test_those_that_have_taken_as_many_steps_step_at_once(
    ahead: int, count: int, taken: list[bool]
) -> None:
    """Two that differ have nobody to be compared with, so that nothing is known of their kind."""
    wants = counting(ahead, count)
    stacked = Stack([want.model for want in wants])
    made = Steps(stacked, {})
    assert made.step(wants, drawn(stacked)) == taken
    assert len(made.several) == any(taken) == len(made.agreed)


def test_what_steps_alone_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never taken for a kind of its own."""
    from src.optimizers import LAMB
    from src.training import steps as module

    asked, real = list[Any](), module.kind

    def kind(optimizer: Any) -> Any:
        asked.append(optimizer)
        return real(optimizer)

    wants = wanting(LAMB, 2)
    step(wants)
    monkeypatch.setattr(module, "kind", kind)
    stacked = Stack([want.model for want in wants])
    taking = Steps(stacked, {})
    for _ in range(3):
        assert taking.step(wants, drawn(stacked)) == [False, False]
    assert len(asked) == 2 and not taking.several


def test_an_optimizer_of_other_parameters_steps_alone() -> None:
    """Of some of the model's, say, in whatever order; so does a model without an optimizer."""
    from src.optimizers import SGD

    wants = wanting(SGD, 4)
    wants[0].optimizer = SGD([*wants[0].model.parameters()][::-1])
    wants[1].optimizer = None
    stacked = Stack([want.model for want in wants])
    assert Steps(stacked, {}).step(wants, drawn(stacked)) == [False, False, True, True]
