"""What a model and its optimizer save beside their state dicts, and how it comes back."""

import random
import warnings
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from src.errors import InputError
from src.optimizers import Momentum
from src.training.leaves import difference, moved, storage, unkept, walk
from src.training.state import Pair, State


class Part:
    """Is neither a module nor an optimizer, and has a state dict of its own."""

    def __init__(self) -> None:
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


class Held(torch.optim.SGD):
    """Holds another optimizer of the same parameters, and a part."""

    def __init__(self, params: list[Tensor]) -> None:
        super().__init__(params, lr=0.1, momentum=0.9)
        self.inner = torch.optim.Adam(params, lr=0.01)
        self.part, self.again = Part(), None

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.part.steps += 1
        self.inner.step()
        super().step()


class InPlace(torch.optim.SGD):
    """Loads into the dicts that it has, and keeps a number beside its parameters' state."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.state["calls"] = self.state.get("calls", 0) + 1  # type: ignore[index, operator]
        calls = self.state.pop("calls")  # type: ignore[call-overload]
        super().step()
        self.state["calls"] = calls  # type: ignore[index]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for group, other in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({key: value for key, value in other.items() if key != "params"})
        params = [param for group in self.param_groups for param in group["params"]]
        for key, value in state_dict["state"].items():
            self.state[params[key] if isinstance(key, int) else key] = value


class Shared(nn.Module):
    """One layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.block = nn.Sequential(self.first, nn.Linear(3, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.block(self.first(inputs))  # type: ignore[no-any-return]


def stepped(pair: Pair, count: int) -> None:
    for number in range(count):
        for param in pair.model.parameters():
            param.grad = torch.full_like(param, 0.1 * (number + 1))
        pair.optimizer.step()


def made(kind: Any, **settings: Any) -> Pair:
    torch.manual_seed(0)
    model = Shared()
    return Pair(model, kind([*model.parameters()], **settings))


def read_back(pair: Pair) -> dict[str, Any]:
    """What it saved, as a file would give it."""
    copied: dict[str, Any] = moved(pair.state_dict(), torch.device("cpu"), copy=True)
    return copied


def test_parts_come_back() -> None:
    """The optimizer within, and what is neither a module nor an optimizer, with the rest."""
    pair, twin = made(Held), made(Held)
    stepped(pair, 2)
    state = read_back(pair)
    assert state["parts"].keys() == {"optimizer.inner", "optimizer.part"}
    assert state["parts"]["optimizer.part"] == {"steps": 2}
    twin.load_state_dict(state)
    stepped(pair, 2)
    stepped(twin, 2)
    assert difference(pair.state_dict(), twin.state_dict()) is None
    assert twin.optimizer.part.steps == 4  # type: ignore[attr-defined]


def test_an_optimizer_that_loads_in_place() -> None:
    pair, twin = made(InPlace, lr=0.1, momentum=0.9), made(InPlace, lr=0.5, momentum=0.9)
    groups, kept = twin.optimizer.param_groups, twin.optimizer.state
    stepped(pair, 2)
    twin.load_state_dict(read_back(pair))
    assert twin.optimizer.param_groups is groups and groups[0]["lr"] == 0.1
    assert twin.optimizer.state is kept
    stepped(pair, 1)
    stepped(twin, 1)
    assert difference(pair.state_dict(), twin.state_dict()) is None
    assert kept["calls"] == 3  # type: ignore[index]


def test_differences_are_named() -> None:
    same = {"a": [1.0, float("nan"), "x"], "b": {"c": torch.tensor([1.0, float("nan")])}}
    assert difference(same, {**same, "a": [*same["a"]]}) is None
    assert difference(same, {**same, "b": {"c": torch.tensor([1.0, 2.0])}}) == "b.c"
    assert difference(same, {**same, "b": {"c": same["b"]["c"].double()}}) == "b.c"  # type: ignore[call-overload]
    assert difference(same, {**same, "a": [1.0, float("nan"), "y"]}) == "a[2]"
    assert difference(same, {"a": same["a"]}) == "b.c"
    assert difference({"a": same["a"]}, same) == "b.c"
    for one, two in ((1.0, float("nan")), (float("nan"), 1.0), (torch.zeros(1), 0.0)):
        assert difference({"a": one}, {"a": two}) == "a"
    zero = {"a": torch.tensor(0.0)}
    assert difference(zero, {"a": torch.tensor(-0.0)}) == "a"  # equal, and other bits
    sparse = {"a": torch.eye(2).to_sparse()}
    assert difference(sparse, {"a": torch.eye(2).to_sparse()}) is None


def test_a_copy_shares_no_memory() -> None:
    tensor = torch.zeros(2)
    nested = {"a": [tensor, (tensor, {"b": tensor})], "c": 1}
    cpu = torch.device("cpu")
    same, copied = moved(nested, cpu), moved(nested, cpu, copy=True)
    tensor += 1
    assert difference(same, nested) is None
    assert [*walk("", copied)] != [] and all(
        not value.any() for _, value in walk("", copied) if isinstance(value, Tensor)
    )


class Counting(nn.Linear):
    """Counts its passes, in a number beside its parameters."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.passes = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(inputs)


def test_what_changes_in_a_model_comes_back() -> None:
    model, twin = Counting(), Counting()
    pair, other = (Pair(one, torch.optim.SGD(one.parameters(), lr=0.1)) for one in (model, twin))
    assert pair.state_dict()["attributes"] == {}
    model(torch.ones(1, 3))
    state = read_back(pair)
    assert state["attributes"] == {"model": {"passes": 1}}
    other.load_state_dict(state)
    assert twin.passes == 1


def test_a_checkpoint_holds_its_fields_and_no_others() -> None:
    fields = {"model": {}, "optimizer": {}, "generators": {}, "position": {}, "stopper": {},
              "rows": 0, "ended": None, "eval_seconds": 0.0}  # fmt: skip
    assert State.model_validate(fields).parts == {}
    for wrong in ({"more": 1}, {"rows": -1}, {"ended": "failed"}, {"rows": "0"}):
        with pytest.raises(ValidationError):
            State.model_validate({**fields, **wrong})


def test_what_a_checkpoint_gives_back() -> None:
    dense, sparse = torch.eye(2), torch.eye(2).to_sparse()
    with warnings.catch_warnings(action="ignore"):  # such tensors are on their way out
        quantized = torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8)
    assert unkept("x", [dense, nn.Parameter(dense), sparse, {"a": (1, None, "b")}]) is None
    assert unkept("x", {"a": [quantized]}) == "x.a[0]: a torch.Tensor"
    assert unkept("x", {"a": [object()]}) == "x.a[0]: a builtins.object"
    assert unkept("x", [dense[0]], {storage(dense)}) == (
        "x[0]: a tensor that shares a parameter's memory"
    )
    assert storage(sparse) == 0 and storage(dense) == dense.data_ptr()


class Drawing(Momentum):
    """One of the project's methods with a generator of Python's, which no checkpoint keeps."""

    def __init__(self, params: list[Tensor]) -> None:
        super().__init__(params, lr=0.1)
        self.random = random.Random(0)

    def step(self, closure: Any = None) -> Any:
        self.random.random()
        return super().step(closure)


def test_what_a_method_of_the_project_cannot_keep_is_refused() -> None:
    pair = made(Drawing)
    pair.state_dict()  # it is as it was made
    stepped(pair, 1)
    with pytest.raises(InputError, match=r"optimizer\.random: a random\.Random can't be kept"):
        pair.state_dict()
