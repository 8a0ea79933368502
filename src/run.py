"""One run: config -> data -> model -> optimizer -> training -> what it leaves behind."""

import hashlib
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from torch import Tensor, nn

from src import resume
from src.config import PROJECT, Config, blaming, build, check_choices, job_config, parse
from src.data import Splits, load, sizes
from src.errors import InputError
from src.loggers import Loggers
from src.overrides import command, override, parsed
from src.reporting.progress import RunProgress
from src.results import LOCK, Record, claim, digest, patch, provenance, refuse_used
from src.training.checkpoints import Checkpoints
from src.training.evaluation import evaluate
from src.training.loop import Position, Row, train
from src.training.rehearsal import give_shapes, samples, try_checkpoint, try_model, try_steps
from src.training.schedules import Constant
from src.training.state import Pair, State
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
                try_out(parse(job_config(config)))
                return
            check_choices(config)
            _refuse_search(config)
            try_out(parse(job_config(config)))
            _claim(config, "run")
        except InputError as error:
            raise SystemExit(1) from error

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        import src.sweeping.sweeper  # noqa: F401, registers it before Hydra looks for it

        try:
            if config.get("resume") is not None:
                raise InputError("resume: not with -m; a sweep goes on when it is started again")
            check_choices(config)
            sweeper = OmegaConf.select(config, "hydra.sweeper._target_")
            if not str(sweeper).endswith(".StudySweeper"):
                _refuse_searches(config)
                _claim(config, "sweep")
        except InputError as error:
            raise SystemExit(1) from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            if OmegaConf.select(config, "hydra.job.num") is not None:  # of a multirun
                check_choices(config)
                try_out(parse(job_config(config)))
        except InputError as error:
            raise SystemExit(1) from error


def _refuse_search(config: DictConfig) -> None:
    """Refuse a file of sweeps/ without -m, unless the command line sets all that it searches."""
    name = config.hydra.runtime.choices.get("sweeps")
    if name is None:
        return
    from src.sweeping.space import read_space

    given = parsed(config.hydra.overrides.task)
    if read_space(job_config(config), config.hydra.sweeper.params, given):
        raise InputError(f"sweeps={name}: nothing is searched without -m; add it, or leave sweeps=")


def _refuse_searches(config: DictConfig) -> None:
    """Refuse what would be several studies, and jobs that would share a folder."""
    for line in config.hydra.overrides.task:
        if line.startswith("sweeps="):
            names = line.removeprefix("sweeps=")
            comparing = command(f"methods=[{names}]", module="src.compare")
            raise InputError(
                f"{line}: one study per method: start one after another, or compare: {comparing}"
            )
    sweep = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    subdir = sweep["subdir"]  # type: ignore[index, call-overload]
    if "hydra.job.num" not in str(subdir) or ".." in Path(str(subdir)).parts:
        raise InputError(
            f"hydra.sweep.subdir={subdir}: must hold ${{hydra.job.num}} and no .., so that every "
            "job has a folder of its own"
        )


def _claim(config: DictConfig, kind: str) -> None:
    """Make the folder of a run or a multirun its own."""
    key, overrides = f"hydra.{kind}.dir", config.hydra.overrides.hydra
    given = any(item.lstrip("+").startswith(f"{key}=") for item in overrides)
    folder = claim(Path(config.hydra[kind].dir), exact=given, name=key)
    with read_write(config.hydra[kind]), read_write(config.hydra.overrides):
        config.hydra[kind].dir = str(folder)
        if kind == "sweep":  # each job is composed anew from these
            overrides.append(override(key, str(folder)))


def try_out(config: Config) -> Parts:
    """Refuse what a run of the config would fail at, before it has a folder.

    Returns:
        What was built; a run builds its own.

    Raises:
        InputError: a part can't be built, or fails where it is used.
    """
    model = _rehearse(config, _device(config.trainer.device))
    parts = assemble(config)
    _check_last_batch(config, parts.data, model)
    return parts


def assemble(config: Config) -> Parts:
    """Build what the config describes; the same config and seed give the same weights.

    Raises:
        InputError: a setting, a data file or a device is not what it must be.
    """
    device, settings = _device(config.trainer.device), config.data
    data = load(
        settings.name,
        settings.root,
        settings.mean,
        settings.std,
        settings.validation_fraction,
        settings.split_seed,
    )
    _check_sizes(config, data)
    pair = _build_pair(config, device, data.shape, data.num_classes)
    steps = config.trainer.epochs * math.ceil(len(data.train) / settings.batch_size)
    schedule = build("scheduler", config.scheduler, Constant, total_steps=steps)
    return Parts(data.to(device), *pair, schedule, device)


