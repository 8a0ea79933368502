"""Several comparisons drawn as one, where they asked for the same."""

from typing import Any

import pytest

from src.comparing.record import Comparison
from src.comparing.together import together
from src.comparing.verdict import judge
from src.errors import InputError
from tests.comparing.conftest import made_plan, made_run, made_search
from tests.comparing.test_verdict import NOW

WORTH = {"a": 1.0, "b": 2.0, "c": 3.0}


def comparison(methods: str, seeds: int = 12, **protocol: Any) -> Comparison:
    runs = [
        made_run(name, 1000 + seed, WORTH[name] + 0.01 * ((seed * (ord(name) % 7)) % 5), kind)
        for name in methods for seed in range(seeds) for kind in ("tuned", "default")
    ]  # fmt: skip
    plan = made_plan(methods=tuple(methods), seeds=seeds)
    searches = [made_search(name) for name in methods]
    found = judge(plan, searches, runs, {}, [], NOW)
    settings = {"methods": [*methods], "protocol.n_trials": 4, "protocol.seeds": seeds, **protocol}
    return found.model_copy(update={"protocol": settings, "name": methods, "withheld": []})


def test_their_methods_are_ranked_together() -> None:
    """b stands in both, and counts once; pairs are on the seeds that all have."""
    found = together([comparison("ab"), comparison("bc", seeds=8)])
    assert found.methods == ["a", "b", "c"]
    assert [(row.method, row.kind) for row in found.table[:3]] == [
        (name, "tuned") for name in "abc"
    ]
    assert len(found.runs) == 2 * (12 + 12 + 8)
    verdicts = {(pair.a, pair.b): (pair.verdict, pair.n) for pair in found.pairs}
    assert verdicts == dict.fromkeys([("a", "b"), ("a", "c"), ("b", "c")], ("better", 8))
    assert found.sentence.startswith("a is best")
    assert found.name == "ab + bc"
    assert "8 seeds that all have" in found.basis


def test_other_protocols_are_refused() -> None:
    other = comparison("bc", **{"protocol.n_trials": 8})
    with pytest.raises(InputError, match=r"ab and bc .*: protocol\.n_trials was 4, is 8$"):
        together([comparison("ab"), other])


@pytest.mark.parametrize(("done", "rests"), [(5, (12, "one search")), (7, (7, "2 searches"))])
def test_a_search_that_was_stopped_among_its_seeds(done: int, rests: tuple[int, str]) -> None:
    """Only runs count that each method has, as many as can be; none is made up."""
    seeds, number = rests
    found = [comparison("ab"), comparison("bc", **{"protocol.searches": 2})]
    second = [
        made_run(name, 1000 + seed, WORTH[name] + 0.01 * ((seed * (ord(name) % 5)) % 4), search=1)
        for name, count in (("a", 12), ("b", 12), ("c", done)) for seed in range(count)
    ]  # fmt: skip
    both = [one.model_copy(update={"runs": [*one.runs, *second]}) for one in found]
    drawn = together(both)
    assert {pair.n for pair in drawn.pairs} == {seeds}
    assert f"on {number} of each method and the {seeds} seeds that all have" in drawn.basis
    assert ("The luck of a search is not in it" in drawn.basis) == (number == "one search")
    (difference,) = (pair.difference for pair in drawn.pairs if (pair.a, pair.b) == ("b", "c"))
    assert difference == pytest.approx(-1, abs=0.05)
