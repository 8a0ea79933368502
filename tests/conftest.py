"""What all tests share: one thread, temporary outputs, and where MNIST may be."""

import os
import signal

# A command that a script starts in the background ignores Ctrl-C, and so do those it starts; the
# tests that press it must work there too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before torch is imported, here and in the processes that tests start: two threads that wait
# for each other on a busy machine take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.helpers import MNIST_ROOTS, Session

# Files that take tens of seconds, the longest first. `make test` gives whole files to its workers,
# in their order: those that are short come last, so that no worker waits for another's long one.
LONG = (
    "sweeping/test_study", "training/test_methods_at_once", "test_problems", "test_compare",
    "test_resume",
    "comparing/test_calibration", "optimizers/test_extremes", "sweeping/test_kills",
    "sweeping/test_sweep", "reporting/test_report", "test_own_method",
    "comparing/test_settings", "comparing/test_overall_calibration", "optimizers/test_twins",
    "comparing/test_protocol", "test_own_parts", "test_train", "test_own_problem", "test_loggers",
    "optimizers/test_contract", "sweeping/test_spaces", "sweeping/test_studies",
    "comparing/test_problems", "sweeping/test_database", "sweeping/test_failures",
    "test_add_an_optimizer", "training/test_together", "sweeping/test_batches",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {f"tests/{name}.py": rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(LONG)))


# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def scripts_are_read_once() -> Iterator[None]:
    """Optuna reads the history of its tables three times when it opens a database: 0.1 s."""
    from alembic.script import ScriptDirectory

    with pytest.MonkeyPatch.context() as patch:
        real, known = ScriptDirectory.from_config, {}

        def once(config: Any) -> ScriptDirectory:
            place = config.get_main_option("script_location")
            if place not in known:
                known[place] = real(config)
            return known[place]

        patch.setattr(ScriptDirectory, "from_config", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_the_disk() -> Iterator[None]:
    """What tests write needn't outlast a power cut; whether it would, tests/test_files.py asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Calls the entry point in this process, with `outputs/` and the working directory empty."""
    import torch

    monkeypatch.setattr("src.config.OUTPUTS", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield Session(tmp_path, monkeypatch)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def mnist_root() -> str:
    """A folder that holds MNIST; skips where none does."""
    for root in MNIST_ROOTS:
        if (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
            return str(root)
    pytest.skip("MNIST is in none of: " + ", ".join(map(str, MNIST_ROOTS)))
