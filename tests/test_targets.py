"""What a config may name, and what is built of it."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch

from src.errors import InputError
from src.targets import build, resolve, signature

SGD = {"_target_": "torch.optim.SGD", "lr": 0.1}


def built(settings: dict[str, Any]) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    return build("optimizer", settings, torch.optim.Optimizer, parameters)


def test_what_is_built_has_the_settings() -> None:
    optimizer = built(SGD | {"nesterov": True, "momentum": 0.5})
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["nesterov"], group["momentum"]) == (0.1, True, 0.5)


@pytest.mark.parametrize("word", ["no", "false", "off", ""])
def test_a_word_is_neither_true_nor_false(word: str) -> None:
    """torch would take any word for true."""
    with pytest.raises(InputError) as refused:
        built(SGD | {"nesterov": word, "momentum": 0.5})
    assert str(refused.value) == (
        f"optimizer: torch.optim.SGD(lr=0.1, nesterov={word}, momentum=0.5): "
        f"nesterov must be true or false, got {word!r}"
    )
    assert built(SGD | {"nesterov": False}).param_groups[0]["nesterov"] is False


@dataclass
class Maker:
    """Can't be a key."""

    size: int = 3

    def __call__(self, in_features: int) -> int:
        return in_features * self.size


def test_signatures_are_told_of_whatever_can_be_called() -> None:
    assert [*signature(Maker).parameters] == ["size"]
    assert [*signature(Maker()).parameters] == ["in_features"]
    assert signature(Maker) is signature(Maker), "it is kept"


def test_a_name_is_looked_up_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module holds may change: in a notebook, say."""
    module = ModuleType("src.models.made_up")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Maker, "__module__", module.__name__)
    monkeypatch.setattr(module, "Maker", Maker, raising=False)
    path = {"_target_": "src.models.made_up.Maker"}
    assert resolve("model", path) is Maker
    other = type("Maker", (Maker,), {"__module__": module.__name__})
    monkeypatch.setattr(module, "Maker", other)
    assert resolve("model", path) is other


@pytest.mark.parametrize(
    "path", ["src.models.missing.Model", "src.models.Missing", "src.models.gone.__class__"]
)
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(InputError, match=r"model\._target_=src\.models\.\w+.*(named|attribute)"):
        resolve("model", {"_target_": path})
