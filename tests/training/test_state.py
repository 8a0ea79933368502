"""What a model and its optimizer save beside their state dicts, and how it comes back."""

import random
import re
import warnings
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from src.errors import InputError
from src.optimizers import Momentum
from src.training.leaves import difference, moved, storage, unkept, walk
from src.training.loop import wants_closure
from src.training.state import Pair, State
from src.training.weights import training
from tests import own_parts


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
        if wants_closure(pair.optimizer):
            pair.optimizer.step(lambda: 0.0)
        else:
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
    fields = {**made(Held).state_dict(), "position": {}, "stopper": {}, "rows": 0, "ended": None,
              "eval_seconds": 0.0}  # fmt: skip
    assert State.model_validate(fields).parts == fields["parts"]
    older = {name: value for name, value in fields.items() if name not in ("parts", "attributes")}
    assert (State.model_validate(older).parts, State.model_validate(older).attributes) == ({}, {})
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


def own_pair(kind: Any) -> Pair:
    torch.manual_seed(0)
    model = Shared()
    optimizer = kind(model.parameters())
    training(optimizer)
    return Pair(model, optimizer)


@pytest.mark.parametrize("kind", own_parts.KEPT)
def test_a_twin_goes_on_from_what_was_saved(kind: Any) -> None:
    """Saved after two steps and loaded into a twin, it takes the same third and fourth."""
    pair, twin = own_pair(kind), own_pair(kind)
    torch.manual_seed(1)
    stepped(pair, 2)
    state = read_back(pair)
    stepped(pair, 2)
    torch.manual_seed(2)  # the generator's state is part of what comes back
    twin.load_state_dict(state)
    assert difference(read_back(twin), state) is None
    stepped(twin, 2)
    assert difference(pair.state_dict(), twin.state_dict()) is None


def test_what_torch_would_cast_or_break_comes_back_as_it_was() -> None:
    pair, twin = own_pair(own_parts.Precise), own_pair(own_parts.Precise)
    stepped(pair, 1)
    twin.load_state_dict(read_back(pair))
    state = twin.optimizer.state[next(twin.model.parameters())]
    assert state["said"] == "something"
    assert state["nested"] == {"said": ["a", ("step", 0)], "size": torch.Size([2])}
    assert (state["average"].dtype, state["count"].dtype) == (torch.float64, torch.int64)
    assert state["count"] == 5


def test_an_optimizer_keeps_its_dicts_for_whoever_shares_them() -> None:
    """A wrapper reads the rate from a group that it was given once."""
    pair, twin = own_pair(own_parts.Counter), own_pair(own_parts.Counter)
    pair.optimizer.param_groups[0]["lr"] = 0.5
    pair.optimizer.state[next(pair.model.parameters())]["seen"] = torch.ones(2)
    groups, state = twin.optimizer.param_groups, twin.optimizer.state
    group, (first, *others) = groups[0], twin.model.parameters()
    for param in (first, *others):
        state[param]["old"] = torch.zeros(1)
    twin.load_state_dict(read_back(pair))
    assert twin.optimizer.param_groups is groups and groups[0] is group and group["lr"] == 0.5
    assert twin.optimizer.state is state and [*state] == [first] and [*state[first]] == ["seen"]


def test_an_optimizers_own_dicts_under_another_name_are_no_state_beside_it() -> None:
    model = Shared()
    optimizer: Any = own_parts.Sharpness(model.parameters())
    optimizer.of_first, optimizer.mine = optimizer.param_groups[0], optimizer.base
    pair = Pair(model, optimizer)
    stepped(pair, 1)
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.state[next(pair.model.parameters())]["seen"] = 1
    state = pair.state_dict()
    assert state["attributes"] == {} and state["parts"].keys() == {"optimizer.base"}


def test_a_state_that_lacks_a_setting_is_refused() -> None:
    twin, state = made(torch.optim.SGD, lr=0.1), read_back(made(torch.optim.SGD, lr=0.1))
    del state["optimizer"]["param_groups"][0]["nesterov"]
    del state["optimizer"]["param_groups"][0]["dampening"]
    with pytest.raises(ValueError, match="the optimizer lacks dampening, nesterov"):
        twin.load_state_dict(state)


