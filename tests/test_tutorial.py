"""Two epochs of the tutorial on MNIST land on the figures that its notebook's loop gives."""

import math
import statistics
from functools import cache

import pytest

from src.config import parse
from src.data import load
from src.training.build import assemble
from src.training.evaluation import Evaluator
from src.training.loop import Position, Row, train
from tests.helpers import composed

SEEDS = (1, 2, 3)

# Test loss after the first epoch: mean and standard deviation over 8 seeds of a plain
# implementation of the same training.
FIGURES = {
    "sgd": (2.133, 0.020),
    "momentum": (0.603, 0.010),
    "nesterov": (0.603, 0.010),
    "adam": (0.198, 0.004),
}
# Ours and theirs both vary, hence the standard error of a difference of means. With 7 degrees of
# freedom behind the deviation, 4 errors are a two-sided chance of 0.5%; the seeds are fixed.
ERRORS = 4 * math.sqrt(1 / 8 + 1 / len(SEEDS))


@cache
def epochs(root: str, optimizer: str, seed: int, *changes: str) -> list[Row]:
    """The rows at the ends of the first two epochs."""
    tutorial = ("experiment=tutorial", f"data.root={root}", "trainer.device=cpu")
    config = parse(composed(*tutorial, f"optimizer={optimizer}", f"seed={seed}", *changes))
    parts = assemble(config)
    return list(
        train(
            parts.model,
            parts.loss,
            parts.optimizer,
            parts.schedule,
            parts.batches,
            Evaluator(parts, ["test"]),
            Position(),
            seed=config.seed,
            epochs=2,
            evaluate_every=60_000,
        )
    )


@pytest.mark.parametrize(
    "optimizer",
    [name if name == "adam" else pytest.param(name, marks=pytest.mark.slow) for name in FIGURES],
)
def test_lands_on_the_figures(mnist_root: str, optimizer: str) -> None:
    mean, deviation = FIGURES[optimizer]
    runs = [epochs(mnist_root, optimizer, seed) for seed in SEEDS]
    losses = [first["test_loss"] for first, _ in runs]
    assert abs(statistics.mean(losses) - mean) < ERRORS * deviation, losses
    assert all(second["test_loss"] < first["test_loss"] for first, second in runs)


def test_another_learning_rate_does_not(mnist_root: str) -> None:
    """The bound is narrow enough to see one setting off by a fifth."""
    mean, deviation = FIGURES["momentum"]
    first, _ = epochs(mnist_root, "momentum", SEEDS[0], "optimizer.lr=0.0012")
    assert abs(first["test_loss"] - mean) > ERRORS * deviation


def test_all_images_train(mnist_root: str) -> None:
    assert (
        len(load({"_target_": "src.data.mnist.load", "root": mnist_root}, 0.0, 0).train) == 60_000
    )
