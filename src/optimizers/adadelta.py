"""AdaDelta."""

from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.base import (
    Group,
    Method,
    Scalar,
    State,
    add_l2,
    add_scaled_,
    average_square_,
    blockwise,
    check_fraction,
    check_not_negative,
    check_positive,
    epsilon,
    real_zeros,
)


def adadelta(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    acc_delta: Tensor,
    lr: Scalar,
    rho: Scalar,
    eps: Scalar,
    weight_decay: Scalar,
) -> None:
    """One step, in place."""
    grad = add_l2(grad, param, weight_decay)
    eps = epsilon(eps, param)
    average_square_(square_avg, grad, rho)
    delta = (acc_delta + eps).sqrt_().div_((square_avg + eps).sqrt_()) * grad
    average_square_(acc_delta, delta, rho)
    add_scaled_(param, -lr, delta)


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
    A ρ of 0, and an ε too small for the parameter's precision, are read as its smallest normal
    number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_fraction(rho=group["rho"])
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"square_avg": real_zeros(param), "acc_delta": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        blockwise(
            adadelta,
            (param, grad, state["square_avg"], state["acc_delta"]),
            group["lr"],
            group["rho"],
            group["eps"],
            group["weight_decay"],
        )
