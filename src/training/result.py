"""The contents of a run's result.json."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from src.config import Config
from src.metrics import Direction, is_metric
from src.results.identity import config_digest
from src.results.status import Status
from src.training.loop import Row


def result(
    config: Config,
    status: Status,
    rows: Sequence[Row],
    at_end: Mapping[str, float],
    eval_seconds: float,
    model: nn.Module,
) -> dict[str, Any]:
    """The contents of `result.json` for a run.

    Args:
        status: how it ended.
        rows: all of its evaluations.
        at_end: the evaluation after the end.
        eval_seconds: the time of the rows' evaluations.
        model: with its last weights.
    """
    objective = config.objective
    direction, final = Direction(objective.direction), rows[-1] if rows else None
    best = direction.best(rows, itemgetter(objective.metric))
    counted = best if objective.row == "best" else final
    value = counted[objective.metric] if counted else None
    if status is Status.DIVERGED:
        value = direction.sign * math.inf
    return {
        "status": status,
        "objective": {**objective.model_dump(), "value": value},
        "at_end": at_end,
        "best": best,
        "final": final,
        "steps": final["step"] if final else 0,
        "samples": final["samples"] if final else 0,
        "train_seconds": final["train_seconds"] if final else 0.0,
        "eval_seconds": eval_seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights_sha256": weights_sha256(model),
        "config_sha256": config_digest(config),
        "seed": config.seed,
    }


def diverged(row: Row) -> bool:
    """Whether a measured value is NaN or infinite."""
    measured = (name for name in row if name == "batch_loss" or is_metric(name))
    return not all(math.isfinite(row[name]) for name in measured)


def weights_sha256(model: nn.Module) -> str:
    """Digest of every tensor of the state dict, names, types and shapes included."""
    total = hashlib.sha256()
    state = {name: item for name, item in model.state_dict().items() if isinstance(item, Tensor)}
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().reshape(-1)  # a scalar has no bytes to view
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
