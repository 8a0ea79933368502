"""Each doubt on a made-up case, and not on its twin that differs in that alone."""

import math
from typing import Any

import pytest
import torch

from src.comparing import checks
from src.comparing.guess import constant_guess
from src.comparing.record import Doubt, Pair, Search, Trial
from src.comparing.searching import widened
from src.metrics import Direction
from tests.comparing.conftest import made_run


def trial(number: int, state: str = "complete", cost: float = 1.0, **params: float) -> Trial:
    value = cost if state == "complete" else None
    return Trial(number=number, state=state, counted=state != "failed", value=value, cost=value,
                 params=params)  # fmt: skip


def search(method: str = "adam", lr: float = 1e-3, **changes: Any) -> Search:
    trials = [trial(0, cost=0.5, lr=lr), trial(1, cost=0.9, lr=1e-2), trial(2, "pruned", lr=1e-4)]
    space = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}}
    base = {"method": method, "search": 0, "space": space, "trials": trials, "shared_hash": "x"}
    return Search.model_validate({**base, **changes})


def pair(a: str, b: str, verdict: str) -> Pair:
    return Pair(a=a, b=b, verdict=verdict)


def named(found: list[Doubt]) -> list[tuple[str, str | None]]:
    return [(one.check, one.method) for one in found]


def spaces(**dimensions: dict[str, Any]) -> dict[str, Any]:
    """Of each method."""
    return {name: search(name, space=space).space for name, space in dimensions.items()}


@pytest.mark.parametrize("lr", [1.1e-5, 0.09])
def test_the_best_at_an_edge(lr):
    assert named(checks.at_an_edge([search(lr=lr)])) == [("edge", "adam")]
    assert checks.at_an_edge([search(lr=1e-3)]) == []


@pytest.mark.parametrize(
    ("rates", "doubts"),
    [
        ([0.09], 1),
        ([0.09, 1e-3], 1),  # half of them
        ([0.09, 1e-3, 1e-3], 0),
        ([0.09, 0.08, 1e-3], 2),
        ([0.09, 1.1e-5, 1e-3], 0),  # two edges, of which neither is met by half
        ([0.09, 1e-3, 1e-3, 0.08, 0.07, 1e-3], 3),
    ],
)
def test_of_several_searches_half_must_end_at_the_same_edge(rates, doubts):
    made = [search(lr=rate, search=number) for number, rate in enumerate(rates)]
    others = [search("sgd", search=number) for number in range(6)]  # which end well inside
    assert named(checks.at_an_edge([*made, *others])) == [("edge", "adam")] * doubts


def test_the_text_of_an_edge_names_the_value_and_the_space():
    (doubt,) = checks.at_an_edge([search(lr=0.09)])
    assert "lr, 0.09," in doubt.text
    assert "[1e-05, 0.1]" in doubt.text
    assert doubt.text.endswith("(protocol.widen=1 widens the space and goes on)")


@pytest.mark.parametrize(("value", "side"), [(4.9, "low"), (5, None), (95, None), (95.1, "high")])
def test_an_edge_is_less_than_a_twentieth_wide(value, side):
    space = {"x": {"low": 0, "high": 100, "log": False}}
    found = checks.edges(search(space=space, trials=[trial(0, x=value)]))
    assert {name: edge.side for name, edge in found.items()} == ({"x": side} if side else {})


def test_a_natural_bound_is_no_edge():
    """1 - momentum = 1 is no momentum at all: nothing lies beyond."""
    space = {"search.one_minus_momentum": {"low": 5e-3, "high": 1.0, "log": True}}
    names = {"search.one_minus_momentum": 0.99}
    one = search(space=space, trials=[trial(0, **names)])
    assert checks.at_an_edge([one]) == []
    names = {"search.one_minus_momentum": 5.1e-3}
    assert named(checks.at_an_edge([search(space=space, trials=[trial(0, **names)])])) != []


