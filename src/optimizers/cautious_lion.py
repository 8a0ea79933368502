"""Cautious Lion."""

from dataclasses import replace

from torch import Tensor

from src.optimizers.directions import cautious
from src.optimizers.formulas import Scalar
from src.optimizers.lion import Lion, lion
from src.optimizers.method import Method


def cautious_lion(grad: Tensor, exp_avg: Tensor, betas: tuple[Scalar, Scalar]) -> Tensor:
    """Lion's direction where the gradient agrees."""
    return cautious(lion(grad, exp_avg, betas), grad)


class CautiousLion(Method):
    """Cautious Lion: Lion that moves only the elements whose step agrees with the gradient.

        θ ← (1 − lr·λ)·θ
        u = sign(β₁·m + (1−β₁)·g)
        m ← β₂·m + (1−β₂)·g
        k = [u·g > 0]
        θ ← θ − lr·u·k / max(mean k, 10⁻³)            (the mean is over the tensor)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Liang et al., Cautious Optimizers: Improving Training with One Line of Code, 2024,
        https://arxiv.org/abs/2411.16085

    Deviation from the paper, as in its authors' code: the mean of k is kept above 10⁻³, where the
    paper has k's number plus one in its place. torch.optim has no such class.
    """

    settings = Lion.settings
    rule = replace(Lion.rule, direction=cautious_lion, elementwise=False)
    allows_complex = False
