"""Each loss and metric against scikit-learn, torch or NumPy; gradients by finite differences."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as reference
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from src.losses import L1, MSE, BinaryCrossEntropy, CrossEntropy, Huber, Loss, Poisson
from src.shapes import Shapes

N, CLASSES = 40, 5


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, *shape, dtype=torch.float64, generator=generator) * 2


def classes(*shape: int, below: int = CLASSES) -> Tensor:
    return torch.randint(0, below, (N, *shape), generator=torch.Generator().manual_seed(1))


def bound(loss: Loss, shapes: Shapes) -> Loss:
    loss.bind(shapes)
    return loss


def means(loss: Loss, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    values = {"loss": loss.values(outputs, targets), **loss.measures(outputs, targets)}
    assert all(value.shape == (N,) for value in values.values())
    assert values.keys() == {"loss", *loss.metrics}
    assert loss.total(outputs, targets).item() == pytest.approx(values["loss"].sum().item())
    return {name: value.double().mean().item() for name, value in values.items()}


def softmax(outputs: Tensor) -> Any:
    values = np.exp(outputs.numpy())
    return values / values.sum(-1, keepdims=True)


def test_cross_entropy() -> None:
    outputs, targets = numbers(CLASSES), classes()
    measured = means(CrossEntropy(), outputs, targets)
    probabilities = softmax(outputs)
    expected = reference.log_loss(targets, probabilities, labels=range(CLASSES))
    assert measured["loss"] == pytest.approx(expected)
    assert measured["accuracy"] == reference.accuracy_score(targets, probabilities.argmax(1))
    assert CrossEntropy().training(outputs, targets).item() == pytest.approx(expected)


def test_cross_entropy_of_several_targets() -> None:
    """The mean over positions, of a language model say; outputs have the classes last."""
    outputs, targets = numbers(7, CLASSES), classes(7)
    loss = bound(CrossEntropy(), Shapes((7,), (7,), classes=CLASSES, vocabulary=9))
    assert loss.shape == (7, CLASSES)
    flat = outputs.flatten(0, 1), targets.flatten()
    measured = means(loss, outputs, targets)
    expected = reference.log_loss(flat[1], softmax(flat[0]), labels=range(CLASSES))
    assert measured["loss"] == pytest.approx(expected)
    right = reference.accuracy_score(flat[1], flat[0].argmax(1))
    assert measured["accuracy"] == pytest.approx(right)
    assert loss.training(outputs, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("weights", ["balanced", [1, 0, 2.5, 0.1, 3]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_and_smoothing(shape: tuple[int, ...], weights: Any, smoothing: float) -> None:
    """Trained on, by the sum of torch's weighted losses over the samples; not evaluated."""
    outputs, targets = numbers(*shape, CLASSES).float(), classes(*shape) % 4  # the last never is
    shapes = Shapes((2,), shape, classes=CLASSES)
    loss = bound(CrossEntropy(weights, smoothing), shapes)
    loss.prepare(targets, shapes)
    flat = targets.flatten().numpy()
    if weights == "balanced":
        weight = [*compute_class_weight("balanced", classes=np.arange(4), y=flat), 0.0]
        # scikit-learn counts the classes that are there, and here there are five.
        weight = [each * 4 / 5 for each in weight]
    else:
        weight = weights
    log = np.log(softmax(outputs.double().flatten(0, -2)))
    share = np.full((len(flat), CLASSES), smoothing / CLASSES)
    share[np.arange(len(flat)), flat] += 1 - smoothing
    expected = -(share * log * np.array(weight)).sum(1).mean()
    assert loss.training(outputs, targets).item() == pytest.approx(expected, rel=1e-5)
    assert means(loss, outputs, targets) == means(CrossEntropy(), outputs, targets)


def test_plain_settings_are_the_fused_kernel() -> None:
    """To the bit, as runs of earlier versions were made."""
    outputs, targets = numbers(CLASSES).float(), classes()
    loss = CrossEntropy(None, 0.0)
    assert torch.equal(loss.training(outputs, targets), F.cross_entropy(outputs, targets))
    total = F.cross_entropy(outputs, targets, reduction="sum")
    assert torch.equal(loss.total(outputs, targets), total)


