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

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PROJECT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_suffix(".png")

# Okabe and Ito's colours, which colour-blind readers tell apart; the dashes serve everyone else.
STYLES = {
    "sgd": ("gradient descent", "#000000", ":"),
    "momentum": ("momentum", "#0072B2", "-"),
    "nesterov": ("Nesterov", "#E69F00", "--"),
    "adam": ("Adam", "#009E73", "-"),
}


def rows(optimizer: str, overrides: list[str], folder: Path) -> list[dict[str, Any]]:
    """Train one method; return its evaluations."""
    run = [f"optimizer={optimizer}", f"hydra.run.dir={folder / optimizer}", *overrides]
    command = [sys.executable, "-m", "src.train", "experiment=tutorial", *run]
    subprocess.run(command, cwd=PROJECT, check=True)
    text = (folder / optimizer / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def draw(curves: dict[str, list[dict[str, Any]]]) -> None:
    """Two panels with one legend, written to `PICTURE`."""
    figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for optimizer, evaluations in curves.items():
        label, colour, dashes = STYLES[optimizer]
        style = {"label": label, "color": colour, "linestyle": dashes, "linewidth": 1.8}
        epochs = [row["samples"] / 60_000 for row in evaluations]
        losses.plot(epochs, [row["test_loss"] for row in evaluations], **style)
        accuracies.plot(epochs, [100 * row["test_accuracy"] for row in evaluations], **style)
    losses.set(yscale="log", ylabel="test loss (log scale)", xlabel="epochs")
    ticks = [0.1, 0.2, 0.5, 1, 2]
    losses.set_yticks(ticks, [str(tick) for tick in ticks])
    losses.minorticks_off()
    accuracies.set(ylabel="test accuracy, %", xlabel="epochs", ylim=(50, 100))
    for axes in (losses, accuracies):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    accuracies.legend(frameon=False, loc="lower right")
    figure.suptitle("MNIST, one hidden layer of 100, lr 0.001, batch 64, one seed", fontsize=11)
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        draw({name: rows(name, sys.argv[1:], Path(folder)) for name in STYLES})
    print(PICTURE.relative_to(PROJECT))


if __name__ == "__main__":
    main()
