"""Learning-rate schedules: pure functions of the optimizer step, counted from 0.

Each gives the factor by which a step's learning rate differs from the configured one.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Constant:
    """Always 1, after an optional warm-up; the others differ in `decay` alone.

    In the warm-up, step s of w has the factor (s + 1) / w, so the first step is not lost. `decay`
    counts from the end of the warm-up.

    Args:
        total_steps: of the whole run, >= 1; the trainer knows it.
        warmup_steps: of the warm-up, from 0 to `total_steps`.

    Raises:
        ValueError: a setting out of range.
    """

    total_steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if type(self.warmup_steps) is not int or self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be an integer >= 0, got {self.warmup_steps!r}")
        if self.warmup_steps > self.total_steps:
            raise ValueError(
                f"warmup_steps must be at most the run's {self.total_steps} steps, "
                f"got {self.warmup_steps}"
            )

    def __call__(self, step: int) -> float:
        """The factor of a step from 0 to `total_steps` - 1."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.decay(step - self.warmup_steps, self.total_steps - self.warmup_steps)

    def decay(self, step: int, steps: int) -> float:
        """The factor at `step` of the `steps` that follow the warm-up."""
        return 1.0


@dataclass(frozen=True)
class Cosine(Constant):
    """From 1 to `end_factor` along half a cosine: e + (1 - e) * (1 + cos(pi * s / n)) / 2.

    Args:
        end_factor: in [0, 1].

    Reference: `SGDR: Stochastic Gradient Descent with Warm Restarts
    <https://arxiv.org/abs/1608.03983>`_, without restarts.
    """

    end_factor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_factor("end_factor", self.end_factor)

    def decay(self, step: int, steps: int) -> float:
        wave = (1 + math.cos(math.pi * step / steps)) / 2
        return self.end_factor + (1 - self.end_factor) * wave


@dataclass(frozen=True)
class Linear(Constant):
    """From 1 to `end_factor` along a line: 1 + (e - 1) * s / n.

    Args:
        end_factor: in [0, 1].
    """

    end_factor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_factor("end_factor", self.end_factor)

    def decay(self, step: int, steps: int) -> float:
        return 1 + (self.end_factor - 1) * step / steps


@dataclass(frozen=True)
class Step(Constant):
    """Times `gamma` after every `step_size` steps: gamma ** (s // step_size).

    Args:
        step_size: optimizer steps, >= 1.
        gamma: in [0, 1].
    """

    step_size: int = 1000
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_factor("gamma", self.gamma)
        if type(self.step_size) is not int or self.step_size < 1:
            raise ValueError(f"step_size must be an integer >= 1, got {self.step_size!r}")

    def decay(self, step: int, steps: int) -> float:
        return float(self.gamma ** (step // self.step_size))


def _check_factor(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], got {value!r}")


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its configured learning rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
