"""Lion."""

from torch import Tensor

from src.optimizers.directions import decoupled
from src.optimizers.formulas import Scalar, cast, zeros
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, table


def lion(grad: Tensor, exp_avg: Tensor, betas: tuple[Scalar, Scalar]) -> Tensor:
    """sign(c)."""
    beta1, beta2 = betas
    update = exp_avg.lerp(grad, cast(1 - beta1, grad)).sign_()
    exp_avg.lerp_(grad, cast(1 - beta2, grad))
    return update


class Lion(Method):
    """Lion: every element moves by lr, in the direction of the sign of an average gradient.

        c = β₁·m + (1−β₁)·g
        θ ← (1 − lr·λ)·θ − lr·sign(c)
        m ← β₂·m + (1−β₂)·g

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
        Chen et al., Symbolic Discovery of Optimization Algorithms, 2023,
        https://arxiv.org/abs/2302.06675

    Complex parameters are refused: the paper defines no sign for them. torch.optim has no Lion.
    """

    settings = table(
        lr=not_negative(1e-4),
        betas=fractions(0.9, 0.99),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(lion, {"exp_avg": zeros}, decay=decoupled)
    allows_complex = False
