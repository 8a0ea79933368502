"""Learning curves of the four tutorial methods on MNIST.

    python docs/figures/learning_curves.py [data.root=FOLDER] [any other override]

Trains each method with `experiment=tutorial` and draws test loss and test accuracy of every row.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from src.reporting.figures import HIGHER, LOWER, Axis, Figure, Key, Panel, Series  # noqa: E402
from src.reporting.report import pictures  # noqa: E402

PICTURE = Path(__file__).with_suffix(".png")

METHODS = {
    "sgd": "gradient descent",
    "momentum": "momentum",
    "nesterov": "Nesterov",
    "adam": "Adam",
}
SETTINGS = "MNIST, one hidden layer of 100, lr 0.001, batch 64, one seed"


def rows(optimizer: str, overrides: list[str], folder: Path) -> list[dict[str, Any]]:
    """Train one method; return its evaluations."""
    run = [f"optimizer={optimizer}", f"hydra.run.dir={folder / optimizer}", *overrides]
    command = [sys.executable, "-m", "src.train", "experiment=tutorial", *run]
    subprocess.run(command, cwd=PROJECT, check=True)
    text = (folder / optimizer / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def figure(curves: dict[str, list[dict[str, Any]]]) -> Figure:
    """Two panels with one legend."""
    losses = Axis("test loss", log=True, better=LOWER)
    accuracies = Axis("test accuracy, %", better=HIGHER, limits=(50, 100))
    panels = [
        Panel(
            title, Axis("epochs"), axis,
            [Series(METHODS[name], style, "line", [row["samples"] / 60_000 for row in evaluations],
                    [scale * row[metric] for row in evaluations])
             for style, (name, evaluations) in enumerate(curves.items())],
        )
        for title, axis, metric, scale in (
            ("Test loss", losses, "test_loss", 1),
            ("Test accuracy", accuracies, "test_accuracy", 100),
        )
    ]  # fmt: skip
    legend = [(METHODS[name], style) for style, name in enumerate(curves)]
    keys = (Key("line", "evaluations, joined"),)
    return Figure("learning_curves", "", "", panels, legend, keys=keys, note=(SETTINGS,))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        curves = {name: rows(name, sys.argv[1:], Path(folder)) for name in METHODS}
    PICTURE.write_bytes(pictures(figure(curves))["png"])
    print(PICTURE.relative_to(PROJECT))


if __name__ == "__main__":
    main()
