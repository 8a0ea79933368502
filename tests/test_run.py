"""A run's pieces: what counts as best, when a row has diverged, what the weights' digest sees."""

import errno
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from src.config import parse
from src.data import load
from src.errors import InputError
from src.metrics import Direction, quantity
from src.results import Record, alone
from src.training.build import assemble
from src.training.checkpoints import Checkpoints
from src.training.device import set_up_torch
from src.training.loop import Position, Row
from src.training.progress import RunProgress
from src.training.result import diverged, weights_sha256
from src.training.run import Session, _one_line, run, snapshot
from tests.helpers import composed, result, rows
from tests.killing import outcome

SMALL = ("model=logreg", "data.batch_size=575", "trainer.checkpoint_every=null")


@pytest.fixture(autouse=True)
def settings_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def ran(
    folder: Path,
    *overrides: str,
    told: Callable[[Row], bool] = lambda row: False,
    keep_last: bool = True,
    resume: bool = False,
) -> dict[str, Any]:
    """A run's result, as it is returned; two steps an epoch."""
    folder.mkdir(exist_ok=True)
    given = [*SMALL, *overrides, *([f"resume={folder}"] if resume else [])]
    cfg = composed(*given)
    config = parse(cfg)
    cfg.resume = None
    return run(config, snapshot(cfg), folder, stop=told, keep_last=keep_last)


ROWS = [
    {"val_loss": 0.5, "val_accuracy": 0.7},
    {"val_loss": 0.3, "val_accuracy": 0.9},
    {"val_loss": math.nan, "val_accuracy": 0.1},
    {"val_loss": 0.3, "val_accuracy": 0.8},
]


def test_best_row() -> None:
    least, most = Direction.MINIMIZE, Direction.MAXIMIZE
    assert least.best(ROWS, itemgetter("val_loss")) is ROWS[1]
    assert most.best(ROWS, itemgetter("val_loss")) is ROWS[0]
    assert most.best(ROWS, itemgetter("val_accuracy")) is ROWS[1]
    assert least.best(ROWS[2:3], itemgetter("val_loss")) is None
    assert least.best([], itemgetter("val_loss")) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["batch_loss", "train_loss", "test_loss"])
def test_diverged(name: str, value: float) -> None:
    row = {"batch_loss": 1.0, "train_loss": 1.0, "test_loss": 1.0, "test_accuracy": 0.1}
    assert not diverged(row)
    assert diverged({**row, name: value})


def test_weights_digest_sees_every_bit() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # which holds a 0-dim tensor
    before = weights_sha256(net)
    assert weights_sha256(net) == before
    with torch.no_grad():
        net[0].bias[1] = torch.nextafter(net[0].bias[1], torch.tensor(9.0))
    after = weights_sha256(net)
    assert after != before
    net[1].num_batches_tracked += 1
    assert weights_sha256(net) != after


def test_weights_digest_sees_names_types_and_shapes() -> None:
    """The bytes are the same each time: all zeros."""

    def digest(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> str:
        net = nn.Module()
        net.register_parameter(name, nn.Parameter(torch.zeros(shape, dtype=dtype)))
        return weights_sha256(net)

    others = [digest("b", 2, 3), digest("a", 3, 2), digest("a", 6), digest("a", 3, 2)]
    others += [digest("a", 2, 6, dtype=torch.float16), digest("a", 2, 3, dtype=torch.float16)]
    assert len({digest("a", 2, 3), *others}) == 6


def test_the_seed_decides_the_weights_and_never_the_split() -> None:
    one, same, other = (assemble(parse(composed(f"seed={seed}"))) for seed in (1, 1, 2))
    assert weights_sha256(one.model) == weights_sha256(same.model)
    assert weights_sha256(one.model) != weights_sha256(other.model)
    assert torch.equal(one.data.val.inputs, other.data.val.inputs)
    assert torch.equal(one.data.train.targets, other.data.train.targets)
    third = assemble(parse(composed("data.split_seed=1")))
    assert not torch.equal(one.data.val.inputs, third.data.val.inputs)


def test_the_whole_run_has_as_many_steps_as_it_takes(tmp_path: Path) -> None:
    """1,150 samples in batches of 100 are 12 steps; the last is as good as any other."""
    settings = ("data.batch_size=100", "trainer.evaluate_every=1", "optimizer.lr=0.3")
    ran(tmp_path, *settings, "trainer.epochs=2", "scheduler=cosine", "scheduler.warmup_steps=4")
    rates = [0.3 * (step + 1) / 4 for step in range(4)]
    rates += [0.15 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert [row["lr"] for row in rows(tmp_path)] == pytest.approx(rates, rel=1e-12)
    assert [row["epoch"] for row in rows(tmp_path)] == [1] * 12 + [2] * 12
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 25))


