"""Optimizers that are told when they train, and those that evaluate a batch themselves."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.config import parse
from src.data import Batches, Split
from src.losses import CrossEntropy
from src.models import MLP
from src.replay import replay
from src.shapes import Shapes
from src.targets import ALLOWED_TARGETS
from src.training.build import build_loss, load_data
from src.training.evaluation import evaluate
from src.training.loop import Position, stepper, train, training_loss, wants_closure
from src.training.result import weights_sha256
from src.training.state import Pair
from src.training.weights import judged, switches
from tests.helpers import Session, composed, result, rows
from tests.own_parts import ScheduleFree, Sharp

SEED, BATCH = 0, 16
LOSS = CrossEntropy()
LOSS.bind(Shapes((1, 1, 4), classes=2))


def data() -> Split:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(100, 1, 1, 4, generator=generator)
    return Split(inputs, (inputs[:, 0, 0, 0] > 0).long())


def model() -> nn.Module:
    torch.manual_seed(0)
    return MLP(4, 2, [5])


def trained(kind: Any, every: int = 50, **settings: Any) -> tuple[nn.Module, Any, list[Any]]:
    """The model, its optimizer, and digests of the weights that were evaluated."""
    net = model()
    optimizer, seen = kind(net.parameters(), **settings), list[Any]()

    def evaluate() -> dict[str, float]:
        with judged(net, optimizer):
            seen.append(weights_sha256(net))
        return {}

    batches, given = Batches(data(), BATCH), {"seed": SEED, "epochs": 2, "evaluate_every": every}
    run = train(net, LOSS, optimizer, lambda step: 1.0, batches, evaluate, Position(), **given)
    for _ in run:
        pass
    return net, optimizer, seen


def by_hand() -> tuple[list[Tensor], list[Tensor]]:
    """Schedule-Free SGD as its paper writes it, in double: y, where it trains, and x."""
    net = model().double()
    z = [param.detach().clone() for param in net.parameters()]
    x, k, beta, lr = [each.clone() for each in z], 0, 0.9, 0.3
    for epoch in (1, 2):
        for inputs, targets in Batches(data(), BATCH).epoch(SEED, epoch):
            with torch.no_grad():
                for y, at_z, at_x in zip(net.parameters(), z, x, strict=True):
                    y.copy_((1 - beta) * at_z + beta * at_x)
            net.zero_grad()
            F.cross_entropy(net(inputs.double()), targets).backward()
            k += 1
            for y, at_z, at_x in zip(net.parameters(), z, x, strict=True):
                assert y.grad is not None
                at_z -= lr * y.grad
                at_x += (at_z - at_x) / k
    y = [(1 - beta) * at_z + beta * at_x for at_z, at_x in zip(z, x, strict=True)]
    return y, x


def test_it_trains_at_other_weights_than_it_is_judged_by() -> None:
    net, optimizer, _ = trained(ScheduleFree)
    y, x = by_hand()
    for param, expected in zip(net.parameters(), y, strict=True):
        torch.testing.assert_close(param.detach().double(), expected, rtol=1e-5, atol=1e-6)
    with judged(net, optimizer):
        for param, expected in zip(net.parameters(), x, strict=True):
            torch.testing.assert_close(param.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_evaluating_leaves_no_trace() -> None:
    """Though the way back rounds: ten evaluations an epoch or one, the same bits."""
    often, _, seen = trained(ScheduleFree, every=16)
    seldom, _, few = trained(ScheduleFree, every=1000)
    assert (len(seen), len(few)) == (14, 2)
    assert weights_sha256(often) == weights_sha256(seldom)
    assert seen[-1] == few[-1] != weights_sha256(seldom)


def test_a_checkpoint_holds_both_weights() -> None:
    net, optimizer, seen = trained(ScheduleFree)
    state = Pair(net, optimizer).state_dict()
    kept = model()
    kept.load_state_dict(state["model"])
    assert weights_sha256(kept) == seen[-1]  # those to be used
    other = model()
    pair = Pair(other, ScheduleFree(other.parameters()))
    pair.load_state_dict(copy.deepcopy(state))
    assert weights_sha256(other) == weights_sha256(net)  # those to go on from


def test_a_failing_evaluation_leaves_it_training() -> None:
    net, optimizer, _ = trained(ScheduleFree)
    before = weights_sha256(net)
    with pytest.raises(KeyboardInterrupt), judged(net, optimizer):
        assert weights_sha256(net) != before
        raise KeyboardInterrupt
    assert weights_sha256(net) == before
    assert all(group["train_mode"] for group in optimizer.param_groups)


def test_plain_optimizers_are_left_alone() -> None:
    net, optimizer, seen = trained(torch.optim.SGD, lr=0.1)
    assert seen[-1] == weights_sha256(net)
    assert Pair(net, optimizer).state_dict()["trained"] == {}


def test_who_wants_a_closure() -> None:
    params = [nn.Parameter(torch.zeros(2))]
    assert wants_closure(torch.optim.LBFGS(params))
    assert wants_closure(Sharp(params))
    assert not wants_closure(torch.optim.Adam(params))
    assert not wants_closure(ScheduleFree(params))


@pytest.mark.parametrize(
    ("kind", "settings"), [(torch.optim.LBFGS, {"lr": 0.1}), (Sharp, {"lr": 0.1})]
)
def test_a_closure_is_the_batchs_loss(kind: Any, settings: dict[str, Any]) -> None:
    """The same steps as of a loop that follows torch's documentation."""
    net, _, _ = trained(kind, **settings)
    other = model()
    optimizer = kind(other.parameters(), **settings)
    for epoch in (1, 2):
        for inputs, targets in Batches(data(), BATCH).epoch(SEED, epoch):

            def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(other(inputs), targets)
                loss.backward()
                return loss

            optimizer.step(closure)
    assert weights_sha256(other) == weights_sha256(net)


