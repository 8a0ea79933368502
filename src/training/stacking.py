"""Which runs train at once with those beside them, and which to their end alone.

It changes nothing of what a run computes, only how long that takes. Where the config says `auto`, a
run meets others only where that was seen to be quicker (`benchmarks/stacks.py`): in a small model's
step most of the time goes to starting operations, which K runs share; a large model's step gains
nothing by that; and before the first step of a stack, what is done in it is recorded and compared,
which a short run doesn't earn back.
"""

from src.config import Config
from src.training.build import Parts
from src.training.device import follow, size

AT_ONCE = 20  # runs, with trainer.stack=auto
LEAST = 4  # runs; fewer are quicker one after the other
# Multiply-adds of a linear model's forward pass; beyond, K at once were not seen to be quicker.
LARGEST = {"cpu": 2**19, "cuda": 2**19}
FEWEST = 150  # steps; fewer don't earn back what a stack costs before its first


def runs_at_once(config: Config) -> int:
    """How many runs may train at once, >= 1."""
    return AT_ONCE if config.trainer.stack == "auto" else config.trainer.stack


def why_alone(config: Config, parts: Parts) -> str | None:
    """Why a run doesn't train with those beside it; None if it does."""
    if (config.trainer.threads or follow(config, parts.model)) > 1:
        return "with more than one thread K at once may give other bits"
    if config.trainer.accumulate > 1:
        return "its batches go through the model in parts (trainer.accumulate)"
    if config.trainer.stack != "auto":
        return None
    work = config.data.batch_size * size(parts.model)
    if work > LARGEST.get(parts.device.type, 0):
        return "a model of this size gains nothing by it (trainer.stack=auto)"
    if config.trainer.epochs * parts.batches.steps < FEWEST:
        return "a run this short gains nothing by it (trainer.stack=auto)"
    return None
