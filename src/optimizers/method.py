"""The base of the methods: a method is a rule and a table of settings.

A rule is a function that returns the direction of a step, as its paper writes it. This module holds
all else once: the loop over groups and parameters, weight decay, the learning rate, `maximize`,
state, checks and torch's fused kernels.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim import Optimizer, optimizer
from torch.optim.optimizer import ParamsT

from src.optimizers.directions import Direction, coupled, descend
from src.optimizers.formulas import Scalar
from src.optimizers.kernels import Fused, Group, Kernel, State
from src.optimizers.settings import Setting, flag

# Elements that a CPU handles at once. Tensors of this size fit in the cache that the cores share,
# so a rule of ten operations reads the memory once, not ten times.
BLOCK = 2**19
FLAGS = ("maximize", "fused")  # settings that come of being a method, and of having a kernel


@dataclass(frozen=True)
class Rule:
    """A direction and what a step along it needs.

    Args:
        direction: the rule. Its arguments are `param`, `grad`, state and settings by their names,
            and `step`, which counts from 1. It updates the state in place and returns the
            direction; the step is −lr times that.
        state: functions that make a parameter's state before its first step.
        decay: the effect of the setting `weight_decay`, if there is one: `coupled`, `decoupled`,
            or None where the rule itself applies it.
        elementwise: whether each element's step depends on that element alone; then a large
            tensor is handled in pieces that fit in the cache.
        leads: whether its tensors have a leading axis, of the runs that step at once, 1 where a
            run steps alone; for a rule of matrices, which so can be several runs'.
        renamed: the setting for each argument of the rule with another name.
        prepare: for a method whose first step moves nothing, what it does instead; its arguments
            are like the rule's. `step` is 0 then, and counts from 1 afterwards.
    """

    direction: Callable[..., Direction]
    state: Mapping[str, Callable[[Tensor], Any]] = field(default_factory=dict)
    decay: Callable[[Tensor, Tensor, Scalar, Scalar], Tensor] | None = coupled
    elementwise: bool = True
    leads: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[..., None] | None = None

    @cached_property
    def preparing(self) -> tuple[str, ...]:
        """The names of the arguments of `prepare`, in order."""
        return tuple(inspect.signature(self.prepare).parameters) if self.prepare else ()

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of the rule's arguments, in order."""
        return tuple(inspect.signature(self.direction).parameters)

    def initial_state(self, param: Tensor) -> State:
        """A parameter's state before its first step."""
        if self._stateless:
            return {}
        count = {"step": -1 if self.prepare else 0} if self._counts else {}
        return {**count, **{name: make(param) for name, make in self.state.items()}}

    @cached_property
    def _counts(self) -> bool:
        return self.prepare is not None or "step" in self.arguments

    @cached_property
    def _stateless(self) -> bool:
        return not self.state and not self._counts

    def step(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move the parameter; a piece of state that doesn't exist is None for the rule."""
        values = self._values(param, grad, state, group)
        if self.leads:
            named = {name: values.get(name) for name in ("param", "grad", *self.state)}
            tensors = {name: each for name, each in named.items() if isinstance(each, Tensor)}
            values |= {name: each.unsqueeze(0) for name, each in tensors.items()}
        if fits(param) or not self.elementwise:
            self._step(values)
            return
        for piece in self._pieces(values):
            self._step(piece)

    def step_rows(self, params: Tensor, grads: Tensor, states: State, group: Group) -> None:
        """Move the parameters of several runs, which lie along the leading axis."""
        self._step(self._values(params, grads, states, group))

    def _values(self, param: Tensor, grad: Tensor, state: State, group: Group) -> dict[str, Any]:
        values = {**group, **state, "param": param, "grad": grad}
        return values | {name: group[setting] for name, setting in self.renamed.items()}

    def _step(self, values: dict[str, Any]) -> None:
        if self.prepare is not None and values["step"] == 0:
            self.prepare(*[values.get(name) for name in self.preparing])
            return
        param, lr, weight_decay = values["param"], values["lr"], values.get("weight_decay", 0.0)
        if self.decay is not None and (isinstance(weight_decay, Tensor) or weight_decay):
            values["grad"] = self.decay(param, values["grad"], lr, weight_decay)
        direction = self.direction(*[values.get(name) for name in self.arguments])
        descend(param, direction, lr)

    def _pieces(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The values of some elements after the others; all at once for a setting per trial."""
        named = {name: values.get(name) for name in ("param", "grad", *self.state)}
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        names = {"lr", "weight_decay", *self.arguments} - tensors.keys()
        scalars = [number for name in names for number in _numbers(values.get(name))]
        shape = values["param"].shape
        alike = all(each.shape == shape for each in tensors.values())
        if not alike or any(isinstance(scalar, Tensor) for scalar in scalars):
            yield values
            return
        for piece in pieces(*tensors.values()):
            yield {**values, **dict(zip(tensors, piece, strict=True))}


def fits(tensor: Tensor) -> bool:
    """Whether a tensor is handled at once: on a GPU, where pieces cost launches, it always is."""
    return tensor.numel() <= BLOCK or tensor.device.type != "cpu"


def pieces(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Some elements of tensors of one shape after the others, as many as fit in the cache.

    All at once where the memory isn't alike.
    """
    if fits(tensors[0]) or not all(tensor.is_contiguous() for tensor in tensors):
        return [tensors]
    return zip(*(tensor.view(-1).split(BLOCK) for tensor in tensors), strict=True)


def _numbers(value: Any) -> Sequence[Any]:
    """The numbers of a setting, which may have several."""
    return value if isinstance(value, list | tuple) else (value,)


def plain(name: str) -> Any:
    """A method of torch's Optimizer without its wrapper for torch.compile.

    The first call of a wrapper imports torch's compiler, which nothing here uses and which takes
    almost as long as torch itself.
    """
    return inspect.unwrap(getattr(Optimizer, name))


class Method(Optimizer):
    """A torch optimizer made of a rule and a table of settings.

    Its constructor takes the parameters, or groups of them with separate settings, and then the
    settings of the table by position or by name. It takes `maximize`, and `fused` where the rule
    has a kernel, by name.

    Raises:
        ValueError: a setting is outside its range; or a parameter is complex, where the method
            allows none.
        RuntimeError: a gradient is sparse (from `step`).
    """

    settings: ClassVar[Mapping[str, Setting]] = {}
    rule: ClassVar[Rule]
    rest: ClassVar[Rule | None] = None  # for vectors and numbers, where `rule` is for matrices
    hidden_only: ClassVar[bool] = False  # whether `rest` is also for matrices marked as not hidden
    # Of torch's calls for many tensors, of the same step; it brings a setting `fused`.
    kernel: ClassVar[Fused | Kernel | None] = None
    group_state: ClassVar[Mapping[str, Any]] = {}  # the state of a group, at its start
    allows_complex: ClassVar[bool] = True
    couples: ClassVar[bool] = False  # whether a parameter's step depends on the others' gradients
    continuous: ClassVar[bool] = True  # whether a little rounding changes a step by little
    __signature__: ClassVar[inspect.Signature]  # what is shown
    _arguments: ClassVar[inspect.Signature]  # what the constructor takes, by the table
    _begins: ClassVar[bool] = False  # whether it has a `begin`
    _begins_all: ClassVar[bool] = False  # whether it has a `begin_all`

    zero_grad = plain("zero_grad")
    state_dict = plain("state_dict")
    load_state_dict = plain("load_state_dict")

    def __init_subclass__(cls) -> None:
        """Give the class the signature of its table, and check the arguments of its rule."""
        super().__init_subclass__()
        if {"rule", "rest", "update"} & vars(cls).keys() and "kernel" not in vars(cls):
            cls.kernel = None  # it computes what it was written for
        if not hasattr(cls, "rule"):
            return  # a base of several methods
        flags = {"maximize": flag(False)} | ({"fused": flag(True)} if cls.kernel else {})
        flags = {name: cls.settings.get(name, each) for name, each in flags.items()}
        table = {name: each for name, each in cls.settings.items() if name not in FLAGS}
        cls.settings = {**table, **flags}
        for rule in (cls.rule, *([cls.rest] if cls.rest else [])):
            _check_names(cls, rule)
        cls._begins = cls.begin is not Method.begin
        cls._begins_all = cls.begin_all is not Method.begin_all
        cls._arguments = _signature(cls.settings, keywords=flags)
        cls.__signature__ = cls._arguments
        if cls.__init__ is not Method.__init__:  # the class has another constructor
            _, *arguments = inspect.signature(cls.__init__).parameters.values()
            cls.__signature__ = inspect.Signature(arguments)

    def __init__(self, params: ParamsT, *args: Any, **settings: Any) -> None:
        name = type(self).__name__
        if not hasattr(self, "rule"):
            raise TypeError(f"{name} has no rule")
        try:
            bound = self._arguments.bind(params, *args, **settings)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        bound.apply_defaults()
        defaults = {name: bound.arguments[name] for name in self.settings}
        self.check(defaults)
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ValueError for settings outside their range."""
        for name, setting in self.settings.items():
            setting.check(name, group[name])

    def rule_of(self, param: Tensor) -> Rule:
        """The rule by which a parameter moves."""
        if self.rest is None:
            return self.rule
        hidden = not self.hidden_only or getattr(param, "hidden", True)
        return self.rule if param.ndim >= 2 and hidden else self.rest

    def initial_state(self, param: Tensor, group: Group) -> State:
        """A parameter's state before its first step."""
        return self.rule_of(param).initial_state(param)

    def begin_all(self) -> None:
        """Prepare a step with all groups, before any parameter moves."""

    def begin(self, params: list[Tensor], grads: list[Tensor], group: Group) -> None:
        """Prepare a step with a group, before any of its parameters moves.

        Args:
            params: those that have a gradient.
            grads: as they are, also where the method maximizes.
            group: with its settings and its `group_state`, which may be changed.
        """

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Take one step with one parameter."""
        if "step" in state:
            state["step"] += 1
        self.rule_of(param).step(param, grad, state, group)

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        """Take one step with every parameter of a group."""
        kernel = type(self).kernel
        if kernel is not None and group["fused"] and kernel(params, grads, states, group):
            return
        for param, grad, state in zip(params, grads, states, strict=True):
            self.update(param, -grad if group["maximize"] else grad, state, group)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; its settings, which must be in range, replace the defaults."""
        self.check({**self.defaults, **param_group})
        add: Any = super().add_param_group  # a mixin's, say
        inspect.unwrap(add.__func__)(self, param_group)
        group = self.param_groups[-1]
        for param in group["params"]:
            if param.is_complex() and not self.allows_complex:
                self.param_groups.pop()
                raise ValueError(f"{type(self).__name__} needs real parameters, got {param.dtype}")
        for name, value in self.group_state.items():
            group.setdefault(name, deepcopy(value))

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``step`` as torch does, but only where there is a profiler or a hook.

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
        if self._begins_all:
            self.begin_all()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: Group) -> None:
        params, grads, states = self.with_gradients(group)
        if not params:
            return
        if self._begins:
            self.begin(params, grads, group)
        if isinstance(group["lr"], Tensor):  # reading it waits for its device
            group = {**group, "lr": group["lr"].item()}
        self.update_all(params, grads, states, group)
        increment_version(params)  # torch's kernels don't tell autograd that they wrote

    def with_gradients(self, group: Group) -> tuple[list[Tensor], list[Tensor], list[State]]:
        """A group's parameters that have a gradient, their gradients and their states.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        params = [param for param in group["params"] if param.grad is not None]
        grads, states = [param.grad for param in params], []
        for param, grad in zip(params, grads, strict=True):
            if grad.layout is not torch.strided:
                name = type(self).__name__
                raise RuntimeError(f"{name} needs dense gradients, got {grad.layout}")
            state = self.state[param]
            if not state:
                state.update(self.initial_state(param, group))
            states.append(state)
        return params, grads, states


def _check_names(cls: type[Method], rule: Rule) -> None:
    """Every argument of a rule is one thing: state, or a setting, or what each rule may have.

    Raises:
        TypeError: the name that is none of these, or several.
    """
    given, state, table = {"param", "grad", "step"}, {*rule.state}, {*cls.settings}
    settings = table | {*cls.group_state} | {*rule.renamed}
    twice = (state & settings) | (given & (state | settings)) | (table & {*cls.group_state})
    unknown = {*rule.arguments, *rule.preparing} - given - state - settings
    for names, what in (
        ({"lr"} - table, "is missing among its settings"),
        (twice, "is the name of two things"),
        (unknown, "is wanted by its rule, and neither among its state nor among its settings"),
        ({*rule.renamed.values()} - table, "stands for a rule's argument, and is no setting"),
    ):
        if names:
            raise TypeError(f"{cls.__name__}: {', '.join(sorted(names))} {what}")


def _signature(
    settings: Mapping[str, Setting], keywords: Mapping[str, Setting]
) -> inspect.Signature:
    kind = inspect.Parameter
    parameters = [kind("params", kind.POSITIONAL_OR_KEYWORD)]
    for name, setting in settings.items():
        how = kind.KEYWORD_ONLY if name in keywords else kind.POSITIONAL_OR_KEYWORD
        parameters.append(kind(name, how, default=setting.default))
    return inspect.Signature(parameters)
