"""Launchers on the command line: what is refused, before anything is written."""

from pathlib import Path

from tests.sweeping.conftest import Sweep, sweep  # noqa: F401, a fixture


def refused(sweep: Sweep, *overrides: str) -> str:  # noqa: F811
    ended = sweep("sweeps=sgd", "n_trials=1", *overrides)
    assert ended.status == 1 and ended.out == "" and len(ended.err.splitlines()) == 1
    assert not ended.folder.exists()
    return ended.err.removeprefix("error: ").strip()


def test_a_launcher_that_is_none(sweep: Sweep) -> None:  # noqa: F811
    allowed = "(allowed: joblib, local, ray, submitit_local, submitit_slurm)"
    for name in ("basic", "slurm"):
        text = f"hydra/launcher={name}: no launcher of workers {allowed}"
        assert refused(sweep, f"hydra/launcher={name}") == text


def test_a_password_is_not_repeated(sweep: Sweep) -> None:  # noqa: F811
    text = refused(sweep, "storage=postgresql://me:secret@nowhere/x")
    assert "leave the password to ~/.pgpass or PGPASSWORD" in text and "secret" not in text


def test_detach_is_yes_or_no(sweep: Sweep) -> None:  # noqa: F811
    assert refused(sweep, "detach=maybe") == "hydra.sweeper.detach=maybe: must be true or false"


def test_a_file_chooses_no_launcher(sweep: Sweep, tmp_path: Path) -> None:  # noqa: F811
    """It may be from somebody else, and a launcher's settings hold lines for a shell."""
    (tmp_path / "sweeps").mkdir(exist_ok=True)
    node = "hydra: {launcher: {_target_: src.launching.local.LocalLauncher}}"
    file = ["# @package _global_", "defaults:", "  - /sweeps/sgd", node]
    (tmp_path / "sweeps" / "mine.yaml").write_text("\n".join(file) + "\n")
    ended = sweep("--config-dir", str(tmp_path), "sweeps=mine", "n_trials=1")
    assert ended.status == 1
    assert ended.err == "error: sweeps=mine: sets hydra.launcher; only the command line does\n"
