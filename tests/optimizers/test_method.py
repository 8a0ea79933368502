"""What a rule may ask for, and what the base class makes of it."""

import copy
import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from src.optimizers import Adam
from src.optimizers.directions import Quotient, cautious, decoupled, tensor, trust_ratio
from src.optimizers.formulas import zeros
from src.optimizers.method import Method, Rule
from src.optimizers.settings import not_negative, table
from tests.optimizers.methods import clones, give, run, same, tensors


def shared(grad: Tensor, total: float, scale: float) -> Tensor:
    return grad * (scale / total)


class Shared(Method):
    """Steps by lr·scale times the gradient, over the sum of the norms of all steps' gradients."""

    settings = table(lr=not_negative(0.1), scale=not_negative(2.0))
    rule = Rule(shared)
    group_state = {"total": 0.0, "norms": []}  # noqa: RUF012

    def begin(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        norm = math.sqrt(sum(float(grad.norm()) ** 2 for grad in grads))
        group["norms"].append(norm)
        group["total"] = sum(group["norms"])


def test_state_of_a_group() -> None:
    params, start = tensors(0, torch.float64), tensors(0, torch.float64)
    optimizer = Shared([{"params": params[:2]}, {"params": params[2:], "scale": 1.0}])
    grads = tensors(1, torch.float64)
    for _ in range(2):
        give(params, grads)
        optimizer.step()
    for part, scale in ((slice(0, 2), 2.0), (slice(2, 5), 1.0)):
        norm = math.sqrt(sum(float((grad**2).sum()) for grad in grads[part]))
        for param, before, grad in zip(params[part], start[part], grads[part], strict=True):
            expected = before - 0.1 * scale * grad * (1 / norm + 1 / (2 * norm))
            torch.testing.assert_close(param, expected, rtol=1e-14, atol=1e-14)
    assert Shared.group_state == {"total": 0.0, "norms": []}


def test_state_of_a_group_is_saved() -> None:
    params = tensors()
    first = Shared(params)
    run(first, params, [0, 1])
    other = clones(params)
    second = Shared(other)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for optimizer, own in ((first, params), (second, other)):
        run(optimizer, own, [2, 3])
    assert same(params, other)


def test_a_rule_that_wants_what_nobody_has() -> None:
    with pytest.raises(TypeError, match="Bad: its rule wants scale, total, which is neither"):
        type("Bad", (Method,), {"settings": table(lr=not_negative(0.1)), "rule": Rule(shared)})


def test_a_name_of_two_things() -> None:
    settings, rule = table(lr=not_negative(0.1), total=not_negative(1.0)), Rule(shared)
    twice = Rule(lambda grad, total: grad * total, {"total": zeros})
    for bad in (twice, Rule(rule.direction, {"total": zeros, "scale": zeros})):
        with pytest.raises(TypeError, match="Bad: total is both state and a setting"):
            type("Bad", (Method,), {"settings": settings, "rule": bad})


def test_another_rule_with_the_same_table() -> None:
    class Slow(Adam):
        rule = Rule(lambda grad: grad, decay=decoupled)

    param = torch.full((1,), 10.0)
    optimizer = Slow([param], 0.5, weight_decay=0.2)
    give([param], [torch.ones(1)])
    optimizer.step()
    assert param.item() == 10.0 * (1 - 0.5 * 0.2) - 0.5
    assert set(optimizer.defaults) == {"lr", "betas", "eps", "weight_decay", "maximize"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'fused'"):
        Slow([param], fused=True)


def test_a_base_of_several_methods() -> None:
    class Loud(Method):
        seen: list[int] = []  # noqa: RUF012

        def begin(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
            self.seen.append(len(params))

    class Plain(Loud):
        settings = table(lr=not_negative(0.5))
        rule = Rule(lambda grad: grad)

    params = [torch.ones(2), torch.ones(3)]
    optimizer = Plain(params)
    give(params, [torch.ones(2), torch.ones(3)])
    optimizer.step()
    assert (Loud.seen, params[0].tolist()) == ([2], [0.5, 0.5])


def test_a_second_rule_for_what_is_no_matrix() -> None:
    def sign(grad: Tensor) -> Tensor:
        return grad.sign()

    def largest(grad: Tensor, buffer: Tensor) -> Tensor:
        return torch.maximum(buffer, grad.abs(), out=buffer)

    class Both(Method):
        settings = table(lr=not_negative(0.5))
        rule = Rule(sign)
        rest = Rule(largest, {"buffer": zeros})

    params = [torch.zeros(1, 2), torch.zeros(2), torch.zeros(())]
    optimizer = Both(params)
    for grads in ((-3.0, 4.0, 2.0), (5.0, -1.0, -7.0)):
        give(params, [torch.full_like(p, g) for p, g in zip(params, grads, strict=True)])
        optimizer.step()
    assert [param.flatten()[0].item() for param in params] == [0.0, -4.0, -4.5]
    assert [len(optimizer.state[param]) for param in params] == [0, 1, 1]


def test_the_constructor_is_the_table() -> None:
    params = [torch.zeros(2)]
    by_position = Adam(params, 0.5, (0.1, 0.2), 1e-3, 0.25, maximize=True, fused=False)
    expected = {"lr": 0.5, "betas": (0.1, 0.2), "eps": 1e-3, "weight_decay": 0.25}
    assert by_position.defaults == {**expected, "maximize": True, "fused": False}
    assert list(inspect.signature(Adam).parameters) == [
        *("params", "lr", "betas", "eps", "weight_decay", "maximize", "fused")
    ]
    for wrong in ({"beta": 0.9}, {"lr": 0.1, "momentum": 0.9}):
        with pytest.raises(TypeError, match=r"unexpected keyword argument '(beta|momentum)'"):
            Adam(params, **wrong)
    with pytest.raises(TypeError, match="too many positional"):
        Adam(params, 0.5, (0.1, 0.2), 1e-3, 0.25, True)


def test_a_constructor_of_ones_own_is_shown() -> None:
    class Slow(Adam):
        def __init__(self, params: Any, rate: float = 1e-4) -> None:
            super().__init__(params, lr=rate)

    assert list(inspect.signature(Slow).parameters) == ["params", "rate"]
    assert Slow([torch.zeros(2)], rate=0.25).defaults["lr"] == 0.25


def test_a_decay_is_a_function() -> None:
    class Decayed(Method):
        settings = table(lr=not_negative(0.5), weight_decay=not_negative(0.2))
        rule = Rule(lambda grad: grad, decay=decoupled)

    param = torch.full((1,), 10.0)
    optimizer = Decayed([param])
    give([param], [torch.ones(1)])
    optimizer.step()
    assert param.item() == 10.0 * (1 - 0.5 * 0.2) - 0.5


def test_cautious_by_hand() -> None:
    """Of u = (1, −2, 3, 4) two agree with g, and so move twice as far."""
    grad = torch.tensor([1.0, 1.0, 2.0, -1.0])
    update = torch.tensor([1.0, -2.0, 3.0, 4.0])
    assert cautious(update, grad).tolist() == [2.0, 0.0, 6.0, 0.0]
    assert update.tolist() == [1.0, -2.0, 3.0, 4.0]
    quotient = Quotient(update * 6, torch.full((4,), 3.0), divisor=4.0, factor=2.0)
    assert cautious(quotient, grad).tolist() == [2.0, 0.0, 6.0, 0.0]
    assert cautious(update, torch.zeros(4)).tolist() == [0.0] * 4
    many = torch.ones(5000)
    many[1:] = -1.0  # one of 5000 agrees, a share that counts as 1 of 1000
    assert cautious(torch.ones(5000), many)[0].item() == pytest.approx(1000.0)


def test_trust_ratio_by_hand() -> None:
    update = torch.tensor([3.0, 4.0])
    assert trust_ratio(update, torch.tensor([0.0, 10.0])).tolist() == [6.0, 8.0]
    assert trust_ratio(update, torch.zeros(2)).tolist() == [3.0, 4.0]
    assert trust_ratio(torch.zeros(2), torch.ones(2)).tolist() == [0.0, 0.0]


def test_a_sum_of_quotients() -> None:
    one, two = torch.ones(2), torch.full((2,), 2.0)
    parts = [Quotient(one, two, factor=3.0), Quotient(two, one, divisor=4.0)]
    assert tensor(parts).tolist() == [2.0, 2.0]
