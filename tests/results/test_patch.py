"""provenance.patch: from the commit to the tree that ran, whatever the tree holds."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from src.results.provenance import _git, patch, provenance
from tests.results.test_provenance import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("ignored\nold.log\n")
    (folder / "old.log").write_text("tracked before it was ignored\n")
    (folder / "src" / "a.py").write_text("one\ntwo\nthree\n")
    (folder / "gone").write_text("soon\n")
    (folder / "moved").write_text("far\n" * 20)
    (folder / "bytes").write_bytes(bytes(range(256)))
    git(folder, "add", "-A")
    git(folder, "add", "-f", "old.log")
    git(folder, "commit", "-qm", "one")
    _git.cache_clear()
    patch.cache_clear()
    return folder


def change(folder: Path) -> None:
    """Edits, removals, moves, staged and not, and new files of every kind."""
    (folder / "src" / "a.py").write_text("one\n2\nthree\n")
    git(folder, "add", "src/a.py")
    (folder / "src" / "a.py").write_text("one\n2\n3")  # without a newline at its end
    (folder / "gone").unlink()
    (folder / "moved").rename(folder / "src" / "moved")
    (folder / "bytes").write_bytes(bytes(range(255, -1, -1)))
    (folder / "ignored").write_text("not part of it\n")
    (folder / "new folder").mkdir()
    (folder / "new folder" / "näme with ' and \"").write_text("new\n")
    (folder / "-x").write_text("like an option\n")
    (folder / "empty").touch()
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(0o755)
    (folder / "new bytes").write_bytes(b"\0\1\2" * 50)
    (folder / "link").symlink_to("src/a.py")


def tree(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if not name.startswith(".git/") and name != "ignored" and not path.is_dir():
            mode = os.access(path, os.X_OK)
            found[name] = (os.readlink(path) if path.is_symlink() else path.read_bytes(), mode)
    return found


@pytest.mark.parametrize("settings", [{}, {"diff.noprefix": "true", "color.ui": "always"}])
def test_it_applies(repository: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    for key, value in settings.items():
        git(repository, "config", key, value)
    change(repository)
    before = git(repository, "status", "--porcelain")
    content, facts = patch(repository), provenance(repository)["git"]
    assert git(repository, "status", "--porcelain") == before  # the user's index is as it was
    assert facts["dirty"]
    assert facts["diff_sha256"] == hashlib.sha256(content).hexdigest()
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    git(other, "checkout", "-q", facts["commit"])
    (tmp_path / "provenance.patch").write_bytes(content)
    git(other, "apply", str(tmp_path / "provenance.patch"))
    assert tree(other) == tree(repository)


def test_a_clean_tree_has_none(repository: Path) -> None:
    assert patch(repository) == b""
    assert provenance(repository)["git"]["dirty"] is False


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(repository)
    monkeypatch.setenv("PATH", "")
    assert shutil.which("git") is None
    assert patch(repository) == b""
    assert provenance(repository)["git"] is None


def test_an_edit_in_the_second_of_the_commit(tmp_path: Path) -> None:
    """Of the same size: only its content tells, at which git looks where times are as close."""
    then = (1_700_000_000_000_000_000,) * 2
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.trustctime", "false")
    for text in ("1\n", "2\n"):
        (tmp_path / "a").write_text(text)
        os.utime(tmp_path / "a", ns=then)
        if text == "1\n":
            git(tmp_path, "add", "a")
            git(tmp_path, "commit", "-qm", "one")
    os.utime(tmp_path / ".git" / "index", ns=then)
    patch.cache_clear()
    assert b"\n+2\n" in patch(tmp_path)
