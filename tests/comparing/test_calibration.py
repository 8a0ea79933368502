"""The verdict's error rates, by simulation and on stored runs that were really trained."""

import numpy as np
import pytest

from benchmarks.error_rates import LUCK, NOISE, Luck, simulate
from benchmarks.stored_error_rates import Stored, against_itself, among_themselves, stored
from src.comparing.statistics import compare
from src.metrics import Direction

STORED = stored()
EACH = [(known, method) for known in STORED for method in known.values]
SPREAD = [(known, method) for known, method in EACH if np.ptp(known.values[method]) > 0]
IDS = [f"{known.problem}-{known.metric}-{method}" for known, method in SPREAD]


def draw(rng, values, shift=0.0):
    """Ten seeds against ten others, the second shifted."""
    chosen = rng.choice(values, 20, replace=False)
    return {"a": chosen[None, :10], "b": chosen[None, 10:] + shift}


@pytest.fixture
def losses():
    """Final test losses of Adam on the digits, one per seed."""
    return next(known.values["adam"] for known in STORED if known.problem == "digits")


@pytest.mark.slow
def test_a_against_a(losses):
    """200 comparisons of a method with itself call a difference in at most 7% of cases."""
    rng = np.random.default_rng(0)
    calls = [compare(draw(rng, losses), Direction.MINIMIZE)[0].verdict for _ in range(200)]
    assert sum(call != "undecided" for call in calls) <= 0.07 * 200


@pytest.mark.slow
def test_two_standard_deviations(losses):
    """... and a difference of two standard deviations is found in at least 90% of cases."""
    rng = np.random.default_rng(1)
    shift = 2 * losses.std(ddof=1)
    calls = [compare(draw(rng, losses, shift), Direction.MINIMIZE)[0].verdict for _ in range(200)]
    assert calls.count("worse") == 0
    assert calls.count("better") >= 0.9 * 200


COMPARISONS = 1000
BAND = 2 * (0.05 * 0.95 / COMPARISONS) ** 0.5  # Monte Carlo error of a share of 5%


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_four_methods_that_are_the_same(noise):
    """Through all looks and pairs: a false difference in at most 5% of comparisons."""
    found = simulate(NOISE[noise], shift=0, margin=0, comparisons=COMPARISONS)
    assert 0 < found.false <= 0.05 + BAND


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "power", "seeds"), [(1, 0.95, 26), (2, 0.95, 14), (0.5, 0.9, 160)]
)
def test_what_looks_find(shift, power, seeds):
    """Differences in standard deviations of paired differences, and the mean number of seeds."""
    found = simulate(NOISE["normal"], shift, margin=0, comparisons=COMPARISONS // 2)
    assert found.power >= power
    assert found.seeds < seeds


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_what_is_called_equivalent(noise):
    """The margin is one standard deviation: no difference is inside, one of the margin isn't."""
    same = simulate(NOISE[noise], shift=0, margin=1, comparisons=COMPARISONS // 4)
    assert same.equivalent >= 0.8
    apart = simulate(NOISE[noise], shift=1, margin=1, comparisons=COMPARISONS)
    assert apart.false_equivalent <= 0.05 + BAND


def test_a_few_of_these_comparisons():
    """So that the quick suite runs the whole way; 40 comparisons prove nothing."""
    assert simulate(NOISE["normal"], 2, 0, comparisons=10).power == 1
    assert simulate(NOISE["rounded accuracies (ties)"], 0, 1, comparisons=10).equivalent > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "spread"), LUCK)
def test_what_is_said_of_methods_whose_winners_differ(kind, spread):
    """With searches=auto: a false difference, or a false equivalence, in at most 5%."""
    luck = Luck(spread, 3, 3, NOISE[kind])
    same = simulate(NOISE["normal"], 0, margin=0, comparisons=COMPARISONS, luck=luck)
    assert same.false <= 0.05 + BAND
    apart = simulate(NOISE["normal"], 1, margin=1, comparisons=COMPARISONS // 2, luck=luck)
    assert apart.false_equivalent <= 0.05 + BAND


@pytest.mark.slow
def test_one_search_tells_of_its_winners_alone():
    """Methods are the same and their winners aren't: so the words don't speak of methods."""
    assert simulate(NOISE["normal"], 0, 0, 50, luck=Luck(1.0)).false > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("known", "method"), SPREAD, ids=IDS)  # the others have no deviation
def test_stored_runs_against_themselves(known, method):
    """The runs of one method, dealt out to four: as with made-up values."""
    values = known.values[method]
    assert against_itself(values, 0, 0, COMPARISONS).false <= 0.05 + BAND
    assert against_itself(values, 1, 1, COMPARISONS).false_equivalent <= 0.05 + BAND


@pytest.mark.slow
@pytest.mark.parametrize("known", STORED, ids=[f"{it.problem}-{it.metric}" for it in STORED])
def test_half_of_the_stored_seeds_do_not_contradict_all(known):
    """A pair that is called one way is called the other way in no more than 5%."""
    found = among_themselves(known, COMPARISONS // 4)
    assert found.pairs == 0 or found.opposite <= 0.05


def test_the_stored_runs_are_whole_and_go_through_the_looks():
    assert all(len(values) >= 80 for known, method in EACH for values in [known.values[method]])
    assert all(np.isfinite(known.values[method]).all() for known, method in EACH)
    assert len({known.problem for known in STORED}) >= 3
    some = Stored(
        "made up",
        "test_accuracy",
        {
            name: np.arange(80.0) + shift
            for name, shift in (("a", 9), ("b", 0), ("c", 0), ("d", -9))
        },
    )
    found = among_themselves(some, 2)
    assert (found.pairs, found.same, found.opposite) == (5, 1, 0)
    assert against_itself(np.arange(80.0), 3, 0, 3).power == 1