def test_binary_cross_entropy() -> None:
    outputs, targets = numbers(), classes(below=2)
    loss = bound(BinaryCrossEntropy(), Shapes((3,), classes=2))
    assert loss.shape == ()
    measured = means(loss, outputs, targets)
    assert measured["loss"] == pytest.approx(reference.log_loss(targets, torch.sigmoid(outputs)))
    assert measured["accuracy"] == reference.accuracy_score(targets, outputs > 0)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_real_numbers(shape: tuple[int, ...]) -> None:
    outputs, targets = numbers(*shape), numbers(*shape, seed=1)
    flat = targets.reshape(N, -1), outputs.reshape(N, -1)
    squared = reference.mean_squared_error(*flat)
    absolute = reference.mean_absolute_error(*flat)
    assert means(MSE(), outputs, targets) == pytest.approx({"loss": squared, "mae": absolute})
    assert means(L1(), outputs, targets) == pytest.approx({"loss": absolute, "mse": squared})
    distance = np.abs((flat[0] - flat[1]).numpy())
    huber = np.where(distance < 1.5, distance**2 / 2, 1.5 * (distance - 0.75)).mean()
    assert means(Huber(1.5), outputs, targets) == pytest.approx({"loss": huber, "mae": absolute})


def test_poisson() -> None:
    outputs, counts = numbers(), classes().double()
    measured = means(Poisson(), outputs, counts)
    deviance = reference.mean_poisson_deviance(counts, outputs.exp())
    assert measured["loss"] == pytest.approx(deviance / 2)
    mae = reference.mean_absolute_error(counts, outputs.exp())
    assert measured["mae"] == pytest.approx(mae)
    perfect = (counts + 1).log()
    assert Poisson().values(perfect, counts + 1).abs().max() < 1e-12
    given = outputs.requires_grad_()
    ours = torch.autograd.grad(Poisson().training(given, counts), given)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(
        F.poisson_nll_loss(given, counts), given)[0])  # fmt: skip


GRADIENTS = {
    "cross_entropy": (CrossEntropy(), (CLASSES,), classes()),
    "smoothed": (CrossEntropy(label_smoothing=0.3), (CLASSES,), classes()),
    "binary": (BinaryCrossEntropy(), (), classes(below=2)),
    "mse": (MSE(), (3,), numbers(3, seed=2)),
    "l1": (L1(), (3,), numbers(3, seed=2)),
    "huber": (Huber(), (3,), numbers(3, seed=2)),
    "poisson": (Poisson(), (3,), classes(3).double()),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    loss, shape, targets = GRADIENTS[name]
    outputs = numbers(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss.training(given, targets), outputs)


REFUSED: list[tuple[Any, Shapes, str]] = [
    (CrossEntropy(), Shapes((2,)), "needs classes as targets, but those of the data are real num"),
    (MSE(), Shapes((2,), classes=3), "needs numbers as targets, but those of the data are 3 class"),
    (MSE(), Shapes((2,), (4,), classes=3), r"are 3 classes of the shape \(4,\)"),
    (BinaryCrossEntropy(), Shapes((2,), classes=3), "needs 2 classes, but the data have 3"),
    (
        CrossEntropy([1.0, 2.0]),
        Shapes((2,), classes=3),
        "class_weights has 2 numbers for 3",
    ),
]


@pytest.mark.parametrize(("loss", "shapes", "says"), REFUSED)
def test_data_that_a_loss_refuses(loss: Loss, shapes: Shapes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        loss.bind(shapes)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: CrossEntropy("even"), "class_weights must be null, balanced or a list, got even"),  # type: ignore[arg-type]
        (lambda: CrossEntropy([]), "class_weights must be null, balanced or a list"),
        (lambda: CrossEntropy([1.0, -1.0]), r"must be numbers >= 0, got \[1.0, -1.0\]"),
        (lambda: CrossEntropy(label_smoothing=1.0), r"must be in \[0, 1\), got 1.0"),
        (lambda: Huber(0.0), "delta must be > 0, got 0.0"),
        (lambda: Poisson().prepare(torch.tensor([1.0, -2.0]), Shapes((1,))), "there is a -2"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(made: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made()
