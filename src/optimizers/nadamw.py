"""NAdamW."""

from dataclasses import replace

from torch import Tensor

from src.optimizers.adam import adam
from src.optimizers.adamw import AdamW
from src.optimizers.directions import Quotient
from src.optimizers.formulas import Scalar, cast
from src.optimizers.method import Method


def nadamw(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Quotient:
    """Adam's direction, with the average that the same gradient would give once more."""
    direction = adam(grad, exp_avg, exp_avg_sq, step, betas, eps)
    return direction._replace(top=exp_avg.lerp(grad, cast(1 - betas[0], grad)))


class NAdamW(Method):
    """NAdamW: AdamW that looks ahead by one step of momentum, as Nesterov does.

        θ ← (1 − lr·λ)·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = (β₁·m + (1−β₁)·g) / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√v̂ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Dahl et al., Benchmarking Neural Network Training Algorithms, 2023 (AlgoPerf's baseline),
        https://arxiv.org/abs/2306.07179

    This is the method of that benchmark's code. It differs from NAdam (Dozat 2016) with decoupled
    decay, which torch.optim.NAdam has: there β₁ warms up, and the two parts of m̂ are corrected
    separately.
    """

    settings = AdamW.settings
    rule = replace(AdamW.rule, direction=nadamw)
