"""What made a result."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from src.config import PROJECT
from src.results import provenance
from src.results.provenance import _git, _packages, cpu, patch


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_outside_a_repository(tmp_path: Path) -> None:
    facts = provenance(tmp_path)
    assert facts["git"] is None
    assert facts["cpu"]
    assert facts["packages"]["torch"]


def test_the_machine_and_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["python", "-m", "src.train", "data.root=a b"]
    monkeypatch.setattr(sys, "orig_argv", words)
    monkeypatch.chdir(tmp_path)
    facts = provenance(tmp_path)
    assert shlex.split(facts["command"]) == words
    assert Path(facts["working_directory"]) == tmp_path.resolve()
    assert (facts["cpu_count"], facts["python"]) == (os.cpu_count(), platform.python_version())
    assert facts["platform"] == platform.platform()
    told = Path("/proc/cpuinfo")
    if told.is_file() and "model name" in told.read_text():
        assert f": {facts['cpu']}\n" in told.read_text()


def test_the_packages_are_those_that_are_declared(tmp_path: Path) -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {line.split(">")[0].split("=")[0] for line in declared} | {"numpy", "fairstep"}
    _packages.cache_clear()
    packages = provenance(tmp_path)["packages"]
    assert packages.keys() == names
    assert packages == {name: metadata.version(name) for name in packages}


def test_commit_and_difference(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1\n")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    clean = {"commit": commit, "dirty": False, "diff_sha256": None}
    assert provenance(tmp_path)["git"] == clean
    (tmp_path / "a").write_text("2\n")
    assert provenance(tmp_path)["git"] == clean  # as it was when the process began
    _git.cache_clear()
    patch.cache_clear()
    diff = git(tmp_path, "diff", "HEAD", "--binary").encode()
    dirty = {**clean, "dirty": True, "diff_sha256": hashlib.sha256(diff).hexdigest()}
    assert provenance(tmp_path)["git"] == dirty


def test_a_checkout_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes is recorded all the same, and what isn't there is left out."""

    def unknown(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    version = metadata.version
    monkeypatch.setattr(metadata, "requires", unknown)
    monkeypatch.setattr(
        metadata, "version", lambda name: unknown(name) if name == "fairstep" else version(name)
    )
    _packages.cache_clear()
    found = _packages()
    _packages.cache_clear()
    assert found.keys() == {"torch", "torchvision", "hydra-core", "omegaconf", "optuna", "numpy"}
    assert found["optuna"] == version("optuna")


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: "a processor")
    assert cpu.__wrapped__() == "a processor"


def test_the_processor_is_the_first_that_the_system_names(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "processor\t: 0\nmodel name\t: A: with 2 cores\nflags\t: x\nmodel name\t: B\n"
    monkeypatch.setattr(Path, "read_text", lambda path: told)
    assert cpu.__wrapped__() == "A: with 2 cores"
    monkeypatch.setattr(Path, "read_text", lambda path: "processor : 0\n")
    monkeypatch.setattr(platform, "processor", lambda: "a processor")
    assert cpu.__wrapped__() == "a processor"
