"""AdaGrad."""

from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import Scalar, epsilon, modulus, real_zeros
from src.optimizers.kernels import Group, State, fused_adagrad
from src.optimizers.method import Method, Rule
from src.optimizers.settings import not_negative, positive, table


def adagrad(grad: Tensor, sum: Tensor, step: int, lr_decay: Scalar, eps: Scalar) -> Quotient:
    """g / (√s + ε), and ever less of it where the learning rate decays."""
    size = modulus(grad)
    sum.addcmul_(size, size)
    return Quotient(grad, sum.sqrt().add_(epsilon(eps, grad)), 1 + (step - 1) * lr_decay)


class AdaGrad(Method):
    """AdaGrad: each element's step is divided by the root of the sum of its squared gradients.

        g ← g + λ·θ
        s ← s + g·ḡ                          (s starts at initial_accumulator_value)
        θ ← θ − lr / (1 + (t−1)·lr_decay) · g / (√s + ε)        (t counts from 1)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        lr_decay: how fast the learning rate falls, >= 0.
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        initial_accumulator_value: what s starts at, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization, 2011, https://jmlr.org/papers/v12/duchi11a.html

    Deviation from the paper: this is its diagonal form without the projection; it puts its small
    constant δ where ε stands here, and knows no lr_decay. Deviations from torch.optim.Adagrad:
    ε is not 0; no sparse gradients; s begins to exist with the first step; a complex element has
    one s, the sum of |g|².
    """

    settings = table(
        lr=not_negative(1e-2),
        lr_decay=not_negative(0.0),
        eps=positive(1e-10),
        weight_decay=not_negative(0.0),
        initial_accumulator_value=not_negative(0.0),
    )
    rule = Rule(adagrad, {"sum": real_zeros})
    kernel = fused_adagrad

    def initial_state(self, param: Tensor, group: Group) -> State:
        state = super().initial_state(param, group)
        state["sum"].add_(group["initial_accumulator_value"])
        return state