SCRIPTS = {  # values of the metric; patience, min_delta; how it ends, rows, the best row
    "falling": ([3.0, 2.0, 1.0], None, 0.0, "completed", 3, 3),
    "best before the last": ([3.0, 1.0, 2.0], None, 0.0, "completed", 3, 2),
    "the first of equals": ([2.0, 1.0, 1.0], None, 0.0, "completed", 3, 2),
    "rising": ([1.0, 2.0, 3.0, 4.0, 5.0], 2, 0.0, "early_stopped", 3, 1),
    "patient": ([3.0, 4.0, 2.0, 3.0, 1.0], 2, 0.0, "completed", 5, 5),
    "too little": ([3.0, 2.75, 2.5, 0.0], 2, 0.5, "early_stopped", 3, 3),
    "at the end": ([1.0, 2.0, 3.0], 2, 0.0, "early_stopped", 3, 1),
}
MIRRORED = [  # the metric, its direction, the sign of its values, the row that counts
    ("val_loss", "minimize", 1, "last"),
    ("val_accuracy", "maximize", -1, "best"),
]
CASES = [(name, *mirrored) for name in SCRIPTS for mirrored in MIRRORED]
CASES += [
    ("best before the last", "val_loss", "minimize", 1, "best"),
    ("best before the last", "val_accuracy", "maximize", -1, "last"),
    ("best before the last", "val_loss", "maximize", -1, "best"),
    ("best before the last", "val_accuracy", "minimize", 1, "last"),
]


@pytest.mark.parametrize(("name", "metric", "direction", "sign", "counted"), CASES)
def test_what_counts_and_when_it_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    metric: str,
    direction: str,
    sign: int,
    counted: str,
) -> None:
    """A maximised metric ends and counts as the same values do that are minimised mirrored."""
    values, patience, delta, status, length, best = SCRIPTS[name]
    script(monkeypatch, metric, [sign * value for value in values])
    objective = {"metric": metric, "direction": direction, "row": counted}
    stopping = [f"trainer.early_stopping.patience={'null' if patience is None else patience}"]
    given = [f"objective.{key}={value}" for key, value in objective.items()]
    stopping += [f"trainer.early_stopping.min_delta={delta}", f"trainer.epochs={len(values)}"]
    end = ran(tmp_path, *given, *stopping)
    row = best if counted == "best" else length
    assert end["objective"] == {**objective, "value": sign * values[row - 1]}
    assert (end["status"], end["best"]["epoch"]) == (status, best)
    assert end["final"]["epoch"] == len(rows(tmp_path)) == length
    assert (end["steps"], end["samples"]) == (2 * length, 1150 * length)
    kept = result(tmp_path)
    assert kept == end
    assert (kept["best"], kept["final"]) == (rows(tmp_path)[best - 1], rows(tmp_path)[-1])


def script(monkeypatch: pytest.MonkeyPatch, metric: str, values: list[float]) -> None:
    """Let evaluations find these values of a metric, and 1 for the other."""
    left = iter(values)

    def evaluate(*given: object) -> dict[str, float]:
        return {"loss": 1.0, "accuracy": 1.0, quantity(metric): next(left)}

    monkeypatch.setattr("src.training.evaluation.evaluate", evaluate)


