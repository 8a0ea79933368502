"""Which launchers are allowed, and what is said of the others."""

import pytest
from omegaconf import DictConfig, OmegaConf

from src.errors import InputError
from src.launching.choices import TARGETS, kind_of, leaves_machine, refusal


def config(target: str, **settings: object) -> DictConfig:
    choices = {"hydra/launcher": "chosen"}
    launcher = {"_target_": target, **settings}
    return OmegaConf.create({"hydra": {"launcher": launcher, "runtime": {"choices": choices}}})


def test_a_launcher_is_known_by_its_class() -> None:
    """So a file of one's own may set a partition and have another name."""
    kinds = {"local", "joblib", "ray", "submitit_local", "submitit_slurm"}
    assert {kind_of(config(target, partition="p")) for target in TARGETS} == kinds
    with pytest.raises(InputError, match=r"hydra/launcher=chosen: no launcher of workers"):
        kind_of(config("hydra._internal.core_plugins.basic_launcher.BasicLauncher"))


def test_what_is_missing_is_named_with_the_command() -> None:
    assert refusal("submitit_slurm") == "not installed; pip install 'fairstep[slurm]'"
    assert refusal("ray").endswith("'fairstep[ray]'")
    assert refusal("basic") == (
        "no launcher of workers (allowed: joblib, local, ray, submitit_local, submitit_slurm)"
    )


def test_which_launchers_leave_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    nowhere = OmegaConf.create({"ray": {"init": {"address": None}}})
    local, there = (OmegaConf.create({"ray": {"init": {"address": where}}})
                    for where in ("local", "10.0.0.1:6379"))  # fmt: skip
    assert [leaves_machine("ray", settings) for settings in (nowhere, local, there)] == [
        False, False, True,
    ]  # fmt: skip
    assert leaves_machine("submitit_slurm", OmegaConf.create())
    for kind in ("local", "joblib", "submitit_local"):
        assert not leaves_machine(kind, there)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert leaves_machine("ray", nowhere) and not leaves_machine("ray", local)
