"""One run: config -> data -> model -> optimizer -> training -> what it leaves behind."""

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from torch import Tensor, nn

from src import resume
from src.config import PROJECT, Config, blaming, build, job_config, parse
from src.data import Splits, load
from src.errors import InputError
from src.loggers import Loggers
from src.reporting.progress import RunProgress
from src.results import Record, claim, digest, patch, provenance
from src.training.checkpoints import Checkpoints
from src.training.evaluation import evaluate
from src.training.loop import Position, Row, train
from src.training.schedules import Constant
from src.training.stopping import EarlyStopper
from src.training.threads import threads_for


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
            if config.get("resume") is not None:
                resume.prepare(config)
                assemble(parse(job_config(config)))
                return
            assemble(parse(job_config(config)))
            overrides = config.hydra.overrides.hydra
            given = any(item.lstrip("+").startswith("hydra.run.dir=") for item in overrides)
            folder = claim(Path(config.hydra.run.dir), exact=given)
        except InputError as error:
            raise SystemExit(1) from error
        with read_write(config):
            config.hydra.run.dir = str(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("resume") is not None:
            error = InputError("resume: not with -m; a sweep goes on when it is started again")
            raise SystemExit(1) from error
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
    for part in {*config.trainer.evaluate, *config.trainer.evaluate_at_end}:
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
    """Refuse what a part refuses, before any data is read or downloaded.

    Some classes, torch's among them, refuse a setting only when they take a step.
    """
    sizes = 64, 10  # of the smallest data set; the settings don't depend on them
    model = build("model", config.model, nn.Module, *sizes)
    parameters = list(model.parameters())
    optimizer = build("optimizer", config.optimizer, torch.optim.Optimizer, parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    with blaming("optimizer", config.optimizer):
        optimizer.step()
    build("scheduler", config.scheduler, Constant, total_steps=sys.maxsize)
    Loggers(config.logger)


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
    threads: int | None = None,
) -> dict[str, Any]:
    """Train as the config says and leave the record in `folder`.

    Args:
        config: checked; with `resume`, the folder's own, and the run goes on where it stopped.
        snapshot: the resolved config as YAML, kept as `config.yaml`.
        folder: exists and is this run's alone.
        should_prune: of a trial: is told every row, and ends the run; None for any other run.
        threads: how many the run had that this one repeats; used where the config names none.

    Returns:
        What `result.json` holds, with the objective's value not yet rounded to JSON (a run that
        diverged has an infinite one).

    Raises:
        KeyboardInterrupt: after the record is complete.
    """
    with alone(folder), _one_line(folder):
        recorded = resume.load_json(folder, "provenance.json") or {} if config.resume else {}
        set_up_torch(config)
        session = Session(config, folder)
        set_threads(config, session.parts.model, threads or resume.threads(recorded))
        facts = session.facts()
        if config.resume is not None:
            resume.check_environment(folder, recorded, facts)
            session.take_up()
        session.describe(snapshot, recorded, facts)
        status = _train(config, session, should_prune)
        result = _result(config, session, status)
        session.record.result(result)
    if session.interrupt is not None:
        raise session.interrupt
    return result


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process works in the folder meanwhile; the system ends the claim of a dead one.

    Raises:
        InputError: one does already.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{folder}: another process is working there") from error
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """A disk that is full, say, ends the run with one line that says how to go on."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        newest = next((place.name for place in Checkpoints(folder).places()), "the start")
        if (folder / "config.yaml").is_file():
            reason += f"; resume={folder} goes on from {newest}"
        raise InputError(reason) from error


class State(BaseModel):
    """What a checkpoint holds; it may be from somebody else, so that every part is checked."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    position: dict[str, int | float]
    stopper: dict[str, int | float | None]
    rows: NonNegativeInt
    ended: Literal["completed", "early_stopped", "diverged", "pruned"] | None
    eval_seconds: float
    generators: dict[str, Tensor]


class Session:
    """A run under way: what was built, how far it is, and what it has written."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.parts = config, assemble(config)
        self.evaluator = Evaluator(self.parts, config.trainer.evaluate)
        stopping = config.trainer.early_stopping
        maximize = config.objective.direction == "maximize"
        self.stopper = EarlyStopper(stopping.patience, stopping.min_delta, maximize=maximize)
        self.at = Position()
        self.record, self.checkpoints = Record(folder), Checkpoints(folder)
        self.saved_at = 0.0  # training seconds
        self.ended: str | None = None  # how, for a run that was killed after its last row
        self.interrupt: KeyboardInterrupt | None = None

    def facts(self) -> dict[str, Any]:
        """Where this run comes from."""
        return {
            **provenance(PROJECT),
            "data_sha256": self.parts.data.sha256,
            "device": _device_name(self.parts.device),
            "threads": torch.get_num_threads(),
            "seed": self.config.seed,
        }

    def describe(self, snapshot: str, recorded: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write config.yaml and where this run comes from.

        Of a run that goes on, what it began with stays, and what differs now is added.
        """
        self.record.config(snapshot)
        if not recorded:
            self.record.patch(patch(PROJECT))
            self.record.provenance(facts)
            return
        changed = {what: new for what, _, new in resume.environment(recorded, facts)}
        if "git.diff_sha256" in changed:
            self.record.patch(patch(PROJECT), f"provenance-{self.at.step}.patch")
        entry = {"step": self.at.step, "command": facts["command"], **changed}
        before = recorded.get("resumed", [])
        self.record.provenance({**recorded, "resumed": [*before, entry]})

    def save(self, ended: str | None, *, force: bool = False) -> None:
        """Write a checkpoint, if it is time for one; called at an evaluation."""
        every = self.config.trainer.checkpoint_every
        if every is None or (self.at.train_seconds - self.saved_at < every and not force):
            return
        self.saved_at = self.at.train_seconds
        self.record.flush()
        state = {
            "model": self.parts.model.state_dict(),
            "optimizer": self.parts.optimizer.state_dict(),
            "position": asdict(self.at),
            "stopper": {"best": self.stopper.best, "waited": self.stopper.waited},
            "rows": len(self.record.rows),
            "ended": ended,
            "eval_seconds": self.evaluator.seconds,
            "generators": _generators(self.parts.device),
        }
        self.checkpoints.save(self.at.step, state)

    def take_up(self) -> None:
        """Go on from the newest checkpoint; from the start, where there is none yet.

        Raises:
            InputError: there are some, and all are damaged or another run's; or the metrics end
                before them. Nothing was changed.
        """
        state, rows = self.checkpoints.load(), 0
        if state is not None:
            try:
                rows = self._restore(State.model_validate(state))
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as e:
                reason = " ".join(str(e).split())[:200]
                folder = self.checkpoints.folder
                raise InputError(f"{folder}: not checkpoints of this run: {reason}") from e
        self.record.take_up(rows)

    def _restore(self, state: State) -> int:
        """Put everything in its place; return how many rows there were."""
        self.parts.model.load_state_dict(state.model)
        own, kept = self.parts.optimizer.param_groups, state.optimizer["param_groups"]
        for group, saved in zip(own, kept, strict=True):
            if missing := group.keys() - saved.keys():
                raise ValueError(f"the optimizer lacks {', '.join(sorted(missing))}")
        self.parts.optimizer.load_state_dict(state.optimizer)
        self.at = Position(**state.position)  # type: ignore[arg-type]
        self.saved_at = self.at.train_seconds
        best, waited = state.stopper["best"], state.stopper["waited"]
        self.stopper = replace(self.stopper, best=best, waited=waited)  # type: ignore[arg-type]
        self.evaluator.seconds = state.eval_seconds
        # A completed run can be lengthened; the others stay as they ended.
        self.ended = state.ended if state.ended != "completed" else None
        torch.set_rng_state(state.generators["cpu"])
        if "cuda" in state.generators and self.parts.device.type == "cuda":
            torch.cuda.set_rng_state(state.generators["cuda"])
        return state.rows


def _generators(device: torch.device) -> dict[str, Tensor]:
    """States of the global generators that a model may draw from (dropout, say)."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_up_torch(config: Config) -> None:
    """Determinism, for the whole process, and one thread, so that a model is built the same."""
    torch.set_num_threads(1)
    if config.trainer.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to repeat
    torch.use_deterministic_algorithms(config.trainer.deterministic)
    # It would also fill every new tensor, an aid against code that reads memory it never wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def set_threads(config: Config, model: nn.Module, had: int | None = None) -> None:
    """The threads that a run trains with, for the whole process; never the machine's number.

    The config's, else those that the run had before, because another number adds up in another
    order, else those that follow from the size of the work.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    follow = threads_for(config.data.batch_size, parameters)
    torch.set_num_threads(config.trainer.threads or had or follow)


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


def _train(config: Config, session: Session, should_prune: Callable[[Row], bool] | None) -> str:
    """Train until the run ends; return how it ended."""
    if session.ended is not None:
        return session.ended
    loggers, status = Loggers(config.logger), "failed"
    try:
        loggers.start(session.record.folder, config.model_dump(), session.at.step)
        status = _follow(config, session, loggers, should_prune)
    except KeyboardInterrupt as interrupt:
        status, session.interrupt = "interrupted", interrupt
    finally:
        loggers.close(status)
    return status


def _follow(
    config: Config,
    session: Session,
    loggers: Loggers,
    should_prune: Callable[[Row], bool] | None,
) -> str:
    """Drive the loop row by row; return how it ended."""
    parts = session.parts
    quiet = should_prune is not None  # the sweep shows its own progress
    progress = RunProgress(config.trainer.epochs, len(parts.data.train), quiet=quiet)
    rows = train(
        parts.model,
        parts.optimizer,
        parts.schedule,
        parts.data.train,
        session.evaluator,
        session.at,
        seed=config.seed,
        epochs=config.trainer.epochs,
        batch_size=config.data.batch_size,
        evaluate_every=config.trainer.evaluate_every,
        tick=progress.tick,
    )
    with progress:
        for row in rows:
            session.record.row(row)
            loggers.row(row)
            progress.row(row)
            ended = _ending(config, session, row, should_prune)
            session.save(ended, force=ended is not None and not quiet)  # nobody lengthens a trial
            if ended is not None:
                return ended
    return "completed"  # all that was to do was done before


def _ending(
    config: Config, session: Session, row: Row, should_prune: Callable[[Row], bool] | None
) -> str | None:
    """How the run ends at this row, if it does."""
    stop = session.stopper.should_stop(row[config.objective.metric])
    if diverged(row):
        return "diverged"
    if stop:
        return "early_stopped"
    prune = should_prune is not None and should_prune(row)
    if row["samples"] == config.trainer.epochs * len(session.parts.data.train):
        return "completed"
    return "pruned" if prune else None


def diverged(row: Row) -> bool:
    """Whether any loss of the row is NaN or infinite."""
    return not all(math.isfinite(value) for name, value in row.items() if name.endswith("_loss"))


def _result(config: Config, session: Session, status: str) -> dict[str, Any]:
    objective, rows, model = config.objective, session.record.rows, session.parts.model
    names = config.trainer.evaluate_at_end if status != "interrupted" else []
    at_end = Evaluator(session.parts, names)()
    best, final = best_row(rows, objective.metric, objective.direction), rows[-1] if rows else None
    counted = best if objective.row == "best" else final
    value = counted[objective.metric] if counted else None
    if status == "diverged":
        value = math.inf if objective.direction == "minimize" else -math.inf
    return {
        "status": status,
        "objective": {**objective.model_dump(), "value": value},
        "at_end": at_end,
        "best": best,
        "final": final,
        "steps": final["step"] if final else 0,
        "samples": final["samples"] if final else 0,
        "train_seconds": final["train_seconds"] if final else 0.0,
        "eval_seconds": session.evaluator.seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights_sha256": weights_sha256(model),
        "config_sha256": digest({**config.model_dump(), "resume": None}),
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