def test_widening_moves_only_the_edge_that_was_met():
    assert widened(search(lr=0.09)) == {"lr": "tag(log, interval(1e-05, 1.0))"}
    assert widened(search(lr=1.1e-5)) == {"lr": "tag(log, interval(1.0000000000000002e-06, 0.1))"}
    assert widened(search(lr=1e-3)) == {}


def test_widening_whole_numbers_and_what_cannot_be_widened():
    def at_low(low, high, log=True):
        return search(
            space={"lr": {"low": low, "high": high, "log": log}}, trials=[trial(0, lr=low)]
        )

    assert widened(at_low(20, 64)) == {"lr": "int(tag(log, interval(2, 64)))"}
    assert widened(at_low(1, 64)) == {}
    assert widened(at_low(0.5, 1.0, log=False)) == {}, "a decade means nothing there"
    assert widened(at_low(0.1, 1.0), works=lambda name, value: value >= 0.05) == {}
    assert widened(at_low(0.1, 1.0), works=lambda name, value: value == 0.01) != {}
    (doubt,) = checks.at_an_edge([at_low(0.5, 1.0, log=False)])
    assert "widen" not in doubt.text


def test_choices_have_no_edge_and_contain_each_other():
    def of(*choices):
        return {"lr": {"choices": [*choices]}}

    one = search(space=of("a", "b"), trials=[trial(0, lr="a")])
    assert checks.at_an_edge([one]) == []
    assert widened(one) == {}
    lost = [pair("momentum", "sgd", "worse")]
    assert checks.under_tuned(lost, spaces(momentum=of("a", "b"), sgd=of("b")))
    assert checks.under_tuned(lost, spaces(momentum=of("b", "a"), sgd=of("a", "b")))
    assert checks.under_tuned(lost, spaces(momentum=of("a"), sgd=of("b"))) == []
    assert checks.under_tuned(lost, spaces(momentum=of("a", "b"), sgd=of("b", "c"))) == []
    single = {"lr": {"low": 0.1, "high": 0.1, "log": False}}
    assert checks.at_an_edge([search(space=single, trials=[trial(0, lr=0.1)])]) == []


@pytest.mark.parametrize(
    ("loser", "winner"), [("momentum", "sgd"), ("nesterov", "sgd"), ("adamw", "adam")]
)
def test_losing_to_what_it_contains(loser, winner):
    doubted = [("under-tuned", loser)]
    assert named(checks.under_tuned([pair(loser, winner, "worse")], {})) == doubted
    assert named(checks.under_tuned([pair(winner, loser, "better")], {})) == [
        ("under-tuned", loser)
    ]
    (doubt,) = checks.under_tuned([pair(loser, winner, "worse")], {})
    assert doubt.text.startswith(f"{loser} loses to {winner}, which its search space contains")
    assert doubt.text.endswith("(raise protocol.n_trials)")
    for fine in (
        pair(loser, winner, "better"),
        pair(loser, winner, "undecided"),
        pair(winner, loser, "worse"),
        pair(loser, winner, "worse").model_copy(update={"within_margin": True}),
        pair(winner, loser, "better").model_copy(update={"within_margin": True}),
    ):
        assert checks.under_tuned([fine], {}) == []


def test_a_space_that_was_widened_is_no_longer_contained():
    def space(high: float) -> dict[str, Any]:
        return {"optimizer.lr": {"low": 1e-4, "high": high, "log": True}}

    lost = [pair("momentum", "sgd", "worse")]
    assert checks.under_tuned(lost, spaces(momentum=space(5), sgd=space(5)))
    assert checks.under_tuned(lost, spaces(momentum=space(5), sgd=space(50))) == []


def test_too_many_bad_trials():
    bad = [trial(n, "diverged" if n % 2 else "failed", lr=1.0) for n in range(4)]
    good = [trial(n, lr=1.0) for n in range(4)]
    assert named(checks.too_many_bad([search(trials=bad + good[:3])], 0.5)) == [
        ("bad trials", "adam")
    ]
    assert checks.too_many_bad([search(trials=bad + good)], 0.5) == []


