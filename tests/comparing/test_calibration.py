"""The verdict's error rates, by simulation on runs that were really trained."""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

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
