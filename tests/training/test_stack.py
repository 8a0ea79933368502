"""The gradients of K models at once, beside those that each model has alone: the same bits."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models import MLP
from src.training import stack
from src.training.stack import Stack
from src.training.tape import NotStackedError, Want

STEPS = 3


class Convolution(nn.Module):
    """A convolution with batch norm, whose buffers change in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        layers = nn.Conv2d(1, 4, 3), self.norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        self.layers = nn.Sequential(*layers, nn.Linear(36, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs.view(-1, 1, 8, 8))
        return logits


class Attention(nn.Module):
    """Tokens, embedded, look at those before them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(10, 8), nn.LayerNorm(8)
        self.queries, self.keys, self.values = (nn.Linear(8, 8) for _ in range(3))
        self.out = nn.Linear(8, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.norm(self.embedding((inputs * 9).long()))
        looked = F.scaled_dot_product_attention(
            self.queries(x), self.keys(x), self.values(x), is_causal=True
        )
        logits: Tensor = self.out(looked[:, -1])
        return logits


MODELS: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {  # in, classes, batch
    "digits": (lambda: MLP(64, 10), 64, 10, 32),
    "a last batch": (lambda: MLP(64, 10), 64, 10, 29),
    "two layers": (lambda: MLP(30, 2, (20, 20), "tanh"), 30, 2, 16),
    "three classes": (lambda: MLP(13, 3, (50,)), 13, 3, 16),
    "long rows": (lambda: MLP(784, 10, (30,)), 784, 10, 64),
    "no hidden layer": (lambda: MLP(10, 4, ()), 10, 4, 8),
    "convolution": (Convolution, 64, 10, 8),
    "attention": (Attention, 6, 10, 8),
}


def cross_entropy(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs), targets)


def squares(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return (model(inputs) - torch.eye(10)[targets]).square().flatten(1).mean(1).mean()


def several(make: Callable[[], nn.Module], count: int) -> list[nn.Module]:
    """Models with other weights each, the same at every call."""
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(make())
    return models


def batches(count: int, inputs: int, classes: int, size: int) -> list[tuple[Tensor, Tensor]]:
    return [(torch.rand(size, inputs), torch.randint(classes, (size,))) for _ in range(count)]


def descend(model: nn.Module) -> None:
    with torch.no_grad():
        for param in model.parameters():
            assert param.grad is not None
            param -= 0.1 * param.grad
            param.grad = None


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits(name: str, count: int) -> None:
    make, inputs, classes, size = MODELS[name]
    alone, together = several(make, count), several(make, count)
    stacked = Stack(together)
    for _ in range(STEPS):
        drawn = batches(count, inputs, classes, size)
        wants = [
            Want(model, partial(cross_entropy, model), batch)
            for model, batch in zip(together, drawn, strict=True)
        ]
        losses = stacked.gradients(wants)
        for model, twin, batch, loss in zip(alone, together, drawn, losses, strict=True):
            value = cross_entropy(model, *batch)
            value.backward()
            assert loss.item() == value.item()
            for param, other in zip(model.parameters(), twin.parameters(), strict=True):
                assert param.grad is not None and other.grad is not None
                assert torch.equal(param.grad, other.grad)
                assert param.grad.stride() == other.grad.stride()
            for buffer, of_twin in zip(model.buffers(), twin.buffers(), strict=True):
                assert torch.equal(buffer, of_twin)
            descend(model)
            descend(twin)


def test_another_loss() -> None:
    alone, together = several(lambda: MLP(64, 10), 4), several(lambda: MLP(64, 10), 4)
    drawn = batches(4, 64, 10, 32)
    wants = [Want(m, partial(squares, m), batch) for m, batch in zip(together, drawn, strict=True)]
    losses = Stack(together).gradients(wants)
    for model, twin, batch, loss in zip(alone, together, drawn, losses, strict=True):
        squares(model, *batch).backward()
        assert float(loss) == squares(model, *batch).item()
        for param, other in zip(model.parameters(), twin.parameters(), strict=True):
            assert param.grad is not None and other.grad is not None
            assert torch.equal(param.grad, other.grad)


def linear(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A loss whose gradient doesn't follow from the outputs."""
    return (model(inputs) * inputs.mean()).mean()


@pytest.mark.parametrize("bias", [True, False])
def test_a_loss_is_that_before_the_step(bias: bool) -> None:
    """Though it is asked for afterwards, and read from the weights that the step moved."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3, bias=bias))

    models, drawn = several(make, 4), batches(4, 6, 3, 8)
    alone = [linear(model, *batch).item() for model, batch in zip(models, drawn, strict=True)]
    wants = [Want(m, partial(linear, m), batch) for m, batch in zip(models, drawn, strict=True)]
    losses = Stack(models).gradients(wants)
    for model in models:
        descend(model)
    assert [loss.item() for loss in losses] == alone


def test_models_that_want_nothing_are_left_as_they_are() -> None:
    """Others' gradients, and the buffers that every pass changes."""
    models = several(Convolution, 4)
    stacked = Stack(models)
    drawn = batches(4, 64, 10, 8)
    before = [buffer.clone() for buffer in models[2].buffers()]
    wants = [Want(models[k], partial(cross_entropy, models[k]), drawn[k]) for k in (0, 1, 3)]
    stacked.gradients(wants)
    assert all(param.grad is None for param in models[2].parameters())
    for buffer, was in zip(models[2].buffers(), before, strict=True):
        assert torch.equal(buffer, was)
    assert all(param.grad is not None for param in models[3].parameters())


class Dropping(MLP):
    """Draws random numbers."""

    def forward(self, inputs: Tensor) -> Tensor:
        return F.dropout(super().forward(inputs), 0.5)


class Looking(MLP):
    """What it does depends on a number that it has computed."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits = super().forward(inputs)
        return -logits if logits.sum().item() > 0 else logits


class Idle(MLP):
    """Has a parameter that does nothing."""

    def __init__(self) -> None:
        super().__init__(64, 10)
        self.idle = nn.Parameter(torch.zeros(1))


def unlike(seed: int) -> nn.Module:
    """A model that counts itself."""
    model = MLP(64, 10)
    model.register_forward_hook(lambda *call: call[2] * (1 + seed))
    return model


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Dropping(64, 10), "draws random numbers"),
        (lambda: Looking(64, 10), "_local_scalar_dense"),
        (Idle, "a gradient doesn't follow"),
    ],
)
def test_what_cannot_be_stacked(make: Callable[[], nn.Module], says: str) -> None:
    models = several(make, 4)
    drawn = batches(4, 64, 10, 8)
    wants = [
        Want(m, partial(cross_entropy, m), batch) for m, batch in zip(models, drawn, strict=True)
    ]
    with pytest.raises(NotStackedError, match=says):
        Stack(models).gradients(wants)
    assert all(param.grad is None for model in models for param in model.parameters())


def test_a_model_that_does_something_else_is_found_out() -> None:
    models = [unlike(seed) for seed in range(4)]
    drawn = batches(4, 64, 10, 8)
    wants = [
        Want(m, partial(cross_entropy, m), batch) for m, batch in zip(models, drawn, strict=True)
    ]
    with pytest.raises(NotStackedError, match="don't give the bits"):
        Stack(models).gradients(wants)


@pytest.mark.parametrize(
    "models",
    [[MLP(64, 10), MLP(64, 10, (50,))], [nn.Flatten(), nn.Flatten()]],
    ids=["other shapes", "no parameters"],
)
def test_models_that_are_not_alike(models: list[nn.Module]) -> None:
    with pytest.raises(NotStackedError):
        Stack(models)


def test_an_operation_whose_stacked_form_has_other_bits_is_done_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rounded(left: Tensor, right: Tensor) -> Tensor:
        return torch.bmm(left, right) * (1 + 1e-6)

    monkeypatch.setitem(stack.STACKED, torch.ops.aten.mm.default, rounded)
    test_the_same_bits("digits", 3)


def test_each_row_begins_as_memory_of_its_own_would() -> None:
    models = several(lambda: MLP(13, 3, (5,)), 3)
    Stack(models)
    assert all(p.data_ptr() % 64 == 0 for model in models for p in model.parameters())
