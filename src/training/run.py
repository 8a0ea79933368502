"""One run: built from its config, trained to its end, and recorded in its folder."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

import torch
from omegaconf import DictConfig, OmegaConf

from src.config import PROJECT, Config
from src.data import Drawn
from src.errors import InputError
from src.loggers import Loggers
from src.metrics import Direction
from src.overrides import override
from src.results import Record, alone, identity, patch, provenance, refuse_used
from src.results.folder import load_json
from src.results.place import place
from src.results.status import Ended, Status
from src.training import schedules
from src.training.build import assemble
from src.training.checkpoints import Checkpoints
from src.training.device import device_name, set_threads, set_up_torch
from src.training.evaluation import Evaluator
from src.training.leaves import moved
from src.training.loop import Position, Row, stepper, train, training_loss, wants_closure
from src.training.progress import RunProgress
from src.training.result import diverged, result
from src.training.stacking import why_alone
from src.training.state import Pair, State
from src.training.stopping import EarlyStopper
from src.training.weights import judged

if TYPE_CHECKING:  # most runs are alone, and need neither the stack nor greenlets
    from src.training.together import Together


def run(
    config: Config,
    snapshot: str,
    folder: Path,
    *,
    stop: Callable[[Row], bool] = lambda row: False,
    quiet: bool = False,
    keep_last: bool = True,
    threads: int | None = None,
    together: "Together[Any] | None" = None,
) -> dict[str, Any]:
    """Train as the config says and leave the record in `folder`.

    Args:
        config: checked; with `resume`, the folder's own, and the run goes on where it stopped.
        snapshot: the resolved config as YAML, kept as `config.yaml`.
        folder: exists and is this run's alone.
        stop: takes every row, and returns whether the run ends there, as pruned.
        quiet: no progress is shown.
        keep_last: write a checkpoint at the end, from which the run can be lengthened.
        threads: the number that the repeated run had; used where the config names none.
        together: with which other runs train, too; then it is one of its tasks. It trains alone
            where that is quicker, or the only way to give the same bits, and says so.

    Returns:
        What `result.json` holds, with the objective's value not yet rounded to JSON (a run that
        diverged has an infinite one).

    Raises:
        KeyboardInterrupt: after the record is complete.
    """
    with alone(folder), _one_line(folder):
        if config.resume is None:
            refuse_used(folder)
        recorded = load_json(folder, "provenance.json") or {} if config.resume else {}
        set_up_torch(config)
        session = Session(config, folder, together)
        set_threads(config, session.parts.model, threads or identity.threads(recorded))
        facts = session.facts()
        if config.resume is not None:
            rows = session.restore()
            identity.check_environment(folder, recorded, facts)
            session.record.take_up(rows)
        session.describe(snapshot, recorded, facts)
        status = _train(config, session, stop, quiet=quiet, keep_last=keep_last)
        session.tell_why_alone()
        outcome = session.result(status)
        session.record.result(outcome)
    if session.interrupt is not None:
        raise session.interrupt
    return outcome


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Turn an OSError (a full disk, say) into one line that says how the run goes on."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        newest = next((path.name for path in Checkpoints(folder).paths()), "the start")
        if (folder / "config.yaml").is_file():
            reason += f"; {shlex.quote(override('resume', str(folder)))} goes on from {newest}"
        raise InputError(reason) from error


class Session:
    """A run under way: its parts, its position and its record."""

    def __init__(
        self, config: Config, folder: Path, together: "Together[Any] | None" = None
    ) -> None:
        self.config, self.parts = config, assemble(config)
        self.alone = why_alone(config, self.parts) if together else None
        self.together = None if self.alone else together
        self.pair = Pair(self.parts.model, self.parts.optimizer)
        stopping = config.trainer.early_stopping
        direction = Direction(config.objective.direction)
        self.stopper = EarlyStopper(stopping.patience, stopping.min_delta, direction)
        trainer = config.trainer
        self.kind = str((config.model, config.loss, config.data, trainer.threads, trainer.device))
        measure = partial(self.together.evaluate, self.kind) if self.together else None
        self.evaluator = Evaluator(self.parts, config.trainer.evaluate, measure)
        self.at = Position()
        self.record, self.checkpoints = Record(folder), Checkpoints(folder)
        self.saved_at = 0.0  # training seconds
        self.ended: Ended | None = None  # how, for a run that was killed after its last row
        self.interrupt: KeyboardInterrupt | None = None

    def rows(self, tick: Callable[[int, SupportsFloat], None]) -> Iterator[Row]:
        """Train on; each row is recorded before it is yielded."""
        config, parts = self.config, self.parts
        for row in train(
            parts.model,
            parts.loss,
            parts.optimizer,
            parts.schedule,
            parts.batches,
            self.evaluator,
            self.at,
            seed=config.seed,
            epochs=config.trainer.epochs,
            evaluate_every=config.trainer.evaluate_every,
            clip_norm=config.trainer.clip_norm,
            accumulate=config.trainer.accumulate,
            take=self._taker(),
            tick=tick,
        ):
            self.record.row(row)
            yield row

    def _taker(self) -> Callable[[Drawn], Any] | None:
        """What takes a step with those of other runs, to the bit as alone."""
        trainer, parts = self.config.trainer, self.parts
        if self.together is None:
            return None
        loss = partial(training_loss, parts.model, parts.loss)
        if trainer.clip_norm is None and not wants_closure(parts.optimizer):
            # Only a schedule is asked between two steps; one of somebody's own may draw.
            quiet = type(parts.schedule).__module__ == schedules.__name__
            steps = self.together.stepper
            return steps(self.kind, parts.model, loss, parts.optimizer, quiet=quiet)
        gradients = partial(self.together.backward, self.kind, parts.model)
        return stepper(parts.optimizer, loss, trainer.clip_norm, backward=gradients)

    def result(self, status: Status) -> dict[str, Any]:
        """The run's result; the sets of `evaluate_at_end` count unless it was interrupted."""
        names = self.config.trainer.evaluate_at_end if status is not Status.INTERRUPTED else []
        at_end, seconds = Evaluator(self.parts, names)(), self.evaluator.seconds
        with judged(self.parts.model, self.parts.optimizer):
            return result(self.config, status, self.record.rows, at_end, seconds, self.parts.model)

    def facts(self) -> dict[str, Any]:
        """The provenance of this run."""
        return {
            **provenance(PROJECT),
            **place(),
            "data_sha256": self.parts.data.sha256,
            "device": device_name(self.parts.device),
            "threads": torch.get_num_threads(),
            "seed": self.config.seed,
            # Its seconds hold those of the runs beside it.
            **({"together": self.together.size} if self.together else {}),
            **({"alone": self.alone} if self.alone else {}),
        }

    def describe(self, snapshot: str, recorded: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write config.yaml and the provenance of this run.

        A run that goes on keeps the provenance that it began with; what differs now is added.
        """
        self.record.config(snapshot)
        if not recorded:
            self.record.patch(patch(PROJECT))
            self.record.provenance(facts)
            return
        changed = {name: new for name, _, new in identity.environment(recorded, facts)}
        if "git.diff_sha256" in changed:
            self.record.patch(patch(PROJECT), f"provenance-{self.at.step}.patch")
        entry = {"step": self.at.step, "command": facts["command"], **changed}
        before = recorded.get("resumed", [])
        self.record.provenance({**recorded, "resumed": [*before, entry]})

    def tell_why_alone(self) -> None:
        """Add to the provenance why the run trained alone, if that showed only as it trained."""
        if self.together and (reason := self.together.why_alone(self.kind)):
            kept = load_json(self.record.folder, "provenance.json") or {}
            self.record.provenance({**kept, "alone": reason})

    def save(self, status: Status | None, *, force: bool = False) -> None:
        """Write a checkpoint if one is due; an evaluation calls this."""
        every = self.config.trainer.checkpoint_every
        if every is None or (self.at.train_seconds - self.saved_at < every and not force):
            return
        self.saved_at = self.at.train_seconds
        self.record.flush()
        pair = self.pair.state_dict()
        if self.together:  # without the memory that it shares with others
            pair = moved(pair, torch.device("cpu"), copy=True)
        state = {
            **pair,
            "config": {**self.config.model_dump(), "resume": None},
            "position": asdict(self.at),
            "stopper": {"best": self.stopper.best, "waited": self.stopper.waited},
            "rows": len(self.record.rows),
            "ended": status and str(status),
            "eval_seconds": self.evaluator.seconds,
        }
        self.checkpoints.save(self.at.step, state)

    def restore(self) -> int:
        """Go back to the newest checkpoint, or to the start where there is none yet.

        Returns:
            The number of rows at the checkpoint.

        Raises:
            InputError: no checkpoint can be read, or it is another run's.
        """
        saved, folder = self.checkpoints.load(), self.checkpoints.folder
        if saved is None:
            return 0
        try:
            state = State.model_validate(saved)
            self._check_config(state)
            return self._restore(state)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as e:
            reason = " ".join(str(e).split())[:400]
            raise InputError(f"{folder}: not checkpoints of this run: {reason}") from e

    def _check_config(self, state: State) -> None:
        """Refuse a checkpoint that was made with other settings."""
        if state.config is not None:
            identity.check_config(Config.model_validate(state.config), self.config)
            return
        groups = self.parts.optimizer.param_groups
        for group, saved in zip(groups, state.optimizer["param_groups"], strict=True):
            identity.check_group(self.config.optimizer, saved, group)

    def _restore(self, state: State) -> int:
        """Load the state into the session; return the number of its rows."""
        self.pair.load_state_dict(vars(state))
        self.at = Position(**state.position)  # type: ignore[arg-type]
        self.saved_at = self.at.train_seconds
        best, waited = state.stopper["best"], state.stopper["waited"]
        self.stopper = replace(self.stopper, best=best, waited=waited)  # type: ignore[arg-type]
        self.evaluator.seconds = state.eval_seconds
        # A completed run can be lengthened; the others stay as they ended.
        self.ended = state.ended if state.ended is not Status.COMPLETED else None
        return state.rows


def _train(
    config: Config,
    session: Session,
    stop: Callable[[Row], bool],
    *,
    quiet: bool,
    keep_last: bool,
) -> Status:
    """Train until the run ends; return how it ended."""
    if session.ended is not None:
        return session.ended
    loggers, status = Loggers(config.logger), Status.FAILED
    progress = RunProgress(config.trainer.epochs, session.parts.batches.samples, quiet=quiet)
    try:
        loggers.start(session.record.folder, config.model_dump(), session.at.step)
        with progress:
            for row in session.rows(progress.tick):
                loggers.row(row)
                progress.row(row)
                ended = _ending(config, session, row, stop)
                session.save(ended, force=ended is not None and keep_last)
                if ended is not None:
                    status = ended
                    break
            else:
                status = Status.COMPLETED  # no step was left to take
    except KeyboardInterrupt as interrupt:
        status, session.interrupt = Status.INTERRUPTED, interrupt
        session.record.settle()
    finally:
        session.record.close()
        loggers.close(status.value)
    return status


def _ending(
    config: Config, session: Session, row: Row, stop: Callable[[Row], bool]
) -> Status | None:
    """How the run ends at this row, if it does."""
    waited = session.stopper.should_stop(row[config.objective.metric])
    if diverged(row):
        return Status.DIVERGED
    if waited:
        return Status.EARLY_STOPPED
    pruned = stop(row)
    if row["samples"] == config.trainer.epochs * session.parts.batches.samples:
        return Status.COMPLETED
    return Status.PRUNED if pruned else None


def snapshot(cfg: DictConfig) -> str:
    """The config as YAML, with every interpolation resolved."""
    return OmegaConf.to_yaml(cfg, resolve=True)
