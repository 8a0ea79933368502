"""What a run takes beside as many busy processes as there are cores, and when two threads pay.

    python benchmarks/busy.py [--root FOLDER] [--repeat N] [--busy N] [OVERRIDE ...]

Each run is the command that a user types, with the default settings, idle and busy in turns; then
idle with one thread, with two, and with two that spin while they wait, torch's own choice on two
cores. The seconds are `train_seconds` of `result.json`. Last come steps of MLPs of growing width
with one thread and two, idle and busy. Figures are medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from src.models import MLP  # noqa: E402, before torch: it says how threads wait
from src.optimizers import Adam  # noqa: E402
from src.training.device import threads_for  # noqa: E402

RUNS: dict[str, tuple[str, ...]] = {
    "digits": ("data=digits",),
    "mnist": ("data=mnist", "trainer.epochs=1"),
}
LIMITS = {"digits": 4, "mnist": 3}  # busy over idle
SPINNING = {"GOMP_SPINCOUNT": "300000"}  # what it is where nothing is said
WAYS: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "idle": ((), {}),
    "busy": ((), {}),
    "1 thread": (("trainer.threads=1",), {}),
    "2 threads": (("trainer.threads=2",), {}),
    "2 spinning": (("trainer.threads=2",), SPINNING),
}
HIDDEN = [(100,), (300,), (500,), (1000,), (500, 500), (1000, 1000), (2000, 2000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", default=str(PROJECT.parent / "shared" / "data"))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("overrides", nargs="*", help="of the config, for every run")
    given = parser.parse_args()
    for name, run in RUNS.items():
        settings = [*run, *([] if name == "digits" else [f"data.root={given.root}"])]
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(given.repeat):
            for way in WAYS:
                with busy(given.busy) if way == "busy" else nullcontext():
                    found[way].append(seconds([*settings, *given.overrides], way))
                said(f"turn {turn + 1}, {name}, {way}: {found[way][-1]:.3f} s")
        report(name, found)
    for others in (0, given.busy):
        said(f"one step, milliseconds, beside {others} busy processes:")
        with busy(others):
            for hidden in HIDDEN:
                steps(hidden, given.repeat)


def said(line: str) -> None:
    print(f"{line}  (load {os.getloadavg()[0]:.1f})", flush=True)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes compute meanwhile; they end with this one, however it ends."""
    code = f"import os\nwhile os.getppid() == {os.getpid()}: sum(range(10_000))"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def seconds(settings: list[str], way: str) -> float:
    """Of training, of one run of the command line."""
    overrides, environment = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "src.train", *settings, *overrides]
        command.append(f"hydra.run.dir={folder}/run")
        environment = {**os.environ, **environment}
        subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
    return float(result["train_seconds"])


def report(name: str, found: Mapping[str, list[float]]) -> None:
    medians = {way: statistics.median(taken) for way, taken in found.items()}
    print(f"{name}: " + "; ".join(f"{way} {taken:.3f} s" for way, taken in medians.items()))
    ratios = [one / other for one, other in zip(found["busy"], found["idle"], strict=True)]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    ratio = medians["busy"] / medians["idle"]
    print(f"{name}: busy : idle = {ratio:.2f}, at most {LIMITS[name]} (in turn: {each})")
    for way in ("2 threads", "2 spinning"):
        print(f"{name}: {way} : 1 thread = {medians[way] / medians['1 thread']:.2f}")


def steps(hidden: tuple[int, ...], repeat: int, batch_size: int = 64) -> None:
    """Time Adam's steps on an MLP of MNIST's size, one thread and two in turns."""
    import torch
    import torch.nn.functional as F

    model = MLP(784, 10, hidden)
    optimizer = Adam(model.parameters(), lr=1e-4)
    inputs, targets = torch.randn(batch_size, 784), torch.randint(10, (batch_size,))
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(2 * repeat):
        for threads, times in taken.items():
            torch.set_num_threads(threads)
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < 0.2:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
                count += 1
            times.append(1000 * (time.perf_counter() - began) / count)
    one, two = (statistics.median(times) for times in taken.values())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    work, rule = batch_size * parameters / 1e6, threads_for(batch_size, parameters)
    said(f"{hidden}, {work:.0f} M: 1 {one:.2f}, 2 {two:.2f} ({two / one:.2f}); the rule: {rule}")


if __name__ == "__main__":
    main()
