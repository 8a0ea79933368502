"""A step of several optimizers of one method at once, to the bit as each takes it alone.

Their parameters lie in rows of common memory. A method's kernel gets the tensors of all whose
settings agree in one call. A method without a kernel whose steps are elementwise, or whose rule
takes a leading axis, runs its rule on the rows, with a column for each setting in which they
differ; that this gives the same bits is seen with the numbers at hand, and with others, before it
is done.
"""

from collections.abc import Hashable, Sequence
from inspect import unwrap
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from src.optimizers.kernels import Fused, Group, State, Step, fusible
from src.optimizers.method import Method
from src.optimizers.schedule_free import ScheduleFree

TRIALS = 2  # steps with drawn numbers that are compared, besides one with those at hand
STEP = unwrap(Method.step)  # torch wraps it anew in every class
OURS = (Method.update_all, ScheduleFree.update_all)  # what goes from parameter to parameter
CHANGING = ("params", "lr", "initial_lr")


def kind(optimizer: Any) -> Hashable | None:
    """What optimizers have in common that may step at once; None for one that steps alone now.

    Until a first step has made its state, every optimizer does.
    """
    if not isinstance(optimizer, Method) or len(optimizer.param_groups) != 1:
        return None
    cls, group = type(optimizer), optimizer.param_groups[0]
    if unwrap(cls.step) is not STEP or cls.update_all not in OURS or cls.couples:
        return None
    if cls._begins or cls._begins_all or isinstance(group["lr"], Tensor) or _hooked(optimizer):
        return None
    rules = [optimizer.rule_of(param) for param in group["params"]]
    if not all(rule.elementwise or rule.leads for rule in rules):
        return None
    if (cls.rest or cls.rule.leads) and cls.update is not Method.update:
        return None  # it isn't called then
    states = [optimizer.state.get(param, {}) for param in group["params"]]
    if not all(states) and any(optimizer.initial_state(param, group) for param in group["params"]):
        return None
    settings = tuple((name, _fixed(value)) for name, value in group.items() if name not in CHANGING)
    by_rest = tuple(rule is cls.rest for rule in rules)
    return cls, settings, by_rest, tuple(tuple(state) for state in states)


def by_kernel(optimizer: Method) -> bool:
    return type(optimizer).kernel is not None and bool(optimizer.param_groups[0]["fused"])


def _hooked(optimizer: Method) -> bool:
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def _fixed(value: Any) -> Hashable:
    """What must agree of a setting: of a number, whether it is 0, since rules ask that."""
    if isinstance(value, list | tuple):
        return tuple(map(_fixed, value))
    return (float, value == 0) if type(value) is float else value


class Kernels:
    """Steps of optimizers of one kind by their method's kernel.

    Args:
        optimizers: each with one group, of which only the learning rate changes from now on.
        rows: in which each one's parameters lie.
    """

    def __init__(self, optimizers: Sequence[Method], rows: Sequence[int]) -> None:
        self.rows = rows
        self.optimizers = [*optimizers]
        self.groups = [each.param_groups[0] for each in optimizers]
        self.params = [group["params"] for group in self.groups]
        self.states = states_of(optimizers)
        self.settings = [repr({**group, **dict.fromkeys(CHANGING)}) for group in self.groups]
        kernel = type(optimizers[0]).kernel
        fused = all(map(fusible, self.params, self.params, self.states))
        self.fused = kernel if isinstance(kernel, Fused) and fused else None
        self.counted = not isinstance(kernel, Fused)  # it takes one count for all its tensors
        self.bound: dict[tuple[int, ...], Step | None] = {}  # by the members
        self.latest: tuple[list[int], list[float]] = [], []  # members and their learning rates
        self.parts: list[tuple[int, ...]] = []  # those that agree

    def alike(self, members: Sequence[int]) -> list[list[int]]:
        """Those that step in one call of `step`."""
        return [[*members]]

    @torch.no_grad()
    def step(self, members: Sequence[int], grads: Sequence[Tensor]) -> None:
        """Take a step with some of the optimizers.

        Args:
            grads: for each parameter, those of all rows, (rows, *shape).
        """
        of_rows = [*zip(*[grad.unbind() for grad in grads], strict=True)]
        fused = fusible(self.params[0], [*of_rows[0]], [])  # the others lie like them
        for some in self._agreeing([*members]):
            of_some = [grad for member in some for grad in of_rows[self.rows[member]]]
            step = self._bound(some) if fused else None
            if step is not None:
                step(of_some)
                continue
            params, states = _chained(self.params, some), _chained(self.states, some)
            self.optimizers[0].update_all(params, of_some, states, self.groups[some[0]])
        increment_version(_chained(self.params, members))

    def _agreeing(self, members: list[int]) -> list[tuple[int, ...]]:
        """Those that agree in their settings and their learning rate: mostly as before."""
        rates = [self.groups[member]["lr"] for member in members]
        if self.counted or self.latest != (members, rates):
            alike: dict[Hashable, tuple[int, ...]] = {}
            for member, rate in zip(members, rates, strict=True):
                key = self.settings[member], rate, self._history(member)
                alike[key] = *alike.get(key, ()), member
            self.latest, self.parts = (members, rates), [*alike.values()]
        return self.parts

    def _bound(self, members: tuple[int, ...]) -> Step | None:
        """The kernel's step of members that agree in their settings and their learning rate."""
        if self.fused is not None and members not in self.bound:
            params, states = _chained(self.params, members), _chained(self.states, members)
            self.bound[members] = self.fused.bound(params, states, self.groups[members[0]])
        return self.bound.get(members)

    def _history(self, member: int) -> tuple[Any, ...]:
        """The numbers in a state, which kernels but torch's take as one for all their tensors."""
        state = self.states[member][0] if self.counted else {}
        return tuple(each for each in state.values() if not isinstance(each, Tensor))


