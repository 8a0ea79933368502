"""From pairs and runs to sentences, on made-up cases."""

from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing.statistics import Pair
from src.comparing.verdict import _diverged, _told, judge


def pair(a: str, b: str, verdict: str, seeds: int | None = None) -> Pair:
    numbers = dict.fromkeys(("difference", "low", "high", "p", "p_holm"), 0.0)
    return Pair(a=a, b=b, n=5, test="", effect=None, detectable=None, seeds_to_settle=seeds,
                verdict=verdict, **numbers)  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (
            [pair("a", "b", "better"), pair("a", "c", "better"), pair("c", "b", "worse")],
            "a is better than b and c; b is better than c.",
        ),
        (
            [pair("a", "b", "undecided", 1200), pair("a", "c", "better"), pair("b", "c", "better")],
            "a is better than c; b is better than c. "
            "Undecided: a and b (about 1,200 seeds would settle it).",
        ),
        (
            [pair("a", "b", "undecided")],
            "no method is surely better than another. "
            "Undecided: a and b (no number of seeds in sight).",
        ),
    ],
)
def test_what_is_told(pairs: list[Pair], told: str) -> None:
    assert _told(["a", "b", "c"], pairs) == told


@pytest.mark.parametrize(("kind", "found"), [("tuned", 1), ("default", 0)])
def test_a_winner_that_diverges(kind: str, found: int) -> None:
    """A default that diverges says something of the default; a winner withholds the verdict."""
    plan: Any = SimpleNamespace(methods=("a", "b"))
    ended = [("a", "tuned", "completed"), ("b", "tuned", "completed"), ("b", kind, "diverged")]
    runs = [dict(zip(("method", "kind", "status"), one, strict=True)) for one in ended]
    doubts = _diverged(plan, runs)
    assert len(doubts) == found
    assert all("b: its winner diverged on 1" in one["text"] for one in doubts)


def test_a_comparison_in_which_every_run_diverges() -> None:
    """It ends, withheld, with nothing to compare: what it took to find out is kept."""
    choices = SimpleNamespace(data="digits", model="mlp")
    hydra = SimpleNamespace(runtime=SimpleNamespace(choices=choices))
    protocol = SimpleNamespace(
        metric="test_loss", reference=None, target=None, seeds=2, searches=1, first_seed=1000,
        max_bad=0.5, n_trials=1,
    )  # fmt: skip
    plan: Any = SimpleNamespace(
        methods=("a", "b"), protocol=protocol, configs={"a": SimpleNamespace(hydra=hydra)},
        name="n", hash=lambda: "h", settings=lambda: {"objective.metric": "val_loss"},
    )  # fmt: skip
    runs = [
        {"method": name, "kind": kind, "search": 0, "seed": seed, "status": "diverged",
         "value": None, "test_loss": None, "test_accuracy": None, "commit": "c", "idle": True,
         "rows": [{"step": 1, "samples": 1, "train_seconds": 0.1, "val_loss": None}]}
        for name in "ab" for kind in ("tuned", "default") for seed in (1000, 1001)
    ]  # fmt: skip
    trial = {"state": "complete", "cost": 1.0, "params": {}}
    searches = [
        {"method": name, "search": 0, "space": {}, "trials": [trial], "shared_hash": "x"}
        for name in "ab"
    ]
    found = judge(plan, searches, runs, {}, [])
    assert [one["check"] for one in found["withheld"]] == ["diverged winner"] * 2
    assert [one["verdict"] for one in found["pairs"]] == ["undecided"]
    assert found["target"]["value"] is None
    assert {line["test_loss"]["mean"] for line in found["table"]} == {None}