def test_unequal_budgets():
    short = search("sgd", trials=[trial(0, lr=1e-3)])
    assert named(checks.unequal_budgets([search(), short])) == [("budget", None)]
    assert checks.unequal_budgets([search(), search("sgd")]) == []
    other = search("sgd", shared_hash="y")
    assert named(checks.unequal_budgets([search(), other])) == [("protocol", None)]


def test_trials_that_fail_by_their_settings_are_budget():
    spent = trial(2, "failed", lr=1.0).model_copy(update={"counted": True})
    two = search().trials[:2]
    assert checks.unequal_budgets([search(), search("sgd", trials=[*two, spent])]) == []
    other = search("sgd", trials=[*two, spent.model_copy(update={"counted": False})])
    assert named(checks.unequal_budgets([search(), other])) == [("budget", None)]


def test_failed_trials_are_no_budget():
    more = search("sgd", trials=[*search().trials, trial(3, "failed", lr=1.0)])
    assert checks.unequal_budgets([search(), more]) == []


def test_a_saturated_metric():
    full, open_ = [0.9999] * 5, [0.98] * 5
    assert named(checks.saturated({"a": full, "b": full})) == [("saturated", None)]
    assert checks.saturated({"a": full, "b": open_}) == []
    assert checks.saturated({"a": [], "b": []}) == []


def at(value: float, low: float, high: float, log: bool, name: str = "x") -> dict[str, str]:
    space = {name: {"low": low, "high": high, "log": log}}
    return sides(search(space=space, trials=[trial(0, **{name: value})]))


def sides(one: Search) -> dict[str, str]:
    return {name: edge.side for name, edge in checks.edges(one).items()}


def test_an_edge_is_a_twentieth_of_the_space_in_its_own_scale():
    """Of four decades 0.2, which is a factor of 1.585; of a unit 0.05."""
    assert at(1e-4 * 1.58, 1e-4, 1.0, True) == {"x": "low"}
    assert at(1e-4 * 1.59, 1e-4, 1.0, True) == {}
    assert at(1 / 1.58, 1e-4, 1.0, True) == {"x": "high"}
    assert at(1 / 1.59, 1e-4, 1.0, True) == {}
    assert at(2.049, 2.0, 3.0, False) == {"x": "low"}
    assert at(2.051, 2.0, 3.0, False) == {}
    assert at(2.951, 2.0, 3.0, False) == {"x": "high"}
    assert at(2.949, 2.0, 3.0, False) == {}
    beta = "search.one_minus_beta"
    assert at(0.99, 0.01, 1.0, True, beta) == {}
    assert at(0.49, 0.005, 0.5, True, beta) == {beta: "high"}
    assert at(0.99, 0.01, 1.0, True, "optimizer.one") == {"optimizer.one": "high"}


@pytest.mark.parametrize(
    ("cost", "x", "doubted"),
    [
        (1.05, 0.251, False),  # as good, and in the middle half
        (1.05, 0.25, False),
        (1.05, 0.749, False),
        (1.05, 0.249, True),
        (1.05, 0.751, True),  # at the other end, which is no better
        (1.051, 0.5, True),  # not as good
    ],
)
def test_a_trial_as_good_well_inside_speaks_against_an_edge(cost, x, doubted):
    """Where all values do as well, the best lies anywhere, at an edge as often as elsewhere."""
    unit = {"x": {"low": 0.0, "high": 1.0, "log": False}}
    trials = [trial(0, cost=cost, x=x), trial(1, cost=1.0, x=0.01), trial(2, "pruned", x=0.5)]
    mirrored = [each.model_copy(update={"params": {"x": 1 - each.params["x"]}}) for each in trials]
    for some, side in ((trials, "low"), (mirrored, "high")):
        one = search(space=unit, trials=some, margin=0.05)
        assert bool(checks.at_an_edge([one])) is doubted
        assert checks.at_an_edge([search(space=unit, trials=some)]), "nothing says what is as good"
        assert sides(one) == {"x": side}, "a wider search doesn't depend on the margin"


