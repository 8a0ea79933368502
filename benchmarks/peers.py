"""One sweep, done with this project and with what else people use; whole commands, in turns.

    python benchmarks/peers.py [--trials N] [--repeat N] [--only NAME ...]

Adam's learning rate and betas on the digits, the tutorial's model (one hidden layer of 100), at
most 10 epochs a trial, each evaluated. All have the same space, the same sampler (TPE), the same
pruner (ASHA by halves; the stock plugin can't prune), and one thread a process. Plain Optuna is a
script that keeps its study in SQLite, as the others do, and one that keeps nothing. Ray Tune takes
part where it is installed. The seconds are worth something on a machine without other work; the
processor seconds, of all processes of a command, scatter less.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
SPACE = {"lr": (1e-5, 1e-1), "one_minus_beta1": (4e-3, 0.5), "one_minus_beta2": (1e-4, 1e-1)}
EPOCHS, BATCH = 10, 32
COMMON = ["model=mlp", "data=digits", "trainer.threads=1"]
OURS = ["-m", "src.train", "-m", "sweeps=adam", *COMMON]
STOCK = ["-m", "src.train", "-m", "hydra/sweeper=optuna", "experiment=adam_space", *COMMON]
STOCK += ["--config-dir", str(PROJECT / "benchmarks" / "stock")]
KINDS: dict[str, list[str]] = {
    "ours, 2 workers": [*OURS, "n_jobs=2"],
    "ours, 1 worker": OURS,
    "stock plugin, 2 workers": [*STOCK, "hydra.sweeper.n_jobs=2"],
    "plain Optuna, SQLite": [__file__, "--as", "optuna-sqlite"],
    "plain Optuna, nothing kept": [__file__, "--as", "optuna"],
    "Ray Tune, 2 at once": [__file__, "--as", "ray"],
}


@dataclass(frozen=True)
class Measured:
    """A command: its seconds, its processor seconds, and what it found."""

    seconds: float
    processor: float
    trials: int
    best: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="kinds that begin so; else all")
    parser.add_argument("--as", dest="peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        PEERS[arguments.peer](arguments.trials, arguments.folder)
        return
    kinds = [kind for kind in KINDS if kind.startswith(tuple(arguments.only or [""]))]
    if importlib.util.find_spec("ray") is None:
        kinds = [kind for kind in kinds if not kind.startswith("Ray")]
    found: dict[str, list[Measured]] = {kind: [] for kind in kinds}
    for turn in range(arguments.repeat):
        for kind in kinds:
            found[kind].append(measure(kind, arguments.trials))
            print(f"turn {turn}, {kind}: {found[kind][-1]}", file=sys.stderr, flush=True)
    report(found)


def measure(kind: str, trials: int) -> Measured:
    """Run a command in a folder of its own, and read what it kept or printed."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/studies.db"
        hydra = [f"hydra.sweeper.{key}" for key in ("n_trials", "storage", "study_name")]
        ours = [f"{key}={text}" for key, text in zip(hydra, (trials, url, "s"), strict=True)]
        ours.append(f"hydra.sweep.dir={folder}/s")
        theirs = ["--trials", str(trials), "--folder", folder]
        is_theirs = KINDS[kind][0] == __file__
        command = [sys.executable, *KINDS[kind], *(theirs if is_theirs else ours)]
        seconds, processor, out = timed(command, Path(folder))
        if is_theirs:
            told = json.loads(out.splitlines()[-1])
            return Measured(seconds, processor, told["trials"], told["best"])
        import optuna

        study = optuna.load_study(study_name="s", storage=url)
        ended = [trial for trial in study.trials if trial.datetime_complete]
        return Measured(seconds, processor, len(ended), study.best_value)


def timed(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Seconds and processor seconds of a command, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    out, err = folder / "out", folder / "err"
    started = time.perf_counter()
    with open(out, "w") as printed, open(err, "w") as told:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=printed, stderr=told
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {err.read_text()[-2000:]}")
    return seconds, used.ru_utime + used.ru_stime, out.read_text()


def report(found: dict[str, list[Measured]]) -> None:
    print(f"{'':28} {'trials':>6} {'best loss':>10} {'seconds':>8} {'processor s':>12}")
    for kind, runs in found.items():
        best, seconds, processor = (
            statistics.median(getattr(run, name) for run in runs)
            for name in ("best", "seconds", "processor")
        )
        print(f"{kind:28} {runs[0].trials:6} {best:10.4f} {seconds:8.2f} {processor:12.2f}")
    first, *others = found
    for other in others:
        pairs = [*zip(found[first], found[other], strict=True)]
        ratios = [theirs.seconds / ours.seconds for ours, theirs in pairs]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        processor = statistics.median(theirs.processor / ours.processor for ours, theirs in pairs)
        print(f"{other} : {first} = {statistics.median(ratios):.2f} (in turn: {each}); "
              f"processor {processor:.2f}")  # fmt: skip


# From here on what a user of the peers would write.


def with_optuna(trials: int, url: str | None) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = digits()

    def objective(trial: optuna.Trial) -> float:
        point = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, (low, high) in SPACE.items()
        }
        losses = []
        for epoch, loss in enumerate(training(data, **point), 1):
            losses.append(loss)
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return min(losses)

    study = optuna.create_study(
        storage=url,
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    )
    study.optimize(objective, n_trials=trials)
    print(json.dumps({"trials": len(study.trials), "best": study.best_value}))


def with_ray(trials: int, folder: Path) -> None:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, float]) -> None:
        for epoch, loss in enumerate(training(digits(), **config), 1):
            tune.report({"val_loss": loss, "epoch": epoch})

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        trainable,
        param_space={name: tune.loguniform(low, high) for name, (low, high) in SPACE.items()},
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=trials,
            search_alg=ConcurrencyLimiter(OptunaSearch(seed=0), max_concurrent=2),
            scheduler=ASHAScheduler(
                time_attr="epoch", max_t=EPOCHS, grace_period=1, reduction_factor=2
            ),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    results = tuner.fit()
    best = min(frame["val_loss"].min() for frame in [one.metrics_dataframe for one in results])
    print(json.dumps({"trials": len(results), "best": float(best)}))


def digits() -> Any:
    """Training and validation images and labels: 1,150 and 288."""
    import torch
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[359:]
    validation, train = order[:288], order[288:]
    return inputs[train], targets[train], inputs[validation], targets[validation]


def training(
    data: Any, lr: float, one_minus_beta1: float, one_minus_beta2: float
) -> Iterator[float]:
    """Train; the validation loss after each epoch."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs, targets, validation_inputs, validation_targets = data
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    betas = (1 - one_minus_beta1, 1 - one_minus_beta2)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=betas)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(targets)).split(BATCH):
            loss = F.cross_entropy(model(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            yield F.cross_entropy(model(validation_inputs), validation_targets).item()


PEERS: dict[str, Callable[[int, Path], None]] = {
    "optuna": lambda trials, folder: with_optuna(trials, None),
    "optuna-sqlite": lambda trials, folder: with_optuna(trials, f"sqlite:///{folder}/studies.db"),
    "ray": with_ray,
}

if __name__ == "__main__":
    main()