def _build_pair(
    config: Config, device: torch.device, shape: Sequence[int], num_classes: int
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model and its optimizer: the same at every call, and with shapes for lazy layers."""
    torch.manual_seed(config.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lazy modules are a new feature")
        model = build("model", config.model, nn.Module, math.prod(shape), num_classes)
    with blaming("model", config.model):
        give_shapes(model, shape)
    model.to(device)
    parameters = list(model.parameters())
    return model, build("optimizer", config.optimizer, torch.optim.Optimizer, parameters)


def _rehearse(config: Config, device: torch.device) -> nn.Module:
    """Refuse what a part refuses, before any data is read or downloaded.

    Much shows only in use: in a forward pass, a step, or a step after a checkpoint.

    Returns:
        The model that it was tried with.
    """
    build("scheduler", config.scheduler, Constant, total_steps=sys.maxsize)
    Loggers(config.logger)
    shape, num_classes = sizes(config.data.name)
    pair = Pair(*_build_pair(config, device, shape, num_classes))
    data = samples(shape, num_classes).to(device)
    with blaming("model", config.model):
        try_model(pair.model, data, num_classes)
    with blaming("optimizer", config.optimizer):
        try_steps(pair, data)
    if config.trainer.checkpoint_every is not None:
        state, twin = pair.state_dict(), Pair(*_build_pair(config, device, shape, num_classes))
        with blaming("optimizer", config.optimizer):
            try_checkpoint(pair, twin, state)
    return pair.model


def _check_sizes(config: Config, data: Splits) -> None:
    """Refuse a split that leaves too few images for what is asked of it."""
    settings, size = config.data, len(data.train)
    leaves = f"data.validation_fraction={settings.validation_fraction}: leaves"
    total = size + len(data.val)
    if size == 0:
        raise InputError(f"{leaves} 0 of {total} images to train on")
    if settings.batch_size > size:
        reason = f"data.batch_size={settings.batch_size}: must be from 1 to {size}"
        if settings.batch_size <= total:
            raise InputError(f"{leaves} {size} of {total} images to train on; {reason}")
        raise InputError(f"{reason}, the size of the training set")
    for part in {*config.trainer.evaluate, *config.trainer.evaluate_at_end}:
        if len(getattr(data, part)) == 0:
            raise InputError(f"{leaves} no image for trainer.evaluate={config.trainer.evaluate}")


def _check_last_batch(config: Config, data: Splits, model: nn.Module) -> None:
    """Refuse a last batch of one sample for a model that can't train on one (batch norm, say)."""
    size, batch_size = len(data.train), config.data.batch_size
    if size % batch_size != 1 and batch_size != 1:
        return
    try:
        one = samples(data.shape, data.num_classes, 1).to(next(model.parameters()).device)
        try_model(model, one, data.num_classes)
    except Exception as error:  # own classes raise what they like
        other = next((n for n in range(batch_size + 1, size + 1) if size % n != 1), None)
        choose = f"choose data.batch_size={other}, say" if other else "train on more"
        raise InputError(
            f"data.batch_size={batch_size}: leaves a batch of 1 of the {size} training samples, "
            f"which {config.model['_target_']} refuses ({' '.join(str(error).split())}); {choose}"
        ) from error


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
        if config.resume is None:
            refuse_used(folder)
        recorded = resume.load_json(folder, "provenance.json") or {} if config.resume else {}
        set_up_torch(config)
        session = Session(config, folder)
        set_threads(config, session.parts.model, threads or resume.threads(recorded))
        facts = session.facts()
        if config.resume is not None:
            rows = session.restore()
            resume.check_environment(folder, recorded, facts)
            session.record.take_up(rows)
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
    lock = FileLock(folder / LOCK, timeout=0)
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
            reason += f"; {shlex.quote(override('resume', str(folder)))} goes on from {newest}"
        raise InputError(reason) from error


class Session:
    """A run under way: what was built, how far it is, and what it has written."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.parts = config, assemble(config)
        self.pair = Pair(self.parts.model, self.parts.optimizer)
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
            **self.pair.state_dict(),
            "config": {**self.config.model_dump(), "resume": None},
            "position": asdict(self.at),
            "stopper": {"best": self.stopper.best, "waited": self.stopper.waited},
            "rows": len(self.record.rows),
            "ended": ended,
            "eval_seconds": self.evaluator.seconds,
        }
        self.checkpoints.save(self.at.step, state)

    def restore(self) -> int:
        """Go back to the newest checkpoint; to the start, where there is none yet.

        Returns:
            How many rows there were.

        Raises:
            InputError: there are some, and none can be read or is this run's.
        """
        kept, folder = self.checkpoints.load(), self.checkpoints.folder
        if kept is None:
            return 0
        try:
            state = State.model_validate(kept)
            self._check_config(state)
            return self._restore(state)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as e:
            reason = " ".join(str(e).split())[:400]
            raise InputError(f"{folder}: not checkpoints of this run: {reason}") from e

    def _check_config(self, state: State) -> None:
        """Refuse a checkpoint that was made with other settings."""
        if state.config is not None:
            resume.check_config(Config.model_validate(state.config), self.config)
            return
        groups = self.parts.optimizer.param_groups
        for group, saved in zip(groups, state.optimizer["param_groups"], strict=True):
            resume.check_group(self.config.optimizer, saved, group)

    def _restore(self, state: State) -> int:
        """Put everything in its place; return how many rows there were."""
        self.pair.load_state_dict(vars(state))
        self.at = Position(**state.position)  # type: ignore[arg-type]
        self.saved_at = self.at.train_seconds
        best, waited = state.stopper["best"], state.stopper["waited"]
        self.stopper = replace(self.stopper, best=best, waited=waited)  # type: ignore[arg-type]
        self.evaluator.seconds = state.eval_seconds
        # A completed run can be lengthened; the others stay as they ended.
        self.ended = state.ended if state.ended != "completed" else None
        return state.rows


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
    state = {name: item for name, item in model.state_dict().items() if isinstance(item, Tensor)}
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().reshape(-1)  # a scalar has no bytes to view
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def snapshot(cfg: DictConfig) -> str:
    """The config with everything interpolated, as YAML."""
    return OmegaConf.to_yaml(cfg, resolve=True)
