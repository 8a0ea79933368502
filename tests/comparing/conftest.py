"""Comparisons in this process: their searches run here too, not as commands of their own."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.comparing.protocol import Protocol
from src.comparing.record import Comparison, Run, Search
from src.metrics import DIRECTIONS, direction_of
from tests.helpers import Session

SMALL = ("methods=[sgd,adam]", "model=logreg", "trainer.epochs=1", "trainer.threads=1",
         "protocol.n_trials=2", "protocol.seeds=2", "pruner=none")  # fmt: skip


class Here:
    """Stands in for the process of a search: has ended when it is made."""

    def __init__(self, command: list[str], log: Path) -> None:
        from src.errors import InputError
        from src.train import job

        sys.argv = command[1:]  # without -m
        self.status, said = 0, io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                job()
            except SystemExit as leaving:
                assert isinstance(leaving.__cause__, InputError)
                print(f"error: {leaving.__cause__}")
                self.status = 1
        log.write_text(said.getvalue())

    def poll(self) -> int:
        return self.status


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of searches start anew, whether pytest has threads or not."""
    monkeypatch.setattr("src.launching.spare.can_be_copied", lambda: False)


@pytest.fixture
def compared(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls `src.compare.compare` with a small budget; returns its record and its folder."""
    from src import compare
    from src.composing import register

    outputs = session.folder / "outputs"
    monkeypatch.setattr("src.compare.OUTPUTS", outputs)
    monkeypatch.setattr(
        "src.comparing.searching.Searches._start", lambda self, command, log: Here(command, log)
    )
    monkeypatch.setattr("src.reporting.report.save", lambda figures, folder: None)  # slow
    monkeypatch.setattr(sys, "argv", ["compare"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    register()

    def call(*overrides: str) -> tuple[dict[str, Any], Path]:
        found = compare.compare([*SMALL, *overrides]).model_dump()
        folder = outputs / "comparisons" / found["name"]
        assert (folder / "report.html").is_file()
        return found, folder

    return call


def runs_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


def made_plan(metric: str = "test_loss", **changes: Any) -> Any:
    """A plan of three methods for what judges it, composed of nothing."""
    choices = OmegaConf.create({"data": "digits", "model": "mlp", "loss": "cross_entropy"})
    hydra = SimpleNamespace(runtime=SimpleNamespace(choices=choices))
    settings = {"objective.metric": "val_loss"}
    protocol = {
        "name": None, "metric": metric, "reference": None, "target": None, "seeds": 2,
        "searches": 1, "first_seed": 1000, "max_bad": 0.5, "n_trials": 1, "n_jobs": 1, "widen": 0,
        "looks": [10, 20], "seconds": None, "margin": "5%", "first_search": 0,
    }  # fmt: skip
    methods = changes.pop("methods", ("a", "b", "c"))
    return SimpleNamespace(
        methods=methods, protocol=Protocol(**{**protocol, **changes}), name="n",
        configs={methods[0]: SimpleNamespace(hydra=hydra)}, hash=lambda: "h",
        settings=lambda: settings, direction=direction_of(metric), directions=dict(DIRECTIONS),
        problem="digits with mlp", job=lambda method: method,
    )  # fmt: skip


def made_run(
    method: str, seed: int, value: float | None, kind: str = "tuned", search: int = 0, **more: Any
) -> Run:
    """A run; without a value it diverged."""
    row = {"step": 1, "samples": 10, "train_seconds": 0.5, "val_loss": value}
    made = {
        "method": method, "kind": kind, "search": search, "seed": seed, "value": value,
        "status": "diverged" if value is None else "completed", "test_loss": value,
        "test_accuracy": None, "commit": "c", "idle": True, "rows": [row],
    }  # fmt: skip
    return Run.model_validate({**made, **more})


def made_search(method: str, search: int = 0, **more: Any) -> Search:
    trials = [{"number": n, "state": "complete", "cost": 1.0, "params": {}} for n in range(4)]
    made = {"method": method, "search": search, "space": {}, "trials": trials, "shared_hash": "x"}
    return Search.model_validate({**made, **more})


def made_problem(values: dict[str, Any], metric: str = "test_loss", **more: Any) -> Comparison:
    """A finished comparison of methods with these values, one per seed; None is diverged.

    A row of the learning curve is a hundred steps; it ends at the value.
    """
    direction = "maximize" if metric.endswith("accuracy") else "minimize"
    curves = more.pop("curves", {})
    runs = []
    for method, numbers in values.items():
        for seed, value in enumerate(numbers, 1000):
            curve = curves.get(method, [value])
            rows = [
                {"step": 100 * n, "samples": n, "val_loss": it} for n, it in enumerate(curve, 1)
            ]
            runs.append(made_run(method, seed, value, rows=rows))
    made = {"name": "one", "metric": metric, "direction": direction, "methods": [*values]}
    return Comparison.model_validate({**made, "runs": runs, **more})
