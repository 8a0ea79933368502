"""Calls of a storage in one transaction: what was lost, and what each thread has."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from src.errors import InputError
from src.sweeping import marker, removal
from src.sweeping.marker import FILE, check_marker
from src.sweeping.storage import open_storage
from src.sweeping.transactions import Sessions, key_of, together


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without studies: to make its tables takes longer than a test."""
    file: Path = tmp_path_factory.mktemp("tables") / "studies.db"
    open_storage(f"sqlite:///{file}", 60).engine.dispose()
    return file


@pytest.fixture(autouse=True)
def database(tmp_path: Path, empty: Path) -> Iterator[None]:
    shutil.copy(empty, tmp_path)
    yield
    open_storage.cache_clear()


def storage_in(folder: Path) -> Any:
    return open_storage(f"sqlite:///{folder / 'studies.db'}", 60)


def test_a_transaction_that_was_rolled_back_is_told(tmp_path: Path) -> None:
    """Optuna's calls roll back and go on; nothing of what was done since may count."""
    storage = storage_in(tmp_path)
    study = optuna.create_study(study_name="a", storage=storage)
    with pytest.raises(optuna.exceptions.StorageInternalError, match="lost"), together(storage):
        storage.set_study_user_attr(study._study_id, "a", 1)
        storage.scoped_session().rollback()
        storage.set_study_user_attr(study._study_id, "b", 1)
    assert study.user_attrs == {}
    with together(storage):
        storage.set_study_user_attr(study._study_id, "c", 1)
        assert storage.get_study_user_attrs(study._study_id) == {"c": 1}
    assert study.user_attrs == {"c": 1}
    with pytest.raises(ValueError, match="broke"), together(storage):
        storage.set_study_user_attr(study._study_id, "d", 1)
        raise ValueError("broke")
    assert study.user_attrs == {"c": 1}


def test_only_the_thread_that_began_it_shares_it(tmp_path: Path) -> None:
    sessions, seen = storage_in(tmp_path).scoped_session, list[Any]()
    with together(storage_in(tmp_path)):
        shared = sessions()
        assert sessions() is shared
        thread = Thread(target=lambda: seen.append(sessions()))
        thread.start()
        thread.join()
    assert seen[0] is not shared and sessions() is not shared
    removed = list[str]()
    Sessions(SimpleNamespace(remove=lambda: removed.append("once"))).remove()
    assert removed == ["once"]


def test_a_locks_number_is_the_same_everywhere() -> None:
    """A signed integer of 64 bits, by SHA-256 of the words `fairstep NAME`."""
    from hashlib import sha256

    def by_hand(name: str) -> int:
        number = int(sha256(f"fairstep {name}".encode()).hexdigest()[:16], 16)
        return number - 2**64 if number >= 2**63 else number

    numbers = [key_of(f"study {n}") for n in range(40)]
    assert numbers == [by_hand(f"study {n}") for n in range(40)]
    assert min(numbers) < 0 < max(numbers)


class Study:
    """Stands in for a shared study on a server, or on a file."""

    def __init__(self, url: str) -> None:
        self.url, self.name, self.study = url, "s", self
        self.user_attrs: dict[str, Any] = {}

    def set_user_attr(self, name: str, value: Any) -> None:
        self.user_attrs[name] = value


def test_a_study_is_marked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its folder and in its database; who doesn't see the folder makes none on a server."""
    for name in ("x.db", "server"):
        url = f"sqlite:///{tmp_path / name}" if name == "x.db" else "postgresql://me@host/db"
        if name == "server":
            from contextlib import nullcontext

            monkeypatch.setattr(marker.db, "lock", lambda url: nullcontext())
        study: Any = Study(url)
        folder = tmp_path / f"of-{name}" / "deep"
        check_marker(study, folder)
        kept = json.loads((folder / FILE).read_text())
        assert kept == {"study": "s", "marker": study.user_attrs["marker"]}
        assert len(kept["marker"]) == 32
        check_marker(study, folder)
        assert json.loads((folder / FILE).read_text()) == kept
        if name == "x.db":
            check_marker(study, tmp_path / "anew")
            assert json.loads((tmp_path / "anew" / FILE).read_text()) == kept
        else:
            with pytest.raises(InputError, match="doesn't see the folder"):
                check_marker(study, tmp_path / "elsewhere")
            assert not (tmp_path / "elsewhere").exists()


def test_another_that_was_quicker_has_marked_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between this process's look and its turn."""
    study: Any = Study("postgresql://me@host/db")

    class Turn:
        def __enter__(self) -> None:
            study.user_attrs["marker"] = "theirs"
            (tmp_path / FILE).write_text(json.dumps({"study": "s", "marker": "theirs"}))

        def __exit__(self, *told: object) -> None: ...

    monkeypatch.setattr(marker.db, "lock", lambda url: Turn())
    check_marker(study, tmp_path)
    assert study.user_attrs == {"marker": "theirs"}


def a_trial(folder: Path, storage: str, number: int = 0) -> None:
    place = folder / f"trial-{number}"
    place.mkdir(parents=True)
    (place / "trial.json").write_text(json.dumps({"storage": storage, "study": "s"}))


def test_a_database_that_is_away_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line, for who wants to remove its study or knows whether it is under way."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    optuna.create_study(study_name="s", storage=open_storage(url, removal.LEASE_SECONDS))
    a_trial(tmp_path / "s", url)
    assert not removal.is_under_way(tmp_path / "s")

    def away(**told: Any) -> Any:
        raise optuna.exceptions.StorageInternalError("it went away")

    monkeypatch.setattr(removal.optuna, "load_study", away)
    for ask in (removal.is_under_way, removal.remove_study):
        with pytest.raises(InputError, match=r"database .* can't be used: it went away"):
            ask(tmp_path / "s")


def test_the_first_trial_names_the_study(tmp_path: Path) -> None:
    assert removal.study_of(tmp_path) is None
    for number in (1, 0):
        a_trial(tmp_path, f"sqlite:///{number}.db", number)
    assert removal.study_of(tmp_path) == ("sqlite:///0.db", "s")
