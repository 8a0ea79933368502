"""The verdict's error rates, by simulation on runs that were really trained."""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from benchmarks.error_rates import NOISE, simulate
from src.comparing.statistics import compare
from src.composing import register
from src.config import CONF, job_config, parse
from src.metrics import Direction
from src.training.run import run, snapshot

SEEDS = 80


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """Final test losses of Adam on the digits, one per seed."""
    register()
    folder, found = tmp_path_factory.mktemp("runs"), []
    with initialize_config_dir(str(CONF)):
        settings = ["trainer.epochs=3", "trainer.threads=1", "trainer.evaluate_at_end=[test]"]
        for seed in range(SEEDS):
            cfg = job_config(compose("config", overrides=[*settings, f"seed={seed}"]))
            place = folder / str(seed)
            place.mkdir()
            result = run(parse(cfg), snapshot(cfg), place, quiet=True, keep_last=False)
            found.append(result["at_end"]["test_loss"])
    return np.array(found)


def draw(rng, losses, shift=0.0):
    """Ten seeds against ten others, the second shifted."""
    chosen = rng.choice(losses, 20, replace=False)
    return {"a": chosen[None, :10], "b": chosen[None, 10:] + shift}


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
def test_stored_runs_against_themselves(losses):
    """Adam's own test losses, drawn for four methods: looks at 10 and 20 of 80 stored runs."""
    found = simulate(lambda rng, shape: rng.choice(losses, shape), 0, 0, COMPARISONS, (10, 20))
    assert found.false <= 0.05 + BAND