class Rules:
    """Steps of optimizers of one kind by their method's rule, on the rows of all.

    Args:
        optimizers: each with one group, of which only the learning rate changes from now on.
        groups: theirs.
        states: of each one's parameters; their tensors become rows of common memory.
        params: the rows of each parameter, (rows, *shape).
        rows: in which each optimizer's lie.
    """

    def __init__(
        self,
        optimizers: Sequence[Method],
        groups: Sequence[Group],
        states: Sequence[Sequence[State]],
        params: Sequence[Tensor],
        rows: Sequence[int],
    ) -> None:
        self.optimizers, self.groups = [*optimizers], groups
        self.params, self.rows = params, rows
        self.states = [*zip(*states, strict=True)]  # of each parameter
        self.tensors = [_joined(of_one) for of_one in self.states]
        first = self.optimizers[0]
        self.rules = [first.rule_of(param) for param in first.param_groups[0]["params"]]
        self.settings: dict[tuple[int, ...], Group] = {}  # of some members

    @torch.no_grad()
    def step(self, members: Sequence[int], grads: Sequence[Tensor]) -> None:
        """Take a step with some of the optimizers, which have taken as many so far.

        Args:
            grads: for each parameter, those of all rows, (rows, *shape).
        """
        group = self._settings(tuple(members))
        group["lr"] = _column([self.groups[member]["lr"] for member in members])
        there = _places([self.rows[member] for member in members], self.params[0])
        here = _places(members, next(iter(self.tensors[0].values()), self.params[0]))
        for at, grad in enumerate(grads):
            states = [self.states[at][member] for member in members]
            self._move(at, _taken(grad, there), states, group, there, here)

    def alike(self, members: Sequence[int]) -> list[list[int]]:
        """Those that have taken as many steps: a rule takes a count as one number."""
        return counted([[each[member] for each in self.states] for member in members], members)

    def _move(
        self,
        at: int,
        grad: Tensor,
        states: Sequence[State],
        group: Group,
        there: Tensor | None,
        here: Tensor | None,
    ) -> None:
        """Take a step with a parameter, whose rows lie `there`, and those of its state `here`."""
        tensors, shape = self.tensors[at], (-1, *[1] * (grad.dim() - 1))
        numbers = [name for name in states[0] if name not in tensors]
        state: State = {name: _taken(tensor, here) for name, tensor in tensors.items()}
        for name in numbers:
            state[name] = _shaped(_column([each[name] for each in states]), shape)
        param = _taken(self.params[at], there)
        shaped = {name: _shaped(value, shape) for name, value in group.items()}
        self._update(at, param, grad, state, {**shaped, "fused": False})
        _put(self.params[at], there, param)
        for name, tensor in tensors.items():
            _put(tensor, here, state[name])
        for name in numbers:
            value = state[name]
            values = value.flatten().tolist() if isinstance(value, Tensor) else repeat(value)
            for each, number in zip(states, values, strict=False):
                each[name] = type(each[name])(number)

    def _update(self, at: int, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        first = self.optimizers[0]
        if not (type(first).rest or type(first).rule.leads):
            first.update_all([param], [grad], [state], group)
            return
        if "step" in state:  # as Method.update does, which would take rows for a matrix
            state["step"] += 1
        self.rules[at].step_rows(param, -grad if group["maximize"] else grad, state, group)

    def _settings(self, members: tuple[int, ...]) -> Group:
        """The group of some members, with a column for each number in which they differ."""
        if members not in self.settings:
            groups = [self.groups[member] for member in members]
            names = [name for name in groups[0] if name not in CHANGING]
            self.settings = {
                members: {name: _column([group[name] for group in groups]) for name in names}
            }
        return self.settings[members]


@torch.no_grad()
def agree(
    optimizers: Sequence[Method],
    params: Sequence[Tensor],
    rows: Sequence[int],
    grads: Sequence[Tensor],
) -> bool:
    """Whether optimizers leave the same bits by `Rules` as alone; nothing changes.

    Args:
        grads: for each parameter, those of the optimizers.
    """
    alone = [[param[row].clone() for param in params] for row in rows]
    for each, copies in zip(optimizers, alone, strict=True):
        for copy, own in zip(copies, each.param_groups[0]["params"], strict=True):
            vars(copy).update(vars(own))  # a method may choose its rule by what is marked
    groups = [{**each.param_groups[0]} for each in optimizers]
    states = [_copied(states_of([each])[0]) for each in optimizers]
    copies = [param[[*rows]] for param in params]
    generator = torch.Generator().manual_seed(0)
    try:
        rules = Rules(optimizers, groups, [*map(_copied, states)], copies, range(len(optimizers)))
        for trial in range(1 + TRIALS):
            drawn = [_drawn(grad, generator) if trial else grad for grad in grads]
            rules.step(range(len(optimizers)), [grad.clone() for grad in drawn])
            for at, each in enumerate(optimizers):
                own = [grad[at].clone() for grad in drawn]
                each.update_all(alone[at], own, states[at], groups[at])
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError):
        return False
    found = [[*each] for each in zip(*rules.states, strict=True)]
    return (
        all(
            _same(here[at], own[n]) for at, own in enumerate(alone) for n, here in enumerate(copies)
        )
        and all(
            here.keys() == there.keys() and all(_same(here[name], there[name]) for name in here)
            for of_one, other in zip(found, states, strict=True)
            for here, there in zip(of_one, other, strict=True)
        )
        and all(
            group == {**each.param_groups[0]}
            for group, each in zip(groups, optimizers, strict=True)
        )
    )


