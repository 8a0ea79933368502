"""What a config may name, and what is built of it."""

from typing import Any

import pytest
import torch

from src.errors import InputError
from src.targets import build

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
