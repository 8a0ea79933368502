"""The whole comparison several times, with other searches and other fresh seeds each time.

    python benchmarks/repeat.py [--times 10] ['methods=[sgd,momentum,adam,muon]' problem=digits ...]

Prints, for each pair, how often each verdict came, and how often something about it was withheld.
Everything behind the options goes to each comparison. The comparisons lie in outputs/repeated; the
same command goes on there.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, combinations
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.comparing import words
from src.comparing.guess import constant_guess
from src.comparing.ledger import Ledger
from src.comparing.protocol import plan
from src.comparing.record import FILE, Comparison, Search, read, write
from src.comparing.rounds import Rounds
from src.comparing.searching import Searches
from src.comparing.verdict import draft
from src.composing import register
from src.config import OUTPUTS, parse
from src.training.rehearsal import check

APART = 100  # seeds between two repetitions' searches
FRESH = 1000  # fresh seeds between two repetitions
DEFAULT = ("methods=[sgd,momentum,adam,muon]", "problem=digits")
VERDICTS = ("better", "worse", "better by less than the margin", "worse by less than the margin",
            "equivalent", "undecided")  # fmt: skip


class Others(Searches):
    """Searches with seeds of their own, which count from 0 like any."""

    shift = 0

    def run(
        self, methods: Iterable[str] | None = None, numbers: range | None = None
    ) -> list[Search]:
        numbers = range(self.plan.protocol.first_searches) if numbers is None else numbers
        shifted = range(numbers.start + self.shift, numbers.stop + self.shift)
        found = super().run(methods, shifted)
        return [each.model_copy(update={"search": each.search - self.shift}) for each in found]


def repetition(number: int, overrides: Sequence[str]) -> Comparison:
    """A whole comparison, or what is stored of it."""
    asked = plan([*overrides, f"protocol.first_seed={FRESH * (number + 1)}"])
    folder = OUTPUTS / "repeated" / f"{asked.name}-{asked.protocol.searches}" / f"{number}"
    if (folder / FILE).is_file():
        return read(folder)
    folder.mkdir(parents=True, exist_ok=True)
    guess = constant_guess(check(parse(asked.job(asked.methods[0]))).train.targets)
    rounds = Rounds(asked, folder, Ledger(folder), lambda rounds: None)
    own = type("Own", (Others,), {"shift": APART * number})
    with patch("src.comparing.rounds.Searches", own):
        rounds.run()
    made = draft(asked, rounds, {}, [], datetime.now(), guess)
    write(made, folder)
    return made


def told(made: Comparison) -> dict[tuple[str, str], str]:
    """The verdict of each pair, in a fixed order of its methods."""
    verdicts = {(pair.a, pair.b): words.verdict(pair) for pair in made.pairs}
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
    yield f"| of {len(made)} comparisons | {' | '.join(heads)} | withheld | seeds |"
    yield "| --- |" + " ---: |" * (len(heads) + 2)
    for (a, b), found in counts.items():
        withheld = sum(any(it.method in (None, a, b) for it in each.withheld) for each in made)
        seeds = [pair.n or 0 for each in made for pair in each.pairs if {pair.a, pair.b} == {a, b}]
        mean = sum(seeds) / len(seeds)
        row = [f"{found[verdict]}" for verdict in heads]
        yield f"| {a}, {b} | {' | '.join(row)} | {withheld} | {mean:.0f} |"
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
        print(f"{number + 1}: {made[-1].sentence}", flush=True)
    print("\n".join(table(made)))


if __name__ == "__main__":
    main()
