"""What the methods share: the loop over groups and parameters, range checks, a few formulas.

A rule is a function of tensors and scalars. A scalar is a float, or a float64 tensor with one
value per trial, shaped (K, 1, ..., 1) so that it broadcasts against K stacked parameters. Scalars
are combined in double and only then cast to the parameter's dtype, so that K trials at once give
the same bits as K separate runs.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import cache, wraps
from itertools import repeat
from numbers import Real
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim import Optimizer, optimizer
from torch.optim.optimizer import ParamsT

Scalar = float | Tensor
Group = dict[str, Any]
State = dict[str, Any]

# Elements handled at once. A method's tensors of this size fit in the cache that the cores share,
# so that a rule of ten operations reads the memory once, not ten times.
BLOCK = 2**19


def plain(name: str) -> Any:
    """A method of torch's Optimizer without its wrapper for torch.compile.

    The first call of a wrapper imports torch's compiler, which nothing here uses and which takes
    almost as long as torch itself.
    """
    return inspect.unwrap(getattr(Optimizer, name))


class Method(Optimizer):
    """A torch optimizer that loops; the subclass checks settings, makes state and updates.

    ``update`` serves one parameter, by the method's rule. Where torch has a fused kernel for the
    same formula, the subclass has a setting ``fused`` and an ``update_all`` that uses the kernel
    for every group it can serve.
    """

    elementwise: ClassVar[bool] = True
    allows_complex: ClassVar[bool] = True

    zero_grad = plain("zero_grad")
    state_dict = plain("state_dict")
    load_state_dict = plain("load_state_dict")

    def __init__(self, params: ParamsT, defaults: Group) -> None:
        self._check(defaults)
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ValueError for settings outside their range."""
        raise NotImplementedError

    def initial_state(self, param: Tensor, group: Group) -> State:
        """What the method remembers of a parameter before its first step."""
        return {}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Take one step with one parameter."""
        raise NotImplementedError

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        """Take one step with every parameter of a group."""
        for param, grad, state in zip(params, grads, states, strict=True):
            self.update(param, -grad if group["maximize"] else grad, state, group)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group whose settings stand above the defaults, once they are found in range."""
        self._check({**self.defaults, **param_group})
        add: Any = super().add_param_group  # a mixin's, say
        inspect.unwrap(add.__func__)(self, param_group)
        for param in self.param_groups[-1]["params"]:
            if param.is_complex() and not self.allows_complex:
                self.param_groups.pop()
                raise ValueError(f"{type(self).__name__} needs real parameters, got {param.dtype}")

    def _check(self, group: Group) -> None:
        for name in flags(type(self)) & group.keys():
            if not isinstance(group[name], bool):
                raise ValueError(f"{name} must be true or false, got {group[name]!r}")
        self.check(group)

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``step`` as torch does, but only where there is a profiler or a hook to serve.

        Torch labels every step for its profiler, which takes a tenth of a small network's step.
        """
        served = Optimizer.profile_hook_step(func)

        @wraps(func)
        def step(self: "Method", *args: Any, **kwargs: Any) -> Any:
            if (
                torch.autograd.profiler._is_profiler_enabled
                or self._optimizer_step_pre_hooks
                or self._optimizer_step_post_hooks
                or optimizer._global_optimizer_pre_hooks
                or optimizer._global_optimizer_post_hooks
            ):
                return served(self, *args, **kwargs)
            return func(self, *args, **kwargs)

        return step

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; return the closure's loss, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: Group) -> None:
        params = [param for param in group["params"] if param.grad is not None]
        if not params:
            return
        grads = [param.grad for param in params]
        states = self._states(params, grads, group)
        if isinstance(group["lr"], Tensor):  # reading it waits for the device it is on
            group = {**group, "lr": group["lr"].item()}
        self.update_all(params, grads, states, group)
        increment_version(params)  # torch's kernels don't tell autograd that they wrote

    def _states(self, params: list[Tensor], grads: list[Tensor], group: Group) -> list[State]:
        states = []
        for param, grad in zip(params, grads, strict=True):
            if grad.layout is not torch.strided:
                name = type(self).__name__
                raise RuntimeError(f"{name} needs dense gradients, got {grad.layout}")
            state = self.state[param]
            if not state:
                state.update(self.initial_state(param, group))
            states.append(state)
        return states


# Torch's kernels (torch._fused_adam_ and its like) are called directly: the functions around them
# sort the tensors by device and count in one tensor per parameter, which takes as long as a small
# network's whole update. The tests compare each with its rule and with torch.optim.


def fusible(params: list[Tensor], grads: list[Tensor], states: list[State]) -> bool:
    """Whether torch's kernels, which know only flat real memory, give what the rule gives."""
    dtype, device = params[0].dtype, params[0].device
    if dtype not in (torch.float32, torch.float64) or device.type not in ("cpu", "cuda"):
        return False
    if any(param.device != device for param in params):
        return False
    kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    for tensor in (*params, *grads, *kept):
        if not tensor.is_contiguous() or tensor.dtype is not dtype:
            return False
    return True


