"""A compiled program returns what its operations give one after another."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.training.compiled import compiled
from src.training.tape import Slot, Tape

CONSTANT = torch.arange(6.0).view(2, 3)


def in_place(x: Tensor) -> Sequence[Tensor]:
    y = x * 2
    y.add_(CONSTANT)
    return [y, x]


FUNCTIONS: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {
    "one value": lambda x: [torch.tanh(x)],
    "itself": lambda x: [x],
    "a constant": lambda x: [x + CONSTANT, CONSTANT * 2 + x],
    "several values": lambda x: [*x.topk(2)],
    "some of several": lambda x: [x.topk(2)[1]],
    "a list of one": lambda x: [*x.split(2)],
    "a list": lambda x: [*x.unbind(1)],
    "views": lambda x: [x.view(3, 2), x.expand(4, 2, 3), x.mT],
    "names": lambda x: [x.sum(1, keepdim=True, dtype=torch.float64), x.add(CONSTANT, alpha=3)],
    "in place": in_place,
    "detached": lambda x: [x.detach() * 2, x.detach()],
    "a list of values in": lambda x: [torch.cat([x, CONSTANT, x])],
    "infinity": lambda x: [x.masked_fill(x > 0, float("-inf")), x.clamp(max=torch.inf)],
    "another type": lambda x: [x.to(torch.bfloat16), x.double()],
    "a layer": lambda x: [nn.functional.layer_norm(x, (3,))],
    "without a binding": lambda x: [torch.ops.aten.threshold_backward.default(x, x, 0)],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_values(name: str) -> None:
    function = FUNCTIONS[name]
    with torch.no_grad(), Tape([torch.randn(2, 3)]) as tape:
        results = function(tape.kept[0])
    program = compiled(tape.operations, [Slot(0)], {}, tape.of(results))
    for _ in range(2):
        x = torch.randn(2, 3)
        for found, right in zip(program(x.clone()), function(x), strict=True):
            assert torch.equal(found, right) and found.dtype == right.dtype


def test_what_no_operation_makes_is_given() -> None:
    with torch.no_grad(), Tape([torch.ones(2), torch.ones(2)]) as tape:
        result = tape.kept[0] * tape.kept[1]
    given: dict[Slot, Any] = {Slot(1): torch.full((2,), 3.0)}
    program = compiled(tape.operations, [Slot(0)], given, [*tape.of([result]), Slot(1)])
    product, constant = program(torch.full((2,), 2.0))
    assert product.tolist() == [6.0, 6.0] and constant is given[Slot(1)]
