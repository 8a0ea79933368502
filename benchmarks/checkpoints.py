"""What checkpoints cost: the tutorial on MNIST with them at the defaults, and without any.

    python benchmarks/checkpoints.py [--root FOLDER] [--repeat N] [--epochs N] [--threads N]

Both train the same run in this process, in turns. Checkpoints are written outside the clock of
`train_seconds`, so the seconds spent in writing them are counted here by themselves and set
against all that a run takes and against its training alone.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from hydra import compose, initialize_config_dir  # noqa: E402

from src.composing import register  # noqa: E402
from src.config import CONF, parse  # noqa: E402
from src.results import (  # noqa: E402
    alone,
    patch,
    provenance,
)
from src.training.run import Session, run  # noqa: E402

spent: list[float] = []  # seconds of each call that wrote a checkpoint
original = Session.save


def timed(session: Session, *arguments: Any, **named: Any) -> None:
    started, before = time.perf_counter(), session.saved_at
    original(session, *arguments, **named)
    if session.saved_at != before:
        spent.append(time.perf_counter() - started)


def seconds(root: str, epochs: int, every: str) -> tuple[float, float, list[float]]:
    """Of one run: in all, in training, and in each checkpoint."""
    overrides = ["experiment=tutorial", f"data.root={root}", f"trainer.epochs={epochs}"]
    register()
    with initialize_config_dir(str(CONF)):
        config = parse(compose("config", [*overrides, f"trainer.checkpoint_every={every}"]))
    spent.clear()
    # On a disk, not in memory; without its rows on the terminal.
    with tempfile.TemporaryDirectory(dir=PROJECT) as folder, redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        result = run(config, "", Path(folder))
        return time.perf_counter() - started, result["train_seconds"], list(spent)


def per_trial(repeat: int = 100) -> None:
    """What the lock and the provenance add to each trial of a sweep, after the first."""
    with tempfile.TemporaryDirectory(dir=PROJECT) as folder:

        def lock() -> None:
            with alone(Path(folder)):
                pass

        actions = {
            "lock": lock,
            "patch": lambda: patch(PROJECT),
            "provenance": lambda: provenance(PROJECT),
        }
        for name, action in actions.items():
            action()
            started = time.perf_counter()
            for _ in range(repeat):
                action()
            print(f"{name:<12}{(time.perf_counter() - started) / repeat * 1e3:8.3f} ms a trial")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=str(PROJECT / "data"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Session.save = timed  # type: ignore[method-assign]
    seconds(arguments.root, 1, "null")  # reads the data and warms up
    runs: dict[str, list[tuple[float, float, list[float]]]] = {"10.0": [], "null": [], "0": []}
    for _ in range(arguments.repeat):
        for every, kept in runs.items():
            kept.append(seconds(arguments.root, arguments.epochs, every))
    names = {"10.0": "default", "null": "none", "0": "each row"}
    print(f"{arguments.epochs} epochs, {arguments.repeat} runs each; medians")
    print("checkpoints   run s   train s   written   ms each   share of training")
    for every, kept in runs.items():
        whole, training = (statistics.median(one[i] for one in kept) for i in (0, 1))
        number = statistics.median(len(one[2]) for one in kept)
        writing = [value for one in kept for value in one[2]]
        each = statistics.median(writing) * 1e3 if writing else 0.0
        share = statistics.median(sum(one[2]) / one[1] for one in kept)
        name = names[every]
        print(f"{name:<11}{whole:8.2f}{training:10.2f}{number:10.0f}{each:10.2f}{share:12.3%}")
    per_trial()


if __name__ == "__main__":
    main()