def test_parameters_without_a_beyond_hide_no_others():
    space = {"a": {"choices": [1]}, "b": {"low": 1, "high": 1, "log": False},
             "c": {"low": 0.0, "high": 1.0, "log": False}}  # fmt: skip
    one = search(space=space, trials=[trial(0, a=1, b=1, c=0.0)])
    assert sides(one) == {"c": "low"}


def test_the_best_is_the_complete_trial_of_the_lowest_cost():
    trials = [
        trial(0, cost=2.0),
        trial(1, cost=1.0),
        trial(2, cost=0.5).model_copy(update={"state": "pruned"}),
    ]
    assert checks.best(trials).number == 1
    assert checks.best(trials[2:]) is None
    assert checks.edges(search(trials=trials[2:])) == {}


def test_an_inclusive_space_contains_its_methods():
    lost = [pair("muon_inclusive", "muon", "worse")]
    assert named(checks.under_tuned(lost, {})) == [("under-tuned", "muon_inclusive")]
    assert checks.under_tuned([pair("muon", "muon_inclusive", "worse")], {}) == []
    assert checks.under_tuned([pair("lion", "sgd", "worse")], {}) == []


@pytest.mark.parametrize(
    ("loser", "winner", "kin"),
    [
        ("torch/adamw", "torch/adam", True),
        ("torch/momentum", "torch/sgd", True),
        ("lab/mine_inclusive", "lab/mine", True),
        ("torch/adamw", "adam", False),  # torch's class may differ
        ("adamw", "torch/adam", False),
        ("torch/adam", "torch/adam", False),
    ],
)
def test_a_space_contains_another_of_its_folder(loser: str, winner: str, kin: bool):
    assert checks.contains(loser, winner, {}) is kin


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(0.1, 1.0, True), (0.2, 1.0, False), (0.1, 0.9, False), (0.01, 10.0, True)],
)
def test_a_space_contains_another(low, high, holds):
    """In every dimension that both have; those of one alone don't count."""

    def of(low: float, high: float) -> dict[str, Any]:
        return {"low": low, "high": high, "log": True}

    momentum, sgd = {"lr": of(low, high), "beta": of(0, 1)}, {"lr": of(0.1, 1.0), "other": of(0, 1)}
    assert checks.contains("momentum", "sgd", spaces(momentum=momentum, sgd=sgd)) is holds
    chosen = {"lr": {"choices": [0.2]}}
    for other in ({"lr": {"choices": [0.1]}}, momentum):
        assert not checks.contains("momentum", "sgd", spaces(momentum=other, sgd=chosen))
    assert not checks.contains("momentum", "sgd", spaces(momentum=chosen, sgd=sgd))


def test_budgets_are_counted_by_method_and_search():
    spent = trial(1, "failed").model_copy(update={"counted": True})
    searches = [search("a", trials=[trial(0), trial(1, "pruned"), trial(2, "failed"), spent]),
                search("a", search=1, trials=[trial(0)])]  # fmt: skip
    assert checks.budgets(searches) == {"a 0": 3, "a 1": 1}


def test_doubts_of_all_kinds():
    """Each check is asked, with what it needs."""
    trials = [trial(0, lr=0.09), trial(1, "diverged", lr=0.1), trial(2, "failed", lr=0.1)]
    bad = search("momentum", shared_hash="y", trials=trials)
    lost = [pair("momentum", "sgd", "worse")]
    found = checks.doubts([bad, search("sgd")], lost, {"a": [1.0], "b": [1.0]}, 0.5)
    assert named(found) == [
        ("edge", "momentum"), ("under-tuned", "momentum"), ("bad trials", "momentum"),
        ("budget", None), ("protocol", None), ("saturated", None), ("few trials", "momentum"),
        ("few trials", "sgd"),
    ]  # fmt: skip
    assert "2 of 3 trials" in found[2].text
    assert all(one.text for one in found)
    budgets = {"momentum 0": 2, "sgd 0": 3}
    assert found[3].text == f"the searches had unequal budgets: {budgets}"
    assert "different data, models, trainers or objectives" in found[4].text


