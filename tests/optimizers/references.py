"""What each method is held against: torch.optim's class, and the settings translated to it."""

from typing import Any

import torch

from src import optimizers

Settings = dict[str, Any]

# method name -> (ours, torch's, settings that only torch's needs)
TWINS: dict[str, tuple[type, type, Settings]] = {
    "sgd": (optimizers.SGD, torch.optim.SGD, {}),
    "momentum": (optimizers.Momentum, torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (optimizers.Nesterov, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (optimizers.Adam, torch.optim.Adam, {}),
}
