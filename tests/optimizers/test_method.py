"""What a rule may ask for, and what the base class makes of it."""

import copy
import inspect
import math
from dataclasses import replace
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
    with pytest.raises(TypeError, match="Bad: scale, total is wanted by its rule"):
        type("Bad", (Method,), {"settings": table(lr=not_negative(0.1)), "rule": Rule(shared)})


def test_a_name_of_two_things() -> None:
    settings, rule = table(lr=not_negative(0.1), total=not_negative(1.0)), Rule(shared)
    twice = Rule(lambda grad, total: grad * total, {"total": zeros})
    for bad in (twice, Rule(rule.direction, {"total": zeros, "scale": zeros})):
        with pytest.raises(TypeError, match=r"Bad: (scale, )?total is the name of two things"):
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


def sizes(grad: Tensor, beta: float) -> Tensor:
    return grad * beta


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": table(eta=not_negative(1.0))}, "lr is missing among its settings"),
        ({"group_state": {"lr": 7}}, "lr is the name of two things"),
        ({"rule": Rule(lambda grad: grad, {"step": zeros})}, "step is the name of two things"),
        ({"rule": Rule(sizes, renamed={"beta": "rl"})}, "rl stands for a rule's argument, and is"),
    ],
)
def test_other_names_that_are_refused(changes: dict[str, Any], says: str) -> None:
    plain = {"settings": table(lr=not_negative(0.1)), "rule": Rule(lambda grad: grad)}
    with pytest.raises(TypeError, match=f"Bad: {says}"):
        type("Bad", (Method,), plain | changes)


def test_a_method_without_a_rule() -> None:
    class Old(Method):
        settings = table(lr=not_negative(0.1))

    with pytest.raises(TypeError, match="Old has no rule"):
        Old([torch.zeros(2)])


@pytest.mark.parametrize("bad", [None, (torch.ones(2), torch.ones(2)), 1.0])
def test_what_is_no_direction(bad: Any) -> None:
    class Bad(Method):
        settings = table(lr=not_negative(0.1))
        rule = Rule(lambda grad: bad)

    param = torch.zeros(2)
    give([param], [torch.ones(2)])
    with pytest.raises(TypeError, match="a rule returns a tensor, a Quotient or a list of these"):
        Bad([param]).step()


def test_a_kernel_stays_with_its_rule() -> None:
    """A subclass that changes what the kernel computes takes the plain way."""

    class Still(Adam):
        rule = replace(Adam.rule, direction=lambda grad: torch.zeros_like(grad))

    class Unmoved(Adam):
        def update(self, param: Tensor, grad: Tensor, state: Any, group: Any) -> None: ...

    class Biases(Adam):
        rest = Still.rule

    class Same(Adam):
        settings = {**Adam.settings, "lr": not_negative(0.5)}  # noqa: RUF012

    for kind, moves in ((Still, (0, 0)), (Unmoved, (0, 0)), (Biases, (1, 0)), (Same, (1, 1))):
        params = [torch.ones(2, 2), torch.ones(2)]
        give(params, [torch.ones(2, 2), torch.ones(2)])
        optimizer = kind(params)
        optimizer.step()
        assert tuple(int((param != 1).any()) for param in params) == moves, kind
        assert ("fused" in optimizer.defaults) == (kind is Same)
    assert Same(params).defaults["lr"] == 0.5


def test_state_of_another_shape_in_a_large_tensor() -> None:
    class Scaled(Method):
        settings = table(lr=not_negative(0.5))
        rule = Rule(lambda grad, scale: grad * scale, {"scale": lambda param: torch.tensor(2.0)})

    param = torch.zeros(2**19 + 1)
    give([param], [torch.ones_like(param)])
    Scaled([param]).step()
    assert bool((param == -1.0).all())


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
    assert trust_ratio(torch.zeros(0), torch.zeros(0)).tolist() == []


@pytest.mark.parametrize(
    ("dtype", "large", "small"), [(torch.float32, 3e38, 1e-30), (torch.float64, 1e307, 1e-300)]
)
def test_norms_that_overflow(dtype: torch.dtype, large: float, small: float) -> None:
    """(3, 4) in one unit has 5/13 of the norm of (5, 12) in another."""
    update = torch.tensor([3.0, 4.0], dtype=dtype) * small
    for unit in (large / 16, 1.0):
        param = torch.tensor([5.0, 12.0], dtype=dtype) * unit
        expected = torch.tensor([3.0, 4.0], dtype=dtype) * (13 / 5 * unit)
        torch.testing.assert_close(trust_ratio(update, param), expected, rtol=1e-5, atol=0.0)
    half = trust_ratio(torch.ones(80_000).half(), torch.full((80_000,), 300.0).half())
    assert half[0].item() == 300.0


def test_a_sum_of_quotients() -> None:
    one, two = torch.ones(2), torch.full((2,), 2.0)
    parts = [Quotient(one, two, factor=3.0), Quotient(two, one, divisor=4.0)]
    assert tensor(parts).tolist() == [2.0, 2.0]
