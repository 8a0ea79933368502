"""K runs at once in one process (`src.training.together`) beside the same runs one after another.

Both sides take turns, and train the same runs to the bit, which is checked. What is timed is
training: batches, steps and evaluations of models that were built before. With `--whole`, each run
is also built, and recorded in a folder; nothing is composed or stored in a database. With several
workers, as many processes do this side by side, each with runs of its own. On a busy machine the
seconds of the processor say more than those of the clock.

    python benchmarks/together.py [--workers 2] [--counts 8 32] [--cases "wine adam"] [--rounds 3]
                                  [--device cuda] [--whole]
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.composing import register
from src.config import CONF, Config, parse
from src.results import Record
from src.training.device import set_threads, set_up_torch
from src.training.result import weights_sha256
from src.training.run import Session, run, snapshot
from src.training.together import Together

CASES = {
    "mnist1d adam": ("problem=mnist1d", "optimizer=adam"),
    "spirals adam": ("problem=spirals", "optimizer=adam"),
    "diabetes adam": ("problem=diabetes", "optimizer=adam"),
    "cancer adam": ("problem=breast_cancer", "optimizer=adam"),
    "wine adam": ("problem=wine", "optimizer=adam"),
    "digits adam": ("optimizer=adam",),
    "digits alike": ("optimizer=adam",),
    "digits sgd": ("optimizer=sgd",),
    "digits rmsprop": ("optimizer=rmsprop",),
    "digits muon": ("optimizer=muon",),
    "small adam": ("optimizer=adam", "model.hidden_sizes=[16]"),
    "large adam": ("optimizer=adam", "model.hidden_sizes=[512,512]"),
}


def configs(
    overrides: tuple[str, ...], count: int, device: str, first: int = 0, *, alike: bool = False
) -> list[DictConfig]:
    """Runs that differ in seed and, as a search's do unless they are alike, in learning rate."""
    register()
    made = []
    with initialize_config_dir(str(CONF)):
        for k in range(count):
            own = f"seed={first + k}", f"trainer.device={device}"
            cfg = compose("config", [*overrides, *own])
            cfg.trainer.stack = count
            if not alike:
                cfg.optimizer.lr = float(cfg.optimizer.lr) * (0.5 + k / count)
            made.append(cfg)
    return made


def whole(config: Config, text: str, folder: Path, together: Together[Any] | None) -> str:
    """A run, built, trained and recorded; its digest."""
    folder.mkdir(parents=True)
    outcome = run(config, text, folder, quiet=True, keep_last=False, together=together)
    return str(outcome["weights_sha256"])


class Unwritten(Record):
    """Keeps nothing."""

    def row(self, row: Mapping[str, Any]) -> None:
        pass


def trained(session: Session) -> None:
    """The steps and the evaluations of a run."""
    for _ in session.rows(lambda samples, loss: None):
        pass


def side(cfgs: list[DictConfig], *, together: bool, all_of_it: bool) -> tuple[Any, float, float]:
    """All runs; their digests, and seconds of the processor and of the clock for one."""
    folder = Path(tempfile.mkdtemp())
    hub: Together[Any] | None = Together(len(cfgs)) if together else None
    read = [(parse(cfg), snapshot(cfg)) for cfg in cfgs]
    sessions: list[Session] = []
    if all_of_it:
        tasks: list[Any] = [partial(whole, *each, folder / str(k), hub)
                            for k, each in enumerate(read)]  # fmt: skip
    else:
        for config, _ in read:
            set_up_torch(config)
            sessions.append(Session(config, folder, hub))
            sessions[-1].record = Unwritten(folder)
            set_threads(config, sessions[-1].parts.model)
        tasks = [partial(trained, each) for each in sessions]
    clock, processor = time.perf_counter(), time.process_time()
    ended = [*hub.run(tasks)] if hub else [task() for task in tasks]
    spent = time.process_time() - processor, time.perf_counter() - clock
    digests = {weights_sha256(each.parts.model) for each in sessions} or {*ended}
    shutil.rmtree(folder)
    return digests, spent[0] / len(cfgs), spent[1] / len(cfgs)


def work(worker: int, case: str, count: int, device: str, all_of_it: bool, together: bool) -> Any:
    """What one worker does for a side; it has done another run before."""
    cfgs = configs(CASES[case], count, device, worker * count, alike="alike" in case)
    side(cfgs[:1], together=False, all_of_it=all_of_it)  # the first loads what all need
    return side(cfgs, together=together, all_of_it=all_of_it)


def measured(pool: Executor, case: str, count: int, arguments: argparse.Namespace) -> str:
    """One line of the table: of each side the quickest round, by the slowest worker."""
    workers, what = arguments.workers, (arguments.device, arguments.whole)
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    same = True
    for _ in range(arguments.rounds):
        found = {}
        for together, measured_so_far in times.items():
            jobs = [
                pool.submit(work, worker, case, count, *what, together) for worker in range(workers)
            ]
            digests, processor, clock = zip(*(job.result() for job in jobs), strict=True)
            found[together] = digests
            measured_so_far.append((max(processor), max(clock)))
        same &= found[False] == found[True]
    low = {key: [min(each) for each in zip(*rows, strict=True)] for key, rows in times.items()}
    cells = [f"{1e3 * value:10.1f}" for key in times for value in low[key]]
    ratios = [low[False][at] / low[True][at] for at in (0, 1)]
    a_minute = 60 * workers / low[True][1]
    ends = f"{a_minute:10.0f}{same!s:>8}"
    return "".join(cells) + "".join(f"{each:10.2f}" for each in ratios) + ends


def table(arguments: argparse.Namespace) -> Iterator[str]:
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    workers = arguments.workers
    what = "whole runs" if arguments.whole else "training only"
    yield f"torch {torch.__version__}, {where}, workers: {workers}, {what}"
    yield "ms a run: processor and clock"
    names = f"{'alone':>10}{'':10}{'together':>10}{'':10}{'ratio':>10}{'':10}{'a minute':>10}"
    yield f"{'':16}{'K':>4}{names}{'bits':>8}"
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for case in arguments.cases:
            for count in arguments.counts:
                line = measured(pool, case, count, arguments)
                yield f"{case:16}{count:4}" + line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--counts", type=int, nargs="+", default=[4, 8, 32])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="runs are built and recorded, too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: no GPU is here")
    for line in table(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