def flags(method: type[Method]) -> set[str]:
    """The arguments whose defaults are true or false."""
    arguments = inspect.signature(method).parameters.values()
    return {each.name for each in arguments if isinstance(each.default, bool)}


def next_steps(states: list[State], device: torch.device) -> list[Tensor]:
    """Count one step more in every state; the numbers in the form torch's kernels want."""
    for state in states:
        state["step"] += 1
    counts = {state["step"] for state in states}
    made = {count: torch.tensor(float(count), device=device) for count in counts}
    return [made[state["step"]] for state in states]


def blockwise(
    rule: Callable[..., None], tensors: tuple[Tensor, *tuple[Tensor | None, ...]], *scalars: Scalar
) -> None:
    """Call an elementwise rule on the tensors, in cache-sized pieces where they are large."""
    small = tensors[0].numel() <= BLOCK
    if small or any(isinstance(scalar, Tensor) for scalar in scalars) or not flat(tensors):
        rule(*tensors, *scalars)
        return
    pieces = [repeat(None) if t is None else torch.split(t.view(-1), BLOCK) for t in tensors]
    for piece in zip(*pieces, strict=False):
        rule(*piece, *scalars)


def flat(tensors: Sequence[Tensor | None]) -> bool:
    """Whether every tensor lies in memory element after element."""
    return all(tensor is None or tensor.is_contiguous() for tensor in tensors)


def zeros(param: Tensor) -> Tensor:
    """Zeros like the parameter."""
    return torch.zeros_like(param, memory_format=torch.preserve_format)


def real_zeros(param: Tensor) -> Tensor:
    """Zeros like the parameter's absolute value: real for a complex parameter."""
    return torch.zeros_like(param.real, memory_format=torch.preserve_format)


def cast(scalar: Scalar, param: Tensor) -> Scalar:
    """A tensor of scalars in the parameter's precision; a float as it is."""
    if isinstance(scalar, Tensor):
        return scalar.to(device=param.device, dtype=param.real.dtype, non_blocking=True)
    return scalar


def root(scalar: Scalar) -> Scalar:
    """The square root, rounded alike for a float and for a tensor."""
    return scalar.sqrt() if isinstance(scalar, Tensor) else math.sqrt(scalar)


def power(base: Scalar, exponent: Scalar) -> Scalar:
    """base ** exponent; trial by trial, since torch rounds a vector's powers unlike a float's."""
    like = base if isinstance(base, Tensor) else exponent
    if not isinstance(like, Tensor):
        return float(base**exponent)
    bases, exponents = (
        torch.as_tensor(value, dtype=torch.float64).expand_as(like).flatten().tolist()
        for value in (base, exponent)
    )
    powers = [b**e for b, e in zip(bases, exponents, strict=True)]
    return torch.tensor(powers, dtype=torch.float64).view(like.shape)


def epsilon(eps: Scalar, param: Tensor) -> Scalar:
    """ε in the parameter's precision, where it must not become 0."""
    return cast(not_zero(eps, param), param)


