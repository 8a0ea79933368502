"""AdaDelta."""

from torch import Tensor

from src.optimizers.formulas import Scalar, average_square_, epsilon, real_zeros
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fraction, not_negative, positive, table


def adadelta(
    grad: Tensor, square_avg: Tensor, acc_delta: Tensor, rho: Scalar, eps: Scalar
) -> Tensor:
    """Δ."""
    eps = epsilon(eps, grad)
    average_square_(square_avg, grad, rho)
    delta = (acc_delta + eps).sqrt_().div_((square_avg + eps).sqrt_()) * grad
    average_square_(acc_delta, delta, rho)
    return delta


class AdaDelta(Method):
    """AdaDelta: the step's scale comes from the running sizes of past steps and gradients.

        g ← g + λ·θ
        v ← ρ·v + (1−ρ)·g·ḡ
        Δ ← √(u + ε) / √(v + ε) · g
        u ← ρ·u + (1−ρ)·Δ·Δ̄
        θ ← θ − lr·Δ

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        rho: ρ, in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012,
        https://arxiv.org/abs/1212.5701

    Deviation from the paper: it has no lr (1 here is the paper's method) and no L2 penalty.
    Deviations from torch.optim.Adadelta: ε is not 0 and ρ is below 1; a complex element has one
    v and one u, of |g|² and |Δ|².
    """

    settings = table(
        lr=not_negative(1.0),
        rho=fraction(0.9),
        eps=positive(1e-6),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(adadelta, {"square_avg": real_zeros, "acc_delta": real_zeros})
