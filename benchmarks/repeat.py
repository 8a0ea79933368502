"""The whole comparison several times, with other searches and other fresh seeds each time.

    python benchmarks/repeat.py [--times 10] ['methods=[sgd,momentum,adam,muon]' problem=digits ...]

Prints, for each pair, how often each verdict came, and how often it was withheld.
Everything behind the options goes to each comparison. They lie in outputs/comparisons like any,
each with a name that ends with its number, and the same command goes on there.
"""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.comparing import words
from src.comparing.protocol import plan
from src.comparing.record import Comparison, read
from src.composing import register
from src.config import OUTPUTS, PROJECT

SEARCHES = 20  # from a repetition's first search to that of the next one; more than it makes
FRESH = 1000  # the same for fresh seeds
DEFAULT = ("methods=[sgd,momentum,adam,muon]", "problem=digits")
VERDICTS = ("better", "worse", "better by less than the margin", "worse by less than the margin",
            "equivalent", "undecided", "withheld")  # fmt: skip


def repetition(number: int, overrides: Sequence[str]) -> Comparison:
    """A whole comparison, or what is stored of it."""
    name = f"{plan(overrides).name}-repeated-{number}"
    own = {"name": name, "first_search": SEARCHES * number, "first_seed": FRESH * (number + 1)}
    lines = [*overrides, *(f"protocol.{key}={value}" for key, value in own.items())]
    # A command of its own: its workers are that command, too.
    subprocess.run([sys.executable, "-m", "src.compare", *lines], cwd=PROJECT, check=True)
    return read(OUTPUTS / "comparisons" / name)


def told(made: Comparison) -> dict[tuple[str, str], str]:
    """The verdict of each pair, in a fixed order of its methods; withheld is none."""
    verdicts = {
        (pair.a, pair.b): "withheld"
        if words.is_held(pair, made.withheld, made.measure)
        else words.verdict(pair)
        for pair in made.pairs
    }
    turn = {"better": "worse", "worse": "better"}
    return {
        pair: verdicts[pair]
        if pair in verdicts
        else " ".join(turn.get(word, word) for word in verdicts[pair[::-1]].split())
        for pair in combinations(sorted(made.methods), 2)
    }


def table(made: Sequence[Comparison]) -> Iterator[str]:
    """A Markdown table, a row for each pair; then what was withheld and why."""
    counts = {pair: Counter(told(each)[pair] for each in made) for pair in told(made[0])}
    heads = [verdict for verdict in VERDICTS if any(verdict in each for each in counts.values())]
    yield f"| of {len(made)} comparisons | {' | '.join(heads)} | seeds |"
    yield "| --- |" + " ---: |" * (len(heads) + 1)
    for (a, b), found in counts.items():
        seeds = [pair.n or 0 for each in made for pair in each.pairs if {pair.a, pair.b} == {a, b}]
        mean = sum(seeds) / len(seeds)
        row = [f"{found[verdict]}" for verdict in heads]
        yield f"| {a}, {b} | {' | '.join(row)} | {mean:.0f} |"
    reasons = Counter(
        chain.from_iterable({(it.check, it.method) for it in each.withheld} for each in made)
    )
    for (check_name, method), count in reasons.most_common():
        yield f"withheld in {count}: {method or 'all methods'}: {check_name}"


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("overrides", nargs="*", default=DEFAULT, help="of each comparison")
    arguments = parser.parse_args()
    register()
    made = []
    for number in range(arguments.times):
        made.append(repetition(number, arguments.overrides))
        print(f"repetition {number + 1}: {made[-1].sentence}", flush=True)
    print("\n".join(table(made)))


if __name__ == "__main__":
    main()
