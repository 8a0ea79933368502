"""How long 10,000 stored runs take to be read and drawn: `python benchmarks/report.py`.

Made-up runs: 4 methods, tuned and untuned, 1,250 seeds each, 20 evaluations a run; then the same
number from 15 methods. Beside it: 80 runs, an ordinary comparison.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.reporting import made_up  # noqa: E402

MANY = tuple(f"method-{number}" for number in range(15))


def main() -> None:
    print("   runs  methods  trials  stored MB  page MB  seconds  processor seconds")
    for methods, seeds, trials in ((made_up.METHODS, 10, 16), (made_up.METHODS, 1250, 64),
                                   (MANY, 334, 64)):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            place = made_up.write(Path(folder), *made_up.comparison(methods, seeds, trials))
            wall, processor = timed(place)
            stored = (place / "runs.jsonl").stat().st_size / 1e6
            page = (place / "report.html").stat().st_size / 1e6
            print(f"{2 * seeds * len(methods):7,}  {len(methods):7}  {trials:6}  {stored:9.1f}  "
                  f"{page:7.2f}  {wall:7.1f}  {processor:17.1f}")  # fmt: skip


def timed(folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of `python -m src.report`, imports included."""
    begin, before = time.perf_counter(), processor_seconds()
    asked = [sys.executable, "-m", "src.report", str(folder)]
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - begin, processor_seconds() - before


def processor_seconds() -> float:
    """Of the processes started so far, where the system counts them."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