def test_saturated_on_average():
    assert checks.saturated({"a": [0.9995], "b": [1.0, 0.999], "c": [0.5]}) != []
    assert checks.saturated({"a": [0.9994], "b": [1.0]}) == []
    (doubt,) = checks.saturated({"a": [1.0], "b": [1.0], "c": [0.5]})
    assert doubt.text.startswith("a, b all reach an accuracy of 99.95% or more")


def test_too_few_complete_trials():
    """Three of four trials were complete: of three a winner is hardly chosen."""
    few = search("a", trials=[trial(n) for n in range(3)] + [trial(3, "pruned")])
    enough = search("b", trials=[trial(n) for n in range(4)])
    (doubt,) = checks.too_few_complete([few, enough])
    assert (doubt.method, "best of 3 complete trials" in doubt.text) == ("a", True)
    assert "protocol.n_trials" in doubt.text


@pytest.mark.parametrize(
    ("tuned", "default", "complete", "failed"),
    [
        (1.0, 2.0, 4, False),
        (2.0, 1.0, 20, True),
        (1.0, 1.0, 9, True),  # the default won, of too few trials to say that it is good
        (1.0, 1.0, 10, False),
        (1.04, 1.0, 10, False),  # within the margin
        (1.06, 1.0, 10, True),
    ],
)
def test_a_winner_no_better_than_the_default(
    tuned: float, default: float, complete: int, failed: bool
):
    runs = [made_run("a", seed, tuned) for seed in (0, 1, 2)]
    runs += [made_run("a", seed, default, "default") for seed in (0, 1)]
    searches = [search("a", trials=[trial(n) for n in range(complete)])]
    found = checks.failed(["a"], searches, runs, Direction.MINIMIZE, 0.05)
    assert [doubt.check for doubt in found] == ["failed search"] * failed
    mirrored = [run.model_copy(update={"value": -run.value}) for run in runs]
    found = checks.failed(["a"], searches, mirrored, Direction.MAXIMIZE, 0.05)
    assert len(found) == failed


def test_defaults_and_winners_are_compared_on_the_same_seeds():
    """Beyond the default's seed 0 the winner is far worse, which says nothing of the default."""
    runs = [made_run("a", 0, 1.0), made_run("a", 1, 9.0), made_run("a", 0, 2.0, "default"),
            made_run("a", 1, None, "default")]  # fmt: skip
    assert checks.failed(["a"], [search("a")], runs, Direction.MINIMIZE, 0.0) == []
    assert checks.failed(["a"], [search("a")], runs[:2], Direction.MINIMIZE, 0.0) == []


@pytest.mark.parametrize(
    ("metric", "value", "failed"),
    [("test_accuracy", 0.185, True), ("test_accuracy", 0.2, False), ("test_loss", 2.1, True),
     ("test_loss", 2.0, False)],
)  # fmt: skip
def test_a_winner_like_a_constant_guess(metric: str, value: float, failed: bool):
    """Of ten classes: a new user's winner of 18.5% had saved less than a tenth of the error."""
    guess = {"loss": 2.3026, "accuracy": 0.1}
    found = checks.constant(["a"], [made_run("a", 0, value)], metric, guess)
    assert [doubt.check for doubt in found] == ["no better than a guess"] * failed
    assert checks.constant(["a"], [made_run("a", 0, value)], metric, {}) == []


def test_the_constant_guess():
    """Three quarters of one class: 0.75 right, and the entropy 0.562 of that coin."""
    guess = constant_guess(torch.tensor([0, 0, 0, 1]))
    assert guess["accuracy"] == 0.75
    assert guess["loss"] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert constant_guess(torch.tensor([0.5, 1.0])) == {}
