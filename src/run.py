"""One run: config -> data -> model -> optimizer -> training -> what it leaves behind."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from torch import nn

from src.config import PROJECT, Config, build, job_config, parse
from src.data import Splits, load
from src.errors import InputError
from src.reporting.progress import RunProgress
from src.results import Record, claim, digest, provenance
from src.training.evaluation import evaluate
from src.training.loop import Row, train
from src.training.schedules import Constant
from src.training.stopping import EarlyStopper


@dataclass(frozen=True)
class Parts:
    """What a config describes, built."""

    data: Splits
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Constant
    device: torch.device


class Check(Callback):
    """Builds everything once before Hydra makes a folder, so that bad input leaves nothing.

    Hydra turns a callback's exceptions into warnings, so a mistake leaves as SystemExit with the
    InputError as its cause; the entry point says it in one line.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            assemble(parse(job_config(config)))
            overrides = config.hydra.overrides.hydra
            given = any(item.lstrip("+").startswith("hydra.run.dir=") for item in overrides)
            folder = claim(Path(config.hydra.run.dir), exact=given)
        except InputError as error:
            raise SystemExit(1) from error
        with read_write(config):
            config.hydra.run.dir = str(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        import src.sweeping.sweeper  # noqa: F401, registers it before Hydra looks for it


def assemble(config: Config) -> Parts:
    """Build what the config describes; the same config and seed give the same weights.

    Raises:
        InputError: a setting, a data file or a device is not what it must be.
    """
    device = _device(config.trainer.device)
    _check_settings(config)
    settings = config.data
    data = load(
        settings.name,
        settings.root,
        settings.mean,
        settings.std,
        settings.validation_fraction,
        settings.split_seed,
    )
    if settings.batch_size > len(data.train):
        raise InputError(
            f"data.batch_size={settings.batch_size}: must be from 1 to {len(data.train)}, "
            "the size of the training set"
        )
    for part in config.trainer.evaluate:
        if len(getattr(data, part)) == 0:
            raise InputError(
                f"data.validation_fraction={settings.validation_fraction}: leaves no image for "
                f"trainer.evaluate={config.trainer.evaluate}"
            )
    torch.manual_seed(config.seed)
    model = build("model", config.model, nn.Module, data.in_features, data.num_classes)
    model.to(device)
    parameters = list(model.parameters())
    optimizer = build("optimizer", config.optimizer, torch.optim.Optimizer, parameters)
    steps = config.trainer.epochs * math.ceil(len(data.train) / settings.batch_size)
    schedule = build("scheduler", config.scheduler, Constant, total_steps=steps)
    return Parts(data.to(device), model, optimizer, schedule, device)


def _check_settings(config: Config) -> None:
    """Refuse what the model or the optimizer refuses, before any data is read or downloaded."""
    sizes = 64, 10  # of the smallest data set; the settings don't depend on them
    model = build("model", config.model, nn.Module, *sizes)
    build("optimizer", config.optimizer, torch.optim.Optimizer, list(model.parameters()))


def _device(name: str) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available()}
    available["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available[name]:
        usable = ", ".join(device for device, there in available.items() if there)
        raise InputError(f"trainer.device={name}: not available here; available: auto, {usable}")
    return torch.device(name)


def run(
    config: Config,
    snapshot: str,
    folder: Path,
    should_prune: Callable[[Row], bool] | None = None,
) -> dict[str, Any]:
    """Train as the config says and leave the record in `folder`.

    Args:
        config: checked.
        snapshot: the resolved config as YAML, kept as `config.yaml`.
        folder: exists and is this run's alone.
        should_prune: of a trial: is told every row, and ends the run; None for any other run.

    Returns:
        What `result.json` holds, with the objective's value not yet rounded to JSON (a run that
        diverged has an infinite one).

    Raises:
        KeyboardInterrupt: after the record is complete.
    """
    _set_up_torch(config)
    record = Record(folder)
    record.config(snapshot)
    parts = assemble(config)
    facts = {"data_sha256": parts.data.sha256, "device": _device_name(parts.device)}
    record.provenance(
        {**provenance(PROJECT), **facts, "threads": torch.get_num_threads(), "seed": config.seed}
    )
    evaluator = Evaluator(parts, config.trainer.evaluate)
    status = _train(config, parts, evaluator, record, should_prune)
    result = _result(config, parts, evaluator, record.rows, status)
    record.result(result)
    if status == "interrupted":
        raise KeyboardInterrupt
    return result


def _set_up_torch(config: Config) -> None:
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    if config.trainer.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to repeat
    torch.use_deterministic_algorithms(config.trainer.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads any


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class Evaluator:
    """Evaluates the sets that the config names, and counts the seconds it takes."""

    def __init__(self, parts: Parts, names: Sequence[str]) -> None:
        self.model = parts.model
        self.splits = {name: getattr(parts.data, name) for name in names}
        self.seconds = 0.0

    def __call__(self) -> dict[str, float]:
        started = time.perf_counter()
        values = {}
        for name, split in self.splits.items():
            values[f"{name}_loss"], values[f"{name}_accuracy"] = evaluate(self.model, split)
        self.seconds += time.perf_counter() - started
        return values


def _train(
    config: Config,
    parts: Parts,
    evaluator: Evaluator,
    record: Record,
    should_prune: Callable[[Row], bool] | None,
) -> str:
    """Drive the loop row by row; return how it ended."""
    stopping, objective = config.trainer.early_stopping, config.objective
    stopper = EarlyStopper(
        stopping.patience, stopping.min_delta, maximize=objective.direction == "maximize"
    )
    samples = len(parts.data.train)
    quiet = should_prune is not None  # the sweep shows its own progress
    progress = RunProgress(config.trainer.epochs, samples, quiet=quiet)
    rows = train(
        parts.model,
        parts.optimizer,
        parts.schedule,
        parts.data.train,
        evaluator,
        seed=config.seed,
        epochs=config.trainer.epochs,
        batch_size=config.data.batch_size,
        evaluate_every=config.trainer.evaluate_every,
        tick=progress.tick,
    )
    with progress:
        try:
            for row in rows:
                record.row(row)
                progress.row(row)
                if diverged(row):
                    return "diverged"
                if stopper.should_stop(row[objective.metric]):
                    return "early_stopped"
                trained = row["samples"] == config.trainer.epochs * samples
                if should_prune is not None and should_prune(row) and not trained:
                    return "pruned"
        except KeyboardInterrupt:
            return "interrupted"
    return "completed"


def diverged(row: Row) -> bool:
    """Whether any loss of the row is NaN or infinite."""
    return not all(math.isfinite(value) for name, value in row.items() if name.endswith("_loss"))


def _result(
    config: Config, parts: Parts, evaluator: Evaluator, rows: list[Row], status: str
) -> dict[str, Any]:
    objective = config.objective
    best, final = best_row(rows, objective.metric, objective.direction), rows[-1] if rows else None
    counted = best if objective.row == "best" else final
    value = counted[objective.metric] if counted else None
    if status == "diverged":
        value = math.inf if objective.direction == "minimize" else -math.inf
    return {
        "status": status,
        "objective": {**objective.model_dump(), "value": value},
        "best": best,
        "final": final,
        "steps": final["step"] if final else 0,
        "samples": final["samples"] if final else 0,
        "train_seconds": final["train_seconds"] if final else 0.0,
        "eval_seconds": evaluator.seconds,
        "parameters": sum(parameter.numel() for parameter in parts.model.parameters()),
        "weights_sha256": weights_sha256(parts.model),
        "config_sha256": digest(config.model_dump()),
        "seed": config.seed,
    }


def best_row(rows: list[Row], metric: str, direction: str) -> Row | None:
    """The first row with the best finite value of the metric."""
    finite = [row for row in rows if math.isfinite(row[metric])]
    sign = 1 if direction == "minimize" else -1
    return min(finite, key=lambda row: sign * row[metric], default=None)


def weights_sha256(model: nn.Module) -> str:
    """Digest of every tensor of the state dict, names, types and shapes included."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().reshape(-1)  # a scalar has no bytes to view
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def snapshot(cfg: DictConfig) -> str:
    """The config with everything interpolated, as YAML."""
    return OmegaConf.to_yaml(cfg, resolve=True)
