"""Sharpness-aware minimization around another method."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from src.optimizers.adamw import AdamW
from src.optimizers.formulas import modulus
from src.optimizers.method import Method
from src.optimizers.momentum import Momentum
from src.optimizers.settings import Setting, not_negative


class SharpnessAware(Method):
    """Gives a method the gradient at the worst point nearby: two passes a step.

    It stands before the method among the bases of a class, whose table is that of both:

        class SAMLion(SharpnessAware, Lion):
            settings = SharpnessAware.around(Lion)

    Raises:
        RuntimeError: a gradient is sparse (from `step`).
    """

    couples = True

    @staticmethod
    def around(base: type[Method]) -> Mapping[str, Setting]:
        """The settings of a method and ρ."""
        return {**base.settings, "rho": not_negative(0.05)}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Take a step with the gradient from ρ·g/‖g‖ away; return the closure's first loss."""
        with torch.enable_grad():
            loss = closure()
        kept = self._climb()
        try:
            with torch.enable_grad():
                closure()
        finally:
            for param, value in kept:
                param.copy_(value)
        Method.step(self)  # not super()'s, which another instance may have wrapped for its hooks
        return loss

    def _climb(self) -> list[tuple[Tensor, Tensor]]:
        """θ ← θ + ρ·g/‖g‖; return the parameters and what they were."""
        groups = [(group, *self.with_gradients(group)) for group in self.param_groups]
        sizes = [_norm(grad) for _, _, grads, _ in groups for grad in grads]
        norm, kept = math.hypot(*(float(size) for size in sizes)), []
        for group, params, grads, _ in groups:
            rho = -group["rho"] if group["maximize"] else group["rho"]
            for param, grad in zip(params, grads, strict=True):
                kept.append((param, param.clone()))
                if norm > 0:
                    param.add_(grad / norm, alpha=float(rho))  # ρ / norm may overflow
        return kept


def _norm(grad: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(modulus(grad), dtype=torch.float64)
    return size


class SAM(SharpnessAware, Momentum):
    """SAM: momentum with the gradient at the worst point nearby.

        g at θ
        g ← the gradient at θ + ρ·g / ‖g‖            (the norm is over all parameters)
        g ← g + λ·θ
        v ← μ·v + g
        θ ← θ − lr·v

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        momentum: μ, in [0, 1).
        weight_decay: λ, the L2 penalty's factor, >= 0.
        rho: ρ, how far away the gradient is taken, >= 0.
        maximize: climb instead of descend (the worst point is then the lowest).
        fused: let torch's fused kernel compute the base's step where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, 2021,
        https://arxiv.org/abs/2010.01412

    `step` needs the closure and calls it twice, so a step costs two. The gradient of the L2
    penalty isn't part of g/‖g‖. Layers that draw (dropout) draw anew in the second pass, and
    batch norm's statistics see both. torch.optim has no such class.
    """

    settings = SharpnessAware.around(Momentum)


class SAMAdamW(SharpnessAware, AdamW):
    """SAM around AdamW, as vision transformers and language models use it.

        g at θ
        g ← the gradient at θ + ρ·g / ‖g‖            (the norm is over all parameters)
        θ ← AdamW's step with g

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        rho: ρ, how far away the gradient is taken, >= 0.
        maximize: climb instead of descend (the worst point is then the lowest).
        fused: let torch's fused kernel compute the base's step where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, 2021,
        https://arxiv.org/abs/2010.01412

    What SAM says of the closure and of layers holds here as well. torch.optim has no such class.
    """

    settings = SharpnessAware.around(AdamW)
