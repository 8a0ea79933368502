"""The steps of several runs' optimizers at once, each to the bit as alone."""

from collections.abc import Hashable, Sequence

from torch import Tensor

from src.optimizers.at_once import (
    CHANGING,
    Kernels,
    Rules,
    agree,
    by_kernel,
    counted,
    kind,
    states_of,
)
from src.optimizers.kernels import State
from src.optimizers.method import Method
from src.training.stack import Stack
from src.training.tape import Want

LEAST = 2  # optimizers of a kind; one steps alone


class Steps:
    """Takes steps with the optimizers of the models of a stack.

    Args:
        agreed: the kinds of which it is known whether they give the same bits; it adds to them.
    """

    def __init__(self, stack: Stack, agreed: dict[Hashable, bool]) -> None:
        self.stack, self.agreed = stack, agreed
        self.several: dict[Hashable, Kernels | Rules] = {}
        self.members: dict[Hashable, dict[int, int]] = {}  # the place of each, by its row

    def step(self, wants: Sequence[Want], grads: Sequence[Tensor]) -> list[bool]:
        """Take the steps that can be taken at once; say which were.

        Args:
            grads: for each parameter, those of all rows of the stack.
        """
        kinds: dict[Hashable, dict[int, int]] = {}  # the place of each among the wants, by its row
        for at, want in enumerate(wants):
            if (of := self._kind(want)) is not None:
                kinds.setdefault(of, {})[self.stack.rows[id(want.model)]] = at
        taken = [False] * len(wants)
        for of, rows in kinds.items():
            some = [wants[at] for at in rows.values()]
            if len(some) < LEAST or not self._joined(of, some, [*rows], grads):
                continue
            several, members = self.several[of], self.members[of]
            for part in several.alike([members[row] for row in rows]):
                if len(part) >= LEAST:
                    several.step(part, grads)
                    for member in part:
                        taken[rows[several.rows[member]]] = True
        return taken

    def _kind(self, want: Want) -> Hashable | None:
        """What its optimizer steps with; looked up until its first step has made its state."""
        if want.optimizer is None or want.kind is False:
            return None
        if want.kind is None:
            group = want.optimizer.param_groups[0]
            if [*map(id, group["params"])] == [*map(id, want.model.parameters())]:
                want.kind = kind(want.optimizer)
            if want.kind is None and want.optimizer.state:
                want.kind = False
        return want.kind or None

    def _joined(
        self,
        of: Hashable,
        wants: Sequence[Want],
        rows: Sequence[int],
        grads: Sequence[Tensor],
    ) -> bool:
        """Whether optimizers step at once, from now on."""
        members = self.members.get(of, {})
        if all(row in members for row in rows) and 2 * len(rows) >= len(members):
            return True
        optimizers = [want.optimizer for want in wants]
        if by_kernel(optimizers[0]):
            self.several[of] = Kernels(optimizers, rows)
        else:
            states = states_of(optimizers)
            if not self._agree(of, optimizers, states, rows, grads):
                return False
            groups = [each.param_groups[0] for each in optimizers]
            params = self.stack.own[: len(grads)]
            self.several[of] = Rules(optimizers, groups, states, params, rows)
        self.members[of] = {row: at for at, row in enumerate(rows)}
        return True

    def _agree(
        self,
        of: Hashable,
        optimizers: Sequence[Method],
        states: Sequence[Sequence[State]],
        rows: Sequence[int],
        grads: Sequence[Tensor],
    ) -> bool:
        """Whether a kind gives the same bits, seen once with those that can step in one call."""
        params = self.stack.own[: len(grads)]
        groups = [each.param_groups[0] for each in optimizers]
        apart = tuple(name for name in groups[0] if name not in CHANGING and
                      any(group[name] != groups[0][name] for group in groups))  # fmt: skip
        alike = tuple((param.shape[1:], param.dtype, param.device) for param in params)
        known = of, len(rows), alike, apart
        part = max(counted(states, range(len(rows))), key=len)
        if known not in self.agreed and len(part) >= LEAST:
            own = [rows[member] for member in part]
            some = [optimizers[member] for member in part]
            self.agreed[known] = agree(some, params, own, [grad[own] for grad in grads])
        return self.agreed.get(known, False)
