"""Operations as one Python function, without what interpreting them takes.

Starting an operation takes longer than a small network's operation itself. `torch.fx` writes the
function's text, in which each value is dropped after its last use.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule
from torch.utils._pytree import tree_map_only

from src.training.tape import Operation, Slot

aten = torch.ops.aten
VIEWS = {aten.view.default: Tensor.view, aten.expand.default: Tensor.expand}  # methods alone


def compiled(
    operations: Sequence[Operation],
    inputs: Sequence[Slot],
    constants: Mapping[Slot, Any],
    wanted: Sequence[Slot],
) -> Callable[..., Sequence[Any]]:
    """One function of the inputs, which does the operations and returns the values wanted.

    Args:
        constants: what the operations read, or who wants values, and no operation makes.
    """
    bare = {id(each): each for one in operations for each in one.leaves if isinstance(each, Tensor)}
    graph, names = Graph(), enumerate([*constants, *bare, *inputs])
    nodes: dict[Any, Any] = {key: graph.placeholder(f"value_{at}") for at, key in names}

    def node(value: Slot | Tensor) -> Any:
        return nodes[id(value) if isinstance(value, Tensor) else value]

    for operation in operations:
        args, kwargs = tree_map_only((Slot, Tensor), node, (operation.args, operation.kwargs))
        if operation.func is aten.detach.default:  # nothing asks for gradients here
            result = args[0]
        else:
            result = graph.call_function(_binding(operation.func), args, kwargs)
        if not _gives_several(operation):
            nodes[operation.outs[0]] = result
            continue
        for at, slot in enumerate(operation.outs):
            if slot is not None:
                nodes[slot] = graph.call_function(getitem, (result, at))
    graph.output([nodes[slot] for slot in wanted])
    return partial(GraphModule({}, graph).forward, *constants.values(), *bare.values())


def _binding(func: Any) -> Any:
    """What Python has for an operator, which starts sooner than the operator itself."""
    name = func._schema.name.removeprefix("aten::") if isinstance(func, OpOverload) else ""
    return VIEWS.get(func) or getattr(torch._C._VariableFunctions, name, func)


def _gives_several(operation: Operation) -> bool:
    """Whether it returns a list of values, though that may hold only one."""
    if isinstance(operation.func, OpOverload):
        return [str(each.type) for each in operation.func._schema.returns] != ["Tensor"]
    return len(operation.outs) > 1
