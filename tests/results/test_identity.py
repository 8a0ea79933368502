"""What a run recorded of its threads, and that a folder is one process's."""

from pathlib import Path
from threading import Thread
from typing import Any

import pytest

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
