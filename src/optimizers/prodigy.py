"""Prodigy."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    copied,
    epsilon,
    power,
    root,
    zeros,
)
from src.optimizers.kernels import Group
from src.optimizers.method import Method, Rule, pieces
from src.optimizers.settings import flag, fractions, not_negative, positive, table


def correction(step: int, betas: tuple[Scalar, Scalar], use_bias_correction: bool) -> Scalar:
    """Adam's corrections of m and √v as one factor, or 1."""
    if not use_bias_correction:
        return 1.0
    beta1, beta2 = betas
    return root(1 - power(beta2, step)) / (1 - power(beta1, step))


def prodigy(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    d_before: float,
    d: float,
    lr: Scalar,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    weight_decay: Scalar,
    use_bias_correction: bool,
) -> Quotient:
    """d·m / (√v + d'·ε), of averages of d·g and its square."""
    beta1, beta2 = betas
    scaled = grad * d_before
    exp_avg.lerp_(scaled, cast(1 - beta1, grad))
    average_square_(exp_avg_sq, scaled, beta2)
    denom = exp_avg_sq.sqrt().add_(epsilon(d * eps, grad))
    factor = d_before * correction(step, betas, use_bias_correction)
    if isinstance(weight_decay, Tensor) or weight_decay:
        param.mul_(cast(1 - lr * factor * weight_decay, grad))
    return Quotient(exp_avg, denom, factor=factor)


class Prodigy(Method):
    """Prodigy: AdamW that estimates the distance to the solution, and so its learning rate.

        b = √(1−β₂ᵗ) / (1−β₁ᵗ) with use_bias_correction, else 1            (t counts from 1)
        a ← √β₂·a + d²·lr·b·⟨g, θ₀−θ⟩,  s ← √β₂·s + d²·lr·b·g            (a starts at 0)
        d' = max(d, d_coef·a / ‖s‖₁)            (a and ‖s‖₁ summed over all parameters)
        m ← β₁·m + (1−β₁)·d·g
        v ← β₂·v + (1−β₂)·d²·g²
        θ ← (1 − lr·d·b·λ)·θ − lr·d·b·m / (√v + d'·ε)
        d ← d'

    Args:
        params: parameters, or groups of them with their own settings.
        lr: what d is multiplied with, >= 0, by a schedule, say; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of lr·d, >= 0.
        d0: d at the start, > 0.
        d_coef: the factor of the estimate, >= 0; what to tune. With 0, d stays d0.
        use_bias_correction: correct m and v as Adam does.
        safeguard_warmup: leave lr·b out of s, so that the small rates of a warm-up don't keep
            the denominator small.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, 2023,
        https://arxiv.org/abs/2306.06101

    Deviations from the paper, as in the authors' package: d' and not d stands before ε; the
    first estimate isn't scaled by 1 − √β₂, which cancels. Deviations from the package: groups may
    have different settings, but d is one; where all gradients are 0 the weights still decay; an
    estimate that overflows is passed over. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1.0),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
        d0=positive(1e-6),
        d_coef=not_negative(1.0),
        use_bias_correction=flag(False),
        safeguard_warmup=flag(False),
    )
    rule = Rule(
        prodigy,
        {"s": zeros, "p0": copied, "exp_avg": zeros, "exp_avg_sq": zeros},
        decay=None,
    )
    group_state: ClassVar[Mapping[str, Any]] = {"d": 0.0, "d_before": 0.0, "numerator": 0.0}
    allows_complex = False
    couples = True

    def begin_all(self) -> None:
        """Estimate d from all parameters."""
        d = max([0.0, *(max(group["d"], float(group["d0"])) for group in self.param_groups)])
        sums = [self._accumulate(group, d) for group in self.param_groups]
        top, bottom = (sum(parts) for parts in zip(*sums, strict=True))
        estimate = top / bottom if bottom > 0 else 0.0
        for group in self.param_groups:
            group["d_before"] = d
            group["d"] = max(d, estimate) if math.isfinite(estimate) else d

    def _accumulate(self, group: Group, d: float) -> tuple[float, float]:
        """Update a and s of a group; return d_coef·a and ‖s‖₁, the latter of what has gradients."""
        decay, sign = math.sqrt(group["betas"][1]), -1.0 if group["maximize"] else 1.0
        products, sizes = [], []
        for param, grad, state in zip(*self.with_gradients(group), strict=True):
            bias = correction(state["step"] + 1, group["betas"], group["use_bias_correction"])
            rate = d * d * float(group["lr"]) * float(bias)
            scale = d * d if group["safeguard_warmup"] else rate
            for now, g, p0, s in pieces(param, grad, state["p0"], state["s"]):
                products.append((sign * rate, torch.dot(g.flatten(), (p0 - now).flatten())))
                s.mul_(decay).add_(g, alpha=sign * scale)
                sizes.append(s.abs().sum())  # vector_norm takes five times as long
        added = sum(scale * float(product) for scale, product in products)  # waits for the device
        numerator = decay * group["numerator"] + added
        if math.isfinite(numerator):
            group["numerator"] = numerator
        return float(group["d_coef"]) * numerator, sum(float(size) for size in sizes)
