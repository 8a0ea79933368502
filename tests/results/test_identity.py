"""What a run recorded of its threads, and that a folder is one process's."""

from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from src.config import flatten
from src.errors import InputError
from src.results import alone, identity


@pytest.mark.parametrize(
    ("recorded", "threads"),
    [(1, 1), (2, 2), (1024, 1024), (0, None), (1025, None), (True, None), ("2", None), (2.0, None)],
)
def test_threads_that_a_run_had(recorded: Any, threads: int | None) -> None:
    assert identity.threads({"threads": recorded}) == threads


def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    said: list[str] = []

    def second() -> None:
        with pytest.raises(InputError, match="another process is working there") as refused:
            alone(tmp_path).__enter__()
        said.append(str(refused.value))

    with alone(tmp_path):
        thread = Thread(target=second, daemon=True)
        thread.start()
        thread.join(timeout=20)
        assert said == [f"{tmp_path}: another process is working there"]
    with alone(tmp_path):
        pass


OLD_DATA = {"name": "digits", "root": None, "batch_size": 32, "mean": 0.0}
NEW_DATA = {"_target_": "src.data.digits.load", "batch_size": 32, "mean": 0.0,
            "drop_last": False, "shuffle": True}  # fmt: skip
LOSS = {"_target_": "src.losses.CrossEntropy", "class_weights": None, "label_smoothing": 0.0}
NEW = {"seed": 0, "data": NEW_DATA, "loss": LOSS,
       "trainer": {"epochs": 3, "clip_norm": None, "accumulate": 1, "stack": 8},
       "sampler": {"_target_": "S", "batch": 1}}  # fmt: skip
OLD = {"seed": 0, "data": OLD_DATA, "trainer": {"epochs": 3}, "sampler": {"_target_": "S"}}


def test_later_settings_that_change_nothing_make_no_other_experiment() -> None:
    assert identity.settings(NEW, ()) == identity.settings(OLD, ()) == flatten(OLD)
    assert identity.canonical(OLD) == OLD
    assert identity.canonical({"seed": 1}) == {"seed": 1}


@pytest.mark.parametrize(
    ("group", "changed", "stays"),
    [
        ("data", {"drop_last": True}, "data.drop_last"),
        ("data", {"shuffle": False}, "data.shuffle"),
        ("data", {"_target_": "my_data.load"}, "data._target_"),
        ("trainer", {"clip_norm": 1.0}, "trainer.clip_norm"),
        ("trainer", {"accumulate": 2}, "trainer.accumulate"),
        ("sampler", {"batch": 2}, "sampler.batch"),
        ("loss", {"label_smoothing": 0.1}, "loss.label_smoothing"),
        ("loss", {"class_weights": "balanced"}, "loss.class_weights"),
        ("loss", {"_target_": "src.losses.MSE"}, "loss._target_"),
    ],
)
def test_later_settings_that_change_something(
    group: str, changed: dict[str, Any], stays: str
) -> None:
    kept = identity.settings({**NEW, group: {**NEW[group], **changed}}, ())  # type: ignore[dict-item]
    assert stays in kept and kept != flatten(OLD)