class Odd(nn.Module):
    """Parts in many places: two deep, one twice, a class, and one that can't be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.layer.calls = 0
        self.layer.noise = torch.Generator().manual_seed(3)
        self.twice = self.layer
        self.kind = nn.Linear  # a class has a state_dict, too
        self.part = Part()
        self.layer.part = self.part
        self.half = Half()
        self.mean = torch.zeros(2)
        self.view = self.mean[:1]
        self.register_buffer("passing", torch.zeros(2), persistent=False)


class Half:
    """It tells its state and takes none."""

    def state_dict(self) -> dict[str, Any]:
        raise AssertionError("nobody should ask")


def odd() -> Pair:
    torch.manual_seed(0)
    model = Odd()
    return Pair(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_state_in_odd_places_is_kept_once_by_its_first_name() -> None:
    pair, twin = odd(), odd()
    assert read_back(pair)["attributes"] == {}, "nothing has changed"
    model, other = pair.model, twin.model
    assert isinstance(model, Odd) and isinstance(other, Odd)
    model.layer.calls, model.part.steps = 4, 2
    model.mean += 1
    model.passing += 2
    model.late = (1, {"a": torch.ones(1)})
    torch.rand(9, generator=model.layer.noise)
    state = read_back(pair)
    assert state["parts"] == {"model.layer.part": {"steps": 2}}
    assert {name: [*values] for name, values in state["attributes"].items()} == {
        "model": ["mean", "view", "late", "passing"],
        "model.layer": ["calls"],
    }
    assert state["generators"].keys() == {"cpu", "model.layer.noise"}
    twin.load_state_dict(state)
    assert difference(read_back(twin), state) is None
    assert (other.twice.calls, other.part.steps) == (4, 2)
    assert other.view.data_ptr() == other.mean.data_ptr(), "who shares a tensor still does"
    assert torch.equal(
        torch.rand(3, generator=model.layer.noise), torch.rand(3, generator=other.layer.noise)
    )


def test_a_tensor_of_another_shape_or_a_generator_from_a_step_is_made_anew() -> None:
    pair, twin = odd(), odd()
    pair.model.mean = torch.ones(3)
    pair.model.noise = torch.Generator().manual_seed(8)  # type: ignore[assignment]
    twin.load_state_dict(read_back(pair))
    assert torch.equal(twin.model.mean, torch.ones(3))  # type: ignore[arg-type]
    drawn = [torch.rand(3, generator=one.model.noise) for one in (pair, twin)]  # type: ignore[arg-type]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("key", ["training", "_parameters", "kind"])
def test_what_no_checkpoint_keeps_is_not_set_by_one(key: str) -> None:
    """It may be from somebody else."""
    pair = odd()
    state = {**read_back(pair), "attributes": {"model": {key: 1}}}
    with pytest.raises(ValueError, match=rf"Odd\.{key} isn't kept in checkpoints"):
        pair.load_state_dict(state)
    assert pair.model.kind is nn.Linear and pair.model.training is True


@pytest.mark.parametrize("field", ["parts", "attributes"])
def test_state_of_something_that_is_not_there_is_refused(field: str) -> None:
    pair = odd()
    with pytest.raises(KeyError):
        pair.load_state_dict({**read_back(pair), field: {"model.gone": {"a": 1}}})


@pytest.mark.parametrize("place", ["model.part", "model._extra_state", "optimizer.state[0].x"])
def test_what_a_state_dict_says_is_refused_if_no_checkpoint_gives_it_back(place: str) -> None:
    """Of the model, of the optimizer, of a part: whoever says it."""
    model = own_parts.Extra(3, 2)
    model.part = Part()
    pair = Pair(model, torch.optim.SGD(model.parameters(), lr=0.1))
    pair.state_dict()
    bad = own_parts.deque([1.0])
    if place == "model.part":
        model.part.steps = bad  # type: ignore[assignment]
        place += ".steps"
    elif place == "model._extra_state":
        model.get_extra_state = lambda: bad  # type: ignore[method-assign]
    else:
        pair.optimizer.state[next(model.parameters())]["x"] = bad
    with pytest.raises(InputError, match=rf"^{re.escape(place)}: a collections\.deque can't be"):
        pair.state_dict()


def test_tensors_without_memory_share_none() -> None:
    """An empty one of the model's, and others of the optimizer's: nothing comes back twice."""
    model = Shared()
    model.register_buffer("none", torch.zeros(0))
    pair = Pair(model, torch.optim.SGD(model.parameters(), lr=0.1))
    kept = {"empty": torch.zeros(0), "sparse": torch.eye(2).to_sparse()}
    pair.optimizer.state[model.first.weight].update(kept)
    assert pair.state_dict()["optimizer"]["state"][0].keys() == kept.keys()
