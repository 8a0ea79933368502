"""Every method, and every problem, at once and alone: the same rows, weights and records."""

from itertools import count
from pathlib import Path

import pytest

from src.config import CONF
from tests.helpers import Session
from tests.training.test_together import Left, both

METHODS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
DOWNLOADED = ("cifar10", "fashion_mnist", "kmnist", "mnist")
PROBLEMS = sorted(
    path.stem for path in (CONF / "problem").glob("*.yaml") if path.stem not in DOWNLOADED
)
FEW = ("adam", "rmsprop", "muon")  # by a kernel, by a rule, and each alone
QUICK = ("adam", "lion", "schedule_free_adamw")
SIZES = (1, 3, 8)
ALONE: dict[tuple[str, ...], Left] = {}  # of three runs at once one is that of one


def slow_unless(quick: bool, *values: object) -> object:
    return pytest.param(*values, marks=() if quick else pytest.mark.slow)


def settings(method: str, size: int) -> list[tuple[str, ...]]:
    """Runs that differ in seed and learning rate, but for two of them."""
    rates = [f"optimizer.lr={0.003 * (1 + k // 2)}" for k in range(size)]
    return [
        (f"optimizer={method}", f"seed={k}", *([] if method == "prodigy" else [rate]))
        for k, rate in zip(count(), rates, strict=False)
    ]


@pytest.mark.parametrize(
    ("method", "size"),
    [slow_unless(m in QUICK and k == 8, m, k) for m in METHODS for k in SIZES],
)
def test_methods(session: Session, method: str, size: int) -> None:
    hub = both(session.folder, settings(method, size), size=size, known=ALONE)
    assert not hub.alone
    steps = [of for each in hub.steps.values() for of in each.several]
    if method in QUICK and size == 8:
        assert len(steps) == 1


@pytest.mark.parametrize(
    ("problem", "method", "size"),
    [
        slow_unless(p in ("wine", "breast_cancer") and m == "adam" and k == 8, p, m, k)
        for p in PROBLEMS
        for m in FEW
        for k in SIZES
    ],
)
def test_problems(session: Session, problem: str, method: str, size: int) -> None:
    """Those that can't be stacked say why, and are the same, too."""
    short = "trainer.epochs=1", "trainer.evaluate_every=10000"
    several = [(f"problem={problem}", *short, *each) for each in settings(method, size)]
    both(session.folder, several, size=size, known=ALONE)


def test_the_tables_are_stacked_whole(session: Session) -> None:
    """Their last batches, and what looks at them, too; no run takes a step alone but its first."""
    root: Path = session.folder
    for problem in ("wine", "diabetes"):
        short = f"problem={problem}", "trainer.epochs=2"
        hub = both(root / problem, [(*short, f"seed={k}") for k in range(4)])
        assert not hub.alone
        assert [len(each.programs) for each in hub.looks.values()] == [1]
