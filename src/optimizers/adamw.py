"""AdamW."""

from dataclasses import replace

from src.optimizers.adam import Adam
from src.optimizers.directions import decoupled
from src.optimizers.kernels import fused_adamw
from src.optimizers.method import Method
from src.optimizers.settings import fractions, not_negative, positive, table


class AdamW(Method):
    """AdamW: Adam with weight decay beside the gradient, not in it.

        θ ← (1 − lr·λ)·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√v̂ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019,
        https://arxiv.org/abs/1711.05101

    Deviation from the paper, as in torch.optim.AdamW: the decay is multiplied by lr, where the
    paper multiplies it by the schedule alone. Deviations from torch: ε is not 0; a complex
    element has one v, the average of |g|².
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(1e-2),
    )
    rule = replace(Adam.rule, decay=decoupled)
    kernel = fused_adamw
