"""What a command costs beside its work: `python benchmarks/startup.py`.

Whole commands and `python -c "import torch"`, in turns; the median of each and its ratio to the
import. The run is Adam on the digits, all of it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
MANY = 2000  # finished studies
BASE = "import torch"
COMMANDS = {
    BASE: ["-c", "import torch"],
    "a run: optimizer=adam": ["-m", "src.train", "optimizer=adam"],
    "a run: optimizer=torch/adam": ["-m", "src.train", "optimizer=torch/adam"],
    "--help": ["-m", "src.train", "--help"],
    f"--help beside {MANY:,} studies": ["-m", "src.train", "--help"],
    "--cfg job": ["-m", "src.train", "--cfg", "job"],
    "no such choice": ["-m", "src.train", "optimizer=adamm"],
    "no such value": ["-m", "src.train", "trainer.epochs=x"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="of each command (default 5)")
    repeat = parser.parse_args().repeat
    seconds: dict[str, list[float]] = defaultdict(list)
    peak: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        studies(Path(folder, "many"))
        for _ in range(repeat):
            for name, words in COMMANDS.items():
                outputs = Path(folder, "many" if "studies" in name else "none")
                took, peak[name] = measured(words, outputs)
                seconds[name].append(took)
    print(f"{'':32} seconds  ratio  peak MB  ratio")
    for name, taken in seconds.items():
        ratio = median(taken) / median(seconds[BASE])
        print(f"{name:32} {median(taken):7.2f}  {ratio:5.2f}  {peak[name] / 1e3:7,.0f}  "
              f"{peak[name] / peak[BASE]:5.2f}")  # fmt: skip


def studies(outputs: Path) -> None:
    """As many as a year's sweeps leave."""
    for number in range(MANY):
        folder = outputs / "sweeps" / f"study-{number}"
        folder.mkdir(parents=True)
        (folder / "best.yaml").write_text("# @package _global_\nseed: 1\n")


def measured(words: list[str], outputs: Path) -> tuple[float, int]:
    """Wall seconds and the largest resident memory in kB of a process."""
    environment = {**os.environ, "FAIRSTEP_OUTPUTS": str(outputs)}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it has been waited for
    return time.perf_counter() - begun, used.ru_maxrss


if __name__ == "__main__":
    main()