def modulus(grad: Tensor) -> Tensor:
    """|g|, or g itself where it is real: what has the square g·ḡ."""
    return grad.abs() if grad.is_complex() else grad


# Those below compute with a float and with a tensor of scalars by the same roundings: a
# kernel's factor multiplies the first tensor before anything else happens to it.


def add_scaled(target: Tensor, scalar: Scalar, tensor: Tensor) -> Tensor:
    """target + scalar·tensor."""
    scalar = cast(scalar, target)
    if isinstance(scalar, Tensor):
        return target.addcmul(tensor, scalar)
    return target.add(tensor, alpha=scalar)


def add_scaled_(target: Tensor, scalar: Scalar, tensor: Tensor) -> None:
    """target ← target + scalar·tensor."""
    scalar = cast(scalar, target)
    if isinstance(scalar, Tensor):
        target.addcmul_(tensor, scalar)
    else:
        target.add_(tensor, alpha=scalar)


def add_quotient_(target: Tensor, scalar: Scalar, top: Tensor, bottom: Tensor) -> None:
    """target ← target + scalar·top / bottom."""
    if isinstance(scalar, Tensor):
        target.addcdiv_(top * cast(scalar, target), bottom)
    else:
        target.addcdiv_(top, bottom, value=scalar)


def average_square_(avg: Tensor, grad: Tensor, beta: Scalar) -> None:
    """avg ← β·avg + (1−β)·g·ḡ, with 0 read as the smallest normal number.

    An average that has overflowed so stays infinite, which stops its element; 0·inf would make
    it NaN, and so would ``lerp_``, which subtracts infinities.
    """
    size, beta = modulus(grad), not_zero(beta, avg)
    if isinstance(beta, Tensor):
        avg.mul_(cast(beta, avg)).addcmul_(size * cast(1 - beta, avg), size)
    else:
        avg.mul_(beta).addcmul_(size, size, value=1 - beta)


def not_zero(scalar: Scalar, tensor: Tensor) -> Scalar:
    """At least the smallest normal number of the tensor's precision."""
    least = smallest_normal(tensor.dtype)
    return scalar.clamp(min=least) if isinstance(scalar, Tensor) else max(scalar, least)


@cache
def smallest_normal(dtype: torch.dtype) -> float:
    """Of a floating-point type."""
    return torch.finfo(dtype).tiny


def add_l2(grad: Tensor, param: Tensor, weight_decay: Scalar) -> Tensor:
    """The gradient of the loss with (λ/2)·|θ|² added: g + λ·θ."""
    if not isinstance(weight_decay, Tensor) and weight_decay == 0:
        return grad
    return add_scaled(grad, weight_decay, param)


def check_numbers(allowed: str, holds: Callable[[float], bool], settings: Group) -> None:
    """Raise ValueError naming the first setting that is no finite number in its range."""
    for name, value in settings.items():
        scalar = isinstance(value, Tensor) and value.dim() == 0 and not value.is_complex()
        scalar = scalar and value.dtype is not torch.bool
        number = scalar or (isinstance(value, Real) and not isinstance(value, bool))
        if not number or not math.isfinite(value) or not holds(float(value)):
            raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_not_negative(**settings: object) -> None:
    """Each is a finite number >= 0."""
    check_numbers("a number >= 0", lambda value: value >= 0, settings)


def check_positive(**settings: object) -> None:
    """Each is a finite number > 0."""
    check_numbers("a number > 0", lambda value: value > 0, settings)


def check_fraction(**settings: object) -> None:
    """Each is a number in [0, 1)."""
    check_numbers("a number in [0, 1)", lambda value: 0 <= value < 1, settings)


def check_betas(**settings: object) -> None:
    """Each is two numbers in [0, 1)."""
    for name, betas in settings.items():
        if isinstance(betas, str) or not isinstance(betas, Sequence) or len(betas) != 2:
            raise ValueError(f"{name} must be two numbers in [0, 1), got {betas!r}")
        check_fraction(**{f"{name}[{index}]": beta for index, beta in enumerate(betas)})
