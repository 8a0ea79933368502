"""A comparison's submitter and its workers, as its plan wants them; none is started."""

import errno
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.comparing import making
from src.comparing.ledger import Ledger
from src.comparing.pieces import Silent
from src.comparing.team import end_if_orphan
from src.errors import InputError
from src.launching.local import LocalWorkers
from tests.comparing.conftest import made_plan


def asked(folder: Path, launcher: Any = None, device: str = "cpu", **changes: Any) -> Any:
    plan = made_plan(**changes)
    sweeper = SimpleNamespace(storage=f"sqlite:///{folder / 'studies.db'}", lease_seconds=17)
    plan.configs = {"a": SimpleNamespace(hydra=SimpleNamespace(sweeper=sweeper))}
    plan.job = lambda name: SimpleNamespace(trainer=SimpleNamespace(device=device))
    plan.launcher = launcher
    return plan


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_who_is_alone_has_no_workers(tmp_path: Path) -> None:
    team = making.team({"p": asked(tmp_path)}, tmp_path)
    assert team.workers is None and team.works and team.count == 1


def test_workers_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the plan says, which share out the GPUs that it may use."""
    monkeypatch.setattr(making, "visible_gpus", lambda device: [f"those of {device}"])
    plans = {"p": asked(tmp_path, n_jobs=3, device="auto"), "q": asked(tmp_path, n_jobs=3)}
    team = making.team(plans, tmp_path)
    assert isinstance(team.workers, LocalWorkers) and team.count == 3 and team.works
    assert team.workers.folder == tmp_path / ".work"
    assert team.workers.gpus == ["those of auto"] and team.workers.work is None
    assert team.board.folder == tmp_path / ".work"
    assert team.claims.lease_seconds == 17
    assert team.claims.url == f"sqlite:///{tmp_path / 'studies.db'}"
    assert team.board.claims is team.claims is team.here.claims
    problems = team.here.problems
    assert [*problems] == ["p", "q"]
    for name, problem in problems.items():
        assert problem.plan is plans[name] and problem.folder == tmp_path / name
        problem.folder.mkdir()
        problem.ledger.note("searched", "it")
        assert [line.detail for line in Ledger(tmp_path / name).read()] == ["it"]


def test_while_a_search_is_under_way_the_team_is_tended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, tended = making.team({"p": asked(tmp_path)}, tmp_path), list[str]()
    monkeypatch.setattr(team, "tend", lambda: tended.append("once"))
    team.here.problems["p"].searches.meanwhile()
    assert tended == ["once"]
    monkeypatch.setattr(team, "where", lambda: "everywhere")
    assert team.here.problems["p"].searches.where() == "everywhere"


def test_workers_of_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose jobs keep what they write in the comparison's folder."""
    given = list[Any]()
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "elsewhere"}}})
    OmegaConf.set_readonly(config, True)
    monkeypatch.setattr(making, "make_workers", lambda *told: given.append(told) or "theirs")
    launcher = SimpleNamespace(config=config, loader="loader", kind="ray")
    assert making._workers(asked(tmp_path, launcher), tmp_path / "x") == "theirs"
    assert given == [(config, "loader", (), tmp_path / "x")]
    assert config.hydra.sweep.dir == str(tmp_path / "x")
    assert OmegaConf.is_readonly(config)


def test_a_worker_of_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It obeys its job from the start, ends as an orphan, and is not disturbed at its end."""
    seen = list[Any]()
    monkeypatch.setattr(making, "obey_job", lambda: seen.append("obeys"))
    monkeypatch.setattr(making, "work", lambda *told: seen.append(told))
    plans = {"p": asked(tmp_path), "q": asked(tmp_path)}
    making.help_out(plans, tmp_path)
    obeys, (problems, board, claims) = seen
    assert obeys == "obeys" and board.claims is claims and board.folder == tmp_path / ".work"
    assert [*problems] == ["p", "q"]
    for name, problem in problems.items():
        assert problem.plan is plans[name] and problem.folder == tmp_path / name
        assert isinstance(problem.ledger, Silent)
        assert problem.searches.meanwhile is end_if_orphan
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_workers_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*told: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(making, "obey_job", lambda: None)
    monkeypatch.setattr(making, "work", work)
    with pytest.raises(InputError, match=f"^{tmp_path}: No space left on device; the same command"):
        making.help_out({"p": asked(tmp_path)}, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
