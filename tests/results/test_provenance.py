"""What made a result."""

import hashlib
import subprocess
from pathlib import Path

from src.results import provenance
from src.results.provenance import _git, patch


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_outside_a_repository(tmp_path: Path) -> None:
    facts = provenance(tmp_path)
    assert facts["git"] is None
    assert facts["cpu"]
    assert facts["packages"]["torch"]


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
