"""The tutorial as its notebook ran it, against `src`: one MNIST epoch with Adam, or the whole run.

    python benchmarks/tutorial.py [--root FOLDER] [--repeat N] [--epochs N] [--threads N]

Both train the same network on the same data in this process, in turns. Without `--epochs` one
epoch's training is timed, without evaluation. With `--epochs N` the tutorial's first N epochs are
timed with all their rows; 10 is the whole run. The notebook's loop takes minutes for that.
Without `--threads` the notebook has torch's choice, as its reader had, and `src` its own default.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from hydra import compose, initialize_config_dir
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from src.composing import register  # noqa: E402
from src.config import CONF, Config, parse  # noqa: E402
from src.training.build import assemble  # noqa: E402
from src.training.device import set_threads, set_up_torch  # noqa: E402
from src.training.evaluation import Evaluator  # noqa: E402
from src.training.loop import Position, train  # noqa: E402

BATCH, LOG_EVERY = 64, 10_000


class Notebook:
    """The original's way: a transform for each sample, a DataLoader in the main process."""

    def __init__(self, root: str, threads: int) -> None:
        self.threads = threads
        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.0,), (1.0,))]
        )
        self.train_set, self.test_set = (
            torchvision.datasets.MNIST(root, train=train, transform=transform)
            for train in (True, False)
        )

    def run(self, epochs: int, rows: bool) -> None:
        torch.set_num_threads(self.threads)
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(epochs):
            counter = 0
            for inputs, targets in DataLoader(self.train_set, BATCH, shuffle=True):
                loss = F.cross_entropy(model(inputs), targets)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                counter += BATCH
                if counter >= LOG_EVERY and rows:
                    counter -= LOG_EVERY
                    self.row(model)

    @torch.no_grad()
    def row(self, model: nn.Module) -> tuple[float, float, float]:
        """Test loss, and the accuracies, each in a pass of its own as in the notebook."""
        losses = [
            F.cross_entropy(model(inputs), targets).item()
            for inputs, targets in DataLoader(self.test_set, BATCH)
        ]
        accuracies = []
        for dataset in (self.train_set, self.test_set):
            right = 0
            for inputs, targets in DataLoader(dataset, BATCH):
                right += int((model(inputs).argmax(1) == targets).sum())
            accuracies.append(right / len(dataset))
        return statistics.mean(losses), *accuracies


def tutorial(root: str, threads: int | None) -> Config:
    """The tutorial's config, as `experiment=tutorial` composes it."""
    register()
    overrides = ["experiment=tutorial", f"data.root={root}"]
    overrides += [f"trainer.threads={threads}"] if threads else []
    with initialize_config_dir(str(CONF)):
        return parse(compose("config", overrides))


def ours(config: Config, epochs: int, rows: bool) -> None:
    """Build and train; the data is in memory already, as theirs is."""
    parts = assemble(config)
    set_threads(config, parts.model)
    evaluator = Evaluator(parts, config.trainer.evaluate if rows else [])
    for _ in train(
        parts.model,
        parts.loss,
        parts.optimizer,
        parts.schedule,
        parts.batches,
        evaluator,
        Position(),
        seed=config.seed,
        epochs=epochs,
        evaluate_every=LOG_EVERY if rows else 60_000,
    ):
        pass


def seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", default=str(PROJECT.parent / "shared" / "data"))
    parser.add_argument("--repeat", type=int, default=5, help="times each is run")
    parser.add_argument("--epochs", type=int, help="with all rows; 10 is the whole run")
    parser.add_argument("--threads", type=int, help="of both")
    given = parser.parse_args()
    config = tutorial(given.root, given.threads)
    notebook = Notebook(given.root, given.threads or torch.get_num_threads())
    set_up_torch(config)
    epochs, rows = given.epochs or 1, given.epochs is not None
    ours(config, 1, False)  # reads the data
    what = f"{epochs} epochs, {6 * epochs} rows" if rows else "1 epoch, no rows"
    print(f"MNIST, Adam, batch {BATCH}: {what}")
    print(f"threads: notebook {notebook.threads}, src {torch.get_num_threads()}")
    theirs_taken, ours_taken = [], []
    for turn in range(given.repeat):
        theirs_taken.append(seconds(lambda: notebook.run(epochs, rows)))
        ours_taken.append(seconds(lambda: ours(config, epochs, rows)))
        print(f"  turn {turn + 1}: notebook {theirs_taken[-1]:.2f} s, src {ours_taken[-1]:.2f} s")
    theirs_median, ours_median = statistics.median(theirs_taken), statistics.median(ours_taken)
    print(f"median: notebook {theirs_median:.2f} s, src {ours_median:.2f} s")
    print(f"ratio: {theirs_median / ours_median:.1f}x")


if __name__ == "__main__":
    main()
