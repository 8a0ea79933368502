"""Mutants: one deliberate mistake each, which a test must notice.

    python -m tests.mutants [PATH ...]          every mutant of these sources, of src/ without any
    python -m tests.mutants --fixed [NAME ...]  those of fixed.toml: each must be caught
    python -m tests.mutants --methods [NAME ...]  those of methods.toml, likewise

The first runs, for each mutant, only tests that run the mutated line (as `make coverage` measured),
the quickest and those nearest to it first, until one fails or the next would take the sum
above --seconds. Results are kept in outputs/mutants/, and count until the source, or the tests that
decided, change; so a run that was interrupted goes on. What survives and stands in survivors.toml
is not reported again.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutants import ROOT, fixed
from tests.mutants.coverage import Coverage
from tests.mutants.operators import Mutant, files, mutants
from tests.mutants.results import CAUGHT, Results, Survivors, report
from tests.mutants.worker import Copy, Ended, Job, failing_anyway, outcomes, prepare

COVERAGE, RESULTS = ROOT / "outputs" / "coverage", ROOT / "outputs" / "mutants"
QUICK, MANY = 2.0, 40  # so many tests of so few seconds are run whatever --seconds says
SURVIVORS = Path(__file__).with_name("survivors.toml")


def distance(path: str, test: str) -> float:
    """How far a test lies from a source file: its own tests, those of its folder, all others."""
    area, _, name = path.removeprefix("src/").removesuffix(".py").rpartition("/")
    if test.startswith((f"tests/{area}/test_{name}.py", f"tests/test_{name}.py")):
        return 0.01
    return 1 if area and test.startswith(f"tests/{area}/") else 4


def chosen(mutant: Mutant, coverage: Coverage, limit: float, broken: set[str]) -> list[str]:
    """The tests for a mutant, in the order in which they run."""
    lines = range(mutant.first, mutant.line + mutant.old.count("\n") + 1)
    covering, exact = coverage.covering(mutant.path, lines)

    def order(test: str) -> tuple[float, str]:
        return distance(mutant.path, test) * (covering[test] + coverage.seconds[test] + 0.02), test

    ordered = sorted(covering.keys() - broken, key=order)
    if not exact:  # anything may depend on the line: some of each file first
        seen: Counter[str] = Counter()
        places = {}
        for test in ordered:
            seen[test.partition("::")[0]] += 1
            places[test] = seen[test.partition("::")[0]]
        ordered.sort(key=lambda test: places[test] * distance(mutant.path, test))
    tests, total, begun = [], 0.0, set()
    for test in ordered:
        file = test.partition("::")[0]
        seconds = coverage.seconds[test] + (covering[test] if file not in begun else 0.0)
        total += seconds
        if tests and total > limit and not (seconds < QUICK and len(tests) < MANY):
            break
        begun.add(file)
        tests.append(test)
    return tests


def run(
    queue: dict[Mutant, list[str]], copies: list[Copy], options: argparse.Namespace,
    results: Results,
) -> None:  # fmt: skip
    """Each mutant by its tests; what it came to is kept at once."""
    for mutant in [mutant for mutant, tests in queue.items() if not tests]:
        results.add(mutant, "no test", "", [])
    limit = 30 + 5 * options.seconds
    jobs = (
        (
            mutant,
            Job(mutant.path, mutant.applied((ROOT / mutant.path).read_bytes()), (*tests,), limit),
        )
        for mutant, tests in queue.items()
        if tests
    )
    began = time.monotonic()
    for done, (mutant, ended) in enumerate(outcomes(copies, jobs), 1):
        results.add(mutant, outcome(ended), ended.failed, queue[mutant])
        if options.verbose or done % 50 == 0:
            pace = f"{done} of {len(queue)}, {(time.monotonic() - began) / done:.1f} s each"
            what = f"{mutant.path}:{mutant.line} {outcome(ended)} {ended.failed}"
            print(f"{pace}: {what}", flush=True)


def outcome(ended: Ended) -> str:
    if ended.timed_out:
        return "timed out"
    return "caught" if ended.failed else "survived"


def generated(options: argparse.Namespace, copies: list[Copy]) -> int:
    coverage, survivors = Coverage(options.coverage), Survivors(SURVIVORS)
    paths = [path.relative_to(ROOT).as_posix() for path in files(options.names)]
    every = [one for path in paths for one in mutants(path, (ROOT / path).read_bytes())]
    every = every[:: options.every]
    results, broken = Results(RESULTS / "results.jsonl"), set[str]()
    while True:
        tests = {one: chosen(one, coverage, options.seconds, broken) for one in every}
        queue = {one: tests[one] for one in every if not results.known(one, tests[one])}
        if options.survivors:
            queue = {one: queue[one] for one in queue if results.status(one) not in CAUGHT}
        print(f"{len(every)} mutants, {len(every) - len(queue)} of them known", flush=True)
        run(queue, copies, options, results)
        new = failing_anyway(results.unproven(every), copies[0])
        results.prove(every, new)
        broken |= new
        if not new:
            break
        print("fail without a mutant, so they prove nothing: " + ", ".join(sorted(new)))
    return report(every, results, survivors)


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the code on purpose.")
    parser.add_argument("names", nargs="*", help="paths; else parts of names")
    parser.add_argument("--fixed", action="store_true", help="those of fixed.toml")
    parser.add_argument("--methods", action="store_true", help="those of methods.toml")
    parser.add_argument("--jobs", type=int, default=2, help="copies that run tests at once")
    parser.add_argument("--seconds", type=float, default=20, help="of tests for one mutant")
    parser.add_argument("--every", type=int, default=1, help="take each n-th mutant only")
    parser.add_argument("--survivors", action="store_true", help="only those not caught so far")
    parser.add_argument("--coverage", type=Path, default=COVERAGE, help="what was measured")
    parser.add_argument("--verbose", action="store_true", help="a line for each mutant")
    options = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix="fairstep-mutants-") as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(options.jobs)]
        try:
            if options.fixed or options.methods:
                file = "fixed.toml" if options.fixed else "methods.toml"
                return fixed.run(file, options.names, copies)
            return generated(options, copies)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on")
            return 130
        finally:
            for copy in copies:
                copy.stop()
            gc.unfreeze()  # a library complains of what is left at the end


if __name__ == "__main__":
    sys.exit(main())