def test_the_loss_is_that_from_before_the_step() -> None:
    net, split = model(), data()
    before = F.cross_entropy(net(split.inputs), split.targets).item()
    step = stepper(torch.optim.LBFGS(net.parameters()), partial(training_loss, net, LOSS))
    assert step(split.inputs, split.targets).item() == before
    assert F.cross_entropy(net(split.inputs), split.targets).item() < before
    assert all(param.grad is None for param in net.parameters())


def test_the_result_is_of_the_weights_it_is_judged_by(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The digest, the last row and the checkpoint are of the same weights."""
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", [*ALLOWED_TARGETS, "tests.own_parts.*"])
    answer = session.train(
        "optimizer=sgd",
        "optimizer._target_=tests.own_parts.ScheduleFree",
        "optimizer.lr=1.0",
        "trainer.epochs=1",
        "trainer.evaluate_at_end=[val]",
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    assert (answer.status, answer.err) == (0, "")
    came_to = result(tmp_path / "run")
    assert came_to["at_end"]["val_loss"] == rows(tmp_path / "run")[-1]["val_loss"]
    (newest,) = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[-1:]
    kept = torch.load(newest, weights_only=True)
    net = MLP(64, 10, [100])
    net.load_state_dict(kept["model"])
    assert weights_sha256(net) == came_to["weights_sha256"]
    net.load_state_dict(kept["trained"])
    assert weights_sha256(net) != came_to["weights_sha256"]


@pytest.mark.parametrize(
    ("method", "beta"), [("schedule_free_adamw", "betas"), ("schedule_free_sgd", "momentum")]
)
def test_a_schedule_free_run_ends_with_its_average(
    session: Session, tmp_path: Path, method: str, beta: str
) -> None:
    """Rows, result, checkpoint and a repeated run are at x, to the bit; training goes on at y."""
    folder = tmp_path / "run"
    answer = session.train(
        f"optimizer={method}",
        "trainer.epochs=2",
        "trainer.evaluate_at_end=[val]",
        f"hydra.run.dir={folder}",
    )
    assert (answer.status, answer.err) == (0, "")
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    kept = torch.load(newest, weights_only=True)
    net = MLP(64, 10, [100])
    net.load_state_dict(kept["model"])
    assert weights_sha256(net) == result(folder)["weights_sha256"]
    config = parse(composed(f"optimizer={method}"))
    data, loss = load_data(config), build_loss(config)
    loss.bind(data.shapes)
    value = evaluate(net, loss, data.val)["loss"]
    assert value == rows(folder)[-1]["val_loss"] == result(folder)["at_end"]["val_loss"]
    share = 1 - torch.tensor(config.optimizer[beta]).flatten()[0].item()
    for number, (name, value) in enumerate(kept["model"].items()):
        x, z = (kept["optimizer"]["state"][number][key] for key in "xz")
        assert torch.equal(value, x)
        torch.testing.assert_close(kept["trained"][name], x + share * (z - x))
        assert not torch.equal(value, kept["trained"][name])
    assert replay(folder, tmp_path / "again")


def test_a_closure_that_is_not_called() -> None:
    class Idle(Sharp):
        def step(self, closure: Any) -> None:
            pass

    net, split = model(), data()
    with pytest.raises(ValueError, match=r"its step\(\) didn't call the closure"):
        stepper(Idle(net.parameters()), partial(training_loss, net, LOSS))(
            split.inputs, split.targets
        )


def test_one_switch_is_none() -> None:
    """`train` without `eval` is something else."""

    class Half(torch.optim.SGD):
        def train(self) -> None:
            raise AssertionError("it was switched")

    net = model()
    half = Half(net.parameters(), lr=0.1)
    assert not switches(half)
    with judged(net, half):
        pass
    assert switches(ScheduleFree(net.parameters(), lr=0.1))