@pytest.mark.parametrize(
    ("direction", "worst", "bad", "counted"),
    [
        ("minimize", math.inf, math.nan, "best"),
        ("minimize", math.inf, -math.inf, "last"),
        ("maximize", -math.inf, math.nan, "last"),
        ("maximize", -math.inf, math.inf, "best"),
    ],
)
def test_a_diverged_run_counts_as_the_worst(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
    worst: float,
    bad: float,
    counted: str,
) -> None:
    """Whatever it had found before, and though it had no patience left either."""
    script(monkeypatch, "val_loss", [0.5, bad, 0.1])
    told: list[Row] = []
    settings = (f"objective.direction={direction}", f"objective.row={counted}")
    stopping = ("trainer.early_stopping.patience=1", "trainer.early_stopping.min_delta=9")
    end = ran(tmp_path, *settings, *stopping, told=lambda row: bool(told.append(row)))
    assert (end["status"], end["objective"]["value"]) == ("diverged", worst)
    assert len(rows(tmp_path)) == 2
    assert len(told) == 1  # a sweep isn't asked whether to prune a run that has ended
    assert end["best"]["val_loss"] == 0.5
    assert result(tmp_path)["objective"]["value"] is None
    assert rows(tmp_path)[1]["val_loss"] is result(tmp_path)["final"]["val_loss"] is None


@pytest.mark.parametrize(("at", "status"), [(1, "pruned"), (2, "pruned"), (3, "completed")])
def test_pruned_when_the_sweep_says_so(tmp_path: Path, at: int, status: str) -> None:
    """A run that is at its end anyway is complete."""
    told: list[Row] = []

    def prune(row: Row) -> bool:
        told.append(row)
        return len(told) == at

    settings = ("trainer.epochs=3", "trainer.checkpoint_every=100")
    end = ran(tmp_path, *settings, told=prune, keep_last=False)
    assert end["status"] == status
    assert told == rows(tmp_path)
    assert len(told) == at
    assert not (tmp_path / "checkpoints").exists()


def test_interrupted_and_gone_on_with(tmp_path: Path) -> None:
    """What it leaves, and that it then ends as if nobody had interrupted it."""
    settings = ("trainer.epochs=4", "trainer.checkpoint_every=0", "trainer.evaluate=[train,val]")
    settings += ("trainer.evaluate_at_end=[test]", "optimizer=nadam", "scheduler=linear")
    settings += ("trainer.early_stopping.patience=9",)
    whole, folder = ran(tmp_path / "whole", *settings), tmp_path / "part"

    def interrupt(row: Row) -> bool:
        if row["epoch"] == 3:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        ran(folder, *settings, told=interrupt)
    end = result(folder)
    assert (end["status"], end["at_end"]) == ("interrupted", {})
    assert end["final"] == rows(folder)[-1]
    assert (end["final"]["epoch"], end["steps"], end["samples"]) == (3, 6, 3450)
    assert end["objective"]["value"] == min(row["val_loss"] for row in rows(folder))
    before = rows(folder)[1]["wall_seconds"]
    again = ran(folder, *settings, resume=True)
    assert outcome(folder) == outcome(tmp_path / "whole")
    assert rows(folder)[2]["wall_seconds"] > before
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert again["eval_seconds"] > 0


def test_a_run_that_is_told_nothing_shows_itself_and_can_be_lengthened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last weights are kept, however long until the next checkpoint; a trial's are not."""
    cfg = composed(*SMALL, "trainer.epochs=2", "trainer.checkpoint_every=1000")
    folders = tmp_path / "one", tmp_path / "trial"
    for folder in folders:
        folder.mkdir()
    run(parse(cfg), snapshot(cfg), folders[0])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    run(parse(cfg), snapshot(cfg), folders[1], quiet=True, keep_last=False)
    assert capsys.readouterr().out == ""
    kept = [sorted(path.name for path in one.glob("checkpoints/*.pt")) for one in folders]
    assert kept == [["step-000000004.pt"], []]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_computes_as_its_config_says_from_the_start(tmp_path: Path, wanted: bool) -> None:
    """Whatever the process did before; with the threads of the one that it repeats."""
    torch.use_deterministic_algorithms(not wanted)
    torch.set_num_threads(3)
    seen: list[tuple[bool, int]] = []

    def look(row: Row) -> bool:
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()))
        return False

    cfg = composed(*SMALL, "trainer.epochs=1", f"trainer.deterministic={str(wanted).lower()}")
    for threads in (None, 2):
        folder = tmp_path / str(threads)
        folder.mkdir()
        run(parse(cfg), snapshot(cfg), folder, stop=look, threads=threads)
    assert seen == [(wanted, 1), (wanted, 2)]


