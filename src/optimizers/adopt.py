"""ADOPT."""

from torch import Tensor

from src.optimizers.directions import decoupled
from src.optimizers.formulas import Scalar, average_square_, cast, epsilon, zeros
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def first(grad: Tensor, exp_avg_sq: Tensor) -> None:
    """v = g²."""
    exp_avg_sq.addcmul_(grad, grad)


def adopt(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Tensor:
    """The average of gradients that are scaled by what was known before them."""
    beta1, beta2 = betas
    bound = step**0.25
    scaled = grad / exp_avg_sq.sqrt().clamp_(min=epsilon(eps, grad))
    exp_avg.lerp_(scaled.clamp_(-bound, bound), cast(1 - beta1, grad))
    average_square_(exp_avg_sq, grad, beta2)
    return exp_avg


class ADOPT(Method):
    """ADOPT: Adam that scales a gradient before averaging it, by the squares of those before it.

        v ← g²                                       (the first step, which moves nothing)
        θ ← (1 − lr·λ)·θ                             (each further one; t counts them from 1)
        m ← β₁·m + (1−β₁)·clip(g / max(√v, ε), −t^¼, t^¼)
        θ ← θ − lr·m
        v ← β₂·v + (1−β₂)·g²

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Taniguchi et al., ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal Rate,
        2024, algorithm 2, https://arxiv.org/abs/2411.02853

    Deviations from the paper: it has no weight decay; its authors' code offers an L2 penalty and
    this decoupled decay. Complex parameters are refused: the paper defines no clipping for them.
    torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.9999),
        eps=positive(1e-6),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(adopt, {"exp_avg": zeros, "exp_avg_sq": zeros}, decay=decoupled, prepare=first)
    allows_complex = False
