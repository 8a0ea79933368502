"""Removing a study from its database."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from src.errors import InputError
from src.sweeping import storage as db

LEASE_SECONDS = 3600  # longer than that of any sweep: a silent worker elsewhere may be alive


def study_of(folder: Path) -> tuple[str, str] | None:
    """The database's URL and the study's name, as a trial in a study's folder names them."""
    for path in sorted(folder.glob("trial-*/trial.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            names = json.loads(path.read_text(encoding="utf-8"))
            return str(names["storage"]), str(names["study"])
    return None


def is_under_way(folder: Path) -> bool:
    """Whether a process that may be alive runs a trial of a folder's study.

    Raises:
        InputError: the database can't be read.
    """
    with _opened(folder) as study:
        return study is not None and _is_under_way(study)


def remove_study(folder: Path) -> None:
    """Delete the study of a folder from its database, if its trials lie in that folder.

    Raises:
        InputError: a trial is running, or the database can't be used; nothing was deleted.
    """
    with _opened(folder) as study:
        if study is None or not _lies_in(study, folder):
            return
        if _is_under_way(study):
            raise InputError(f"{folder}: a trial of study {study.study_name} is running")
        optuna.delete_study(study_name=study.study_name, storage=study._storage)


@contextmanager
def _opened(folder: Path) -> Iterator[optuna.Study | None]:
    """The study, which no other process changes meanwhile; None if there is none any more."""
    named = study_of(folder)
    if named is None or not _exists(named[0]):
        yield None
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url, name = db.absolute(named[0]), named[1]
    storage = db.open_storage(url, LEASE_SECONDS)
    try:
        with db.lock(url):
            yield _loaded(name, storage)
    except db.AWAY as error:
        raise db.unusable(error, url) from error


def _loaded(name: str, storage: optuna.storages.RDBStorage) -> optuna.Study | None:
    with suppress(KeyError):
        return optuna.load_study(study_name=name, storage=storage)
    return None


def _exists(url: str) -> bool:
    """Whether there may be such a database; opening an SQLite file would make it."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).is_file()


def _is_under_way(study: optuna.Study) -> bool:
    storage = study._storage
    assert isinstance(storage, BaseHeartbeat)
    silent = {*storage._get_stale_trial_ids(study._study_id)}
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return any(_is_alive(trial) and trial._trial_id not in silent for trial in running)


def _is_alive(trial: FrozenTrial) -> bool:
    owner = trial.user_attrs.get("owner")
    return owner is not None and not db.is_dead(owner)


def _lies_in(study: optuna.Study, folder: Path) -> bool:
    """Whether all trials left their records in the folder: it may be a copy of another's."""
    folders = (trial.user_attrs.get("folder") for trial in study.get_trials(deepcopy=False))
    return all(Path(place).is_relative_to(folder) for place in folders if place is not None)