def test_a_run_that_goes_on_adds_to_where_it_comes_from(tmp_path: Path) -> None:
    """What it began with stays; it goes on with the threads that it had."""
    settings = ("trainer.epochs=2", "trainer.checkpoint_every=0")
    cfg = composed(*SMALL, *settings)
    run(parse(cfg), snapshot(cfg), tmp_path, threads=2)
    place = tmp_path / "provenance.json"
    began = json.loads(place.read_text())
    place.write_text(json.dumps({**began, "python": "3.0"}))
    (tmp_path / "result.json").unlink()
    (tmp_path / "checkpoints" / "step-000000004.pt").unlink()
    ran(tmp_path, *settings, resume=True)
    told = json.loads(place.read_text())
    (again,) = told.pop("resumed")
    assert told == {**began, "python": "3.0"}
    assert (again["step"], again["python"]) == (2, began["python"])
    assert "threads" not in again and torch.get_num_threads() == 2
    assert result(tmp_path)["final"]["epoch"] == 2


def test_a_folder_is_one_runs_alone(tmp_path: Path) -> None:
    ran(tmp_path, "trainer.epochs=1")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="holds a run"):
        ran(tmp_path, "trainer.epochs=1")
    with alone(tmp_path), pytest.raises(InputError, match="another process is working there"):
        ran(tmp_path, "trainer.epochs=1")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_interrupted_before_its_first_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*given: object) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr("src.training.evaluation.evaluate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path)
    end = result(tmp_path)
    assert (end["status"], end["best"], end["final"]) == ("interrupted", None, None)
    assert (end["steps"], end["samples"], end["train_seconds"]) == (0, 0, 0.0)
    assert end["objective"]["value"] is None


def test_evaluated_at_the_end(tmp_path: Path) -> None:
    """Sets that rows don't hold, by the last weights and not the best."""
    settings = ("optimizer.lr=0.5", "trainer.epochs=3", "trainer.evaluate=[val,test]")
    end = ran(tmp_path / "one", *settings, "trainer.evaluate_at_end=[test,train]")
    other = ran(tmp_path / "other", *settings, "trainer.evaluate=[train,val]")
    assert end["at_end"] == {
        "test_loss": end["final"]["test_loss"],
        "test_accuracy": end["final"]["test_accuracy"],
        "train_loss": other["final"]["train_loss"],
        "train_accuracy": other["final"]["train_accuracy"],
    }
    assert other["at_end"] == {}
    assert "train_loss" not in end["final"]


def test_the_config_is_known_by_its_digest(tmp_path: Path) -> None:
    """SHA-256 of config.yaml as JSON, its keys in order and no blanks between.

    It is written as versions wrote it that knew the data by name and had no other loss.
    """
    settings = ("seed=7", "+search.one_minus_beta1=0.25", "trainer.epochs=1")
    end = ran(tmp_path, *settings)
    kept = OmegaConf.to_container(OmegaConf.load(tmp_path / "config.yaml"), resolve=False)
    assert isinstance(kept, dict)
    assert (kept["seed"], kept["resume"], kept["trainer"]["epochs"]) == (7, None, 1)
    for key in ("drop_last", "shuffle", "_target_"):
        del kept["data"][key]
    kept["data"] |= {"name": "digits", "root": None}
    del kept["loss"], kept["sampler"]["batch"]
    for key in ("clip_norm", "accumulate", "stack"):
        del kept["trainer"][key]
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    assert end["config_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert end["seed"] == 7
    assert end["parameters"] == 64 * 10 + 10


def test_where_a_run_comes_from(tmp_path: Path) -> None:
    ran(tmp_path, "seed=7", "data.split_seed=3", "trainer.epochs=1", "trainer.threads=2")
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert (facts["seed"], facts["threads"], facts["device"]) == (7, 2, "cpu")
    assert facts["data_sha256"] == load({"_target_": "src.data.digits.load"}, 0.2, 0).sha256
    assert (facts["python"], facts["packages"]["torch"]) == (
        ".".join(map(str, sys.version_info[:3])),
        str(torch.__version__).partition("+")[0],
    )


@pytest.mark.parametrize(
    ("every", "saved"), [(None, []), (0, [0, 4, 10, 11, 25]), (10, [10, 25]), (12, [25]), (99, [])]
)
def test_when_a_checkpoint_is_written(
    tmp_path: Path, every: float | None, saved: list[float]
) -> None:
    """At rows, as soon as so many seconds of training have passed since the last one."""
    given = f"trainer.checkpoint_every={'null' if every is None else every}"
    session = Session(parse(composed(*SMALL, given)), tmp_path)
    session.record.row({})
    steps: list[int] = []
    session.checkpoints.save = lambda step, state: steps.append(step)  # type: ignore[method-assign]
    for seconds in (0, 4, 10, 11, 25):
        session.at.train_seconds = session.at.step = seconds
        session.save(None)
    assert steps == saved
    session.save("completed", force=True)
    assert steps == saved + ([25] if every is not None else [])


def test_what_a_run_saves_it_restores(tmp_path: Path) -> None:
    """Clocks, counters and the patience left, too."""
    config = parse(composed(*SMALL, "trainer.checkpoint_every=0", "objective.direction=maximize"))
    one, other = Session(config, tmp_path), Session(config, tmp_path)
    for number in range(3):
        one.record.row({"number": number})
    one.at = Position(2, 575, 30, 3, 1725, 4.5, 6.75)
    one.stopper.best, one.stopper.waited, one.evaluator.seconds = -0.5, 2, 1.25
    torch.rand(3)
    one.save("early_stopped")
    expected = torch.rand(3)
    assert other.restore() == 3
    assert torch.equal(torch.rand(3), expected)
    assert other.at == Position(2, 575, 30, 3, 1725, 4.5, 6.75)
    assert (other.stopper.best, other.stopper.waited) == (-0.5, 2)
    assert other.stopper.direction is Direction.MAXIMIZE
    assert (other.evaluator.seconds, other.saved_at, other.ended) == (1.25, 4.5, "early_stopped")
    one.save("completed")
    assert other.restore() == 3
    assert other.ended is None  # it may be lengthened


def test_a_folder_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "run"
    with pytest.raises(InputError, match=f"^{place}: Not a directory"), alone(place):
        raise AssertionError("unreachable")


def test_what_a_disk_said_is_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    def full() -> str:
        with pytest.raises(InputError) as told, _one_line(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")
        return str(told.value)

    assert full() == "metrics.jsonl: No space left on device"  # nothing to go on with
    (tmp_path / "config.yaml").touch()
    assert full().endswith(f"device; resume={tmp_path} goes on from the start")


def test_what_has_changed_since_a_run_began_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time, with the step at which it went on; other code with what differs."""
    monkeypatch.setattr("src.training.run.patch", lambda project: b"--- a")
    session = Session(parse(composed(*SMALL)), tmp_path)
    began = {"command": "x", "python": "3", "git": {"commit": "1", "diff_sha256": None}}
    session.at.step = 24
    session.describe("seed: 0", began, {**began, "command": "y", "python": "4"})
    first = {"step": 24, "command": "y", "python": "4"}
    recorded = json.loads((tmp_path / "provenance.json").read_text())
    assert recorded == {**began, "resumed": [first]}
    assert not list(tmp_path.glob("*.patch"))
    session.at.step = 48
    changed = {**began, "git": {"commit": "1", "diff_sha256": "ab"}}
    session.describe("seed: 0", recorded, changed)
    second = {"step": 48, "command": "x", "git.diff_sha256": "ab"}
    recorded = json.loads((tmp_path / "provenance.json").read_text())
    assert recorded == {**began, "resumed": [first, second]}
    assert (tmp_path / "provenance-48.patch").read_bytes() == b"--- a"


@pytest.mark.parametrize("wanted", [True, False])
def test_determinism_is_what_the_config_asks_for(wanted: bool) -> None:
    torch.use_deterministic_algorithms(not wanted)
    torch.set_num_threads(2)
    set_up_torch(parse(composed(f"trainer.deterministic={str(wanted).lower()}")))
    assert torch.are_deterministic_algorithms_enabled() == wanted
    assert torch.get_num_threads() == 1
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


class Watching:
    """A logger that keeps what it is told."""

    told: ClassVar[list[tuple[str, Any]]] = []

    def start(self, folder: Path, config: Any, step: int) -> None:
        self.told.append(("start", (folder, config["seed"], step)))

    def row(self, row: Any) -> None:
        self.told.append(("row", row["step"]))

    def close(self, status: str) -> None:
        self.told.append(("close", status))


def test_what_a_logger_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watching, "told", [])
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", ["src.*", "tests.test_run.Watching"])
    node = "+logger.mine._target_=tests.test_run.Watching"
    ran(tmp_path / "run", node, "seed=5", "trainer.epochs=2")
    rows_told = [("row", 2), ("row", 4)]
    start = ("start", (tmp_path / "run", 5, 0))
    assert Watching.told == [start, *rows_told, ("close", "completed")]


def test_every_batch_moves_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(RunProgress, "tick", lambda self, samples, loss: seen.append(samples))
    ran(tmp_path / "run", "trainer.epochs=2")
    assert seen == [575, 1150, 1725, 2300]


def test_a_run_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    ran(tmp_path / "run", "trainer.epochs=1")
    before = outcome(tmp_path / "run")
    with pytest.raises(InputError, match="it holds a run"):
        ran(tmp_path / "run", "trainer.epochs=1", "seed=1")
    assert outcome(tmp_path / "run") == before


def test_a_snapshot_holds_no_interpolation() -> None:
    assert snapshot(OmegaConf.create({"a": 1, "b": "${a}"})) == "a: 1\nb: 1\n"


def test_the_rows_are_on_the_disk_before_a_checkpoint_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, int]] = []
    monkeypatch.setattr(Record, "flush", lambda self: order.append(("flush", len(self.rows))))
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, step, state: order.append(("save", state["rows"]))
    )
    ran(tmp_path / "run", "trainer.epochs=2", "trainer.checkpoint_every=0")
    assert order == [("flush", 1), ("save", 1), ("flush", 2), ("save", 2)]


def test_a_run_that_goes_on_keeps_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its provenance, to which each later start is added; its checkpoints name no resume."""
    folder, patches = tmp_path / "run", iter([b"first", b"second", b"third"])
    facts = iter(range(9))

    def provenance(project: Path) -> dict[str, Any]:
        number = next(facts)
        return {"command": f"start {number}", "git": {"commit": "c", "diff_sha256": f"{number}"}}

    monkeypatch.setattr("src.training.run.provenance", provenance)
    monkeypatch.setattr("src.training.run.patch", lambda project: next(patches))
    kept = "trainer.checkpoint_every=0"
    ran(folder, "trainer.epochs=1", kept)
    assert (folder / "provenance.patch").read_bytes() == b"first"
    ran(folder, "trainer.epochs=2", kept, resume=True)
    ran(folder, "trainer.epochs=3", kept, resume=True)
    recorded = json.loads((folder / "provenance.json").read_text())
    assert recorded["command"] == "start 0"
    resumed = [(each["step"], each["command"]) for each in recorded["resumed"]]
    assert resumed == [(2, "start 1"), (4, "start 2")]
    assert (folder / "provenance.patch").read_bytes() == b"first"
    assert (folder / "provenance-4.patch").read_bytes() == b"third"
    state = Checkpoints(folder).load()
    assert state is not None
    assert (state["config"]["resume"], state["config"]["trainer"]["epochs"]) == (None, 3)


def test_an_interrupted_runs_rows_are_those_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt comes after the row was counted, and before it is written."""
    row = Record.row

    def interrupted(self: Record, values: Row) -> None:
        if len(self.rows) == 1:
            self.rows.append(values)
            raise KeyboardInterrupt
        row(self, values)

    monkeypatch.setattr(Record, "row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path / "run", "trainer.epochs=3")
    (kept,) = rows(tmp_path / "run")
    found = result(tmp_path / "run")
    assert (found["status"], found["steps"]) == ("interrupted", kept["step"])