def counted(states: Sequence[Sequence[State]], members: Sequence[int]) -> list[list[int]]:
    """The members by what the states of their parameters count."""
    parts: dict[Hashable, list[int]] = {}
    for own, member in zip(states, members, strict=True):
        count = tuple(value for each in own for value in each.values() if type(value) is int)
        parts.setdefault(count, []).append(member)
    return [*parts.values()]


def states_of(optimizers: Sequence[Method]) -> list[list[State]]:
    """The states of each one's parameters."""
    return [
        [each.state[param] if each.state else {} for param in each.param_groups[0]["params"]]
        for each in optimizers
    ]


def _chained(lists: Sequence[Sequence[Any]], places: Sequence[int]) -> list[Any]:
    return [each for place in places for each in lists[place]]


def _copied(states: Sequence[State]) -> list[State]:
    return [
        {name: value.clone() if isinstance(value, Tensor) else value for name, value in of.items()}
        for of in states
    ]


def _drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    return drawn.to(like.device)


def _joined(states: Sequence[State]) -> dict[str, Tensor]:
    """Move the tensors of states into rows of common memory."""
    joined = {}
    for name, value in states[0].items():
        if isinstance(value, Tensor):
            joined[name] = torch.stack([state[name] for state in states])
            for state, row in zip(states, joined[name].unbind(), strict=True):
                state[name] = row
    return joined


def _places(rows: Sequence[int], of: Tensor) -> Tensor | None:
    """Rows as indices; None for all of them in order."""
    everything = len(rows) == len(of) and all(at == row for at, row in enumerate(rows))
    return None if everything else torch.tensor(rows, device=of.device)


def _taken(rows: Tensor, places: Tensor | None) -> Tensor:
    return rows if places is None else rows.index_select(0, places)


def _put(rows: Tensor, places: Tensor | None, values: Tensor) -> None:
    if places is not None:
        rows.index_copy_(0, places, values)


def _column(values: Sequence[Any]) -> Any:
    """One value where all agree; a column of numbers, or several columns, where they differ."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if isinstance(first, list | tuple):
        return tuple(map(_column, zip(*values, strict=True)))
    return torch.tensor(values, dtype=torch.float64)


def _shaped(value: Any, shape: Sequence[int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_shaped(each, shape) for each in value)
    return value.view(shape) if isinstance(value, Tensor) else value


def _same(one: Any, other: Any) -> bool:
    """Whether all bits agree, but for those of numbers that are none."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other) and (one == other or (one != one and other != other))
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
