"""The provenance of a result: its code, machine, packages, data and command."""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

# Whatever the user's settings are.
PLAIN_DIFF = (
    *("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "diff.relative=false"),
    *("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color"),
)


def provenance(project: Path) -> dict[str, Any]:
    """Facts of this process; the caller adds those of the run (data, device, threads)."""
    return {
        "git": _git(project),
        "python": platform.python_version(),
        "packages": _packages(),
        "platform": platform.platform(),
        "cpu": cpu(),
        "cpu_count": os.cpu_count(),
        "command": shlex.join(sys.orig_argv),
        "working_directory": str(Path.cwd()),
    }


@lru_cache  # the code that runs is the code that was there when the process began
def _git(project: Path) -> dict[str, Any] | None:
    """The commit and the digest of the diff from it; None outside a repository."""
    try:
        commit = _run_git(project, "rev-parse", "HEAD").decode().strip()
        diff = patch(project)
        status = _run_git(project, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return {
        "commit": commit,
        "dirty": bool(status.strip()),
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
    }


@lru_cache
def patch(project: Path) -> bytes:
    """The diff from the commit, new files included, as `git apply` takes it.

    Empty for a clean tree, outside a repository, and where git takes too long.
    """
    try:
        index = Path(_run_git(project, "rev-parse", "--absolute-git-dir").decode().strip())
        with tempfile.TemporaryDirectory() as folder:
            # A diff shows new files once an index names them; this one is a copy of the user's.
            copy = Path(folder, "index")
            # copy2 keeps its time: git compares it to see which files it must read again.
            shutil.copy2(index / "index", copy)
            _run_git(project, "add", "--intent-to-add", "--all", index=copy)
            return _run_git(project, *PLAIN_DIFF, index=copy)
    except (OSError, subprocess.SubprocessError):
        return b""


def _run_git(project: Path, *arguments: str, index: Path | None = None) -> bytes:
    command = ["git", "-C", str(project), *arguments]
    environment = {**os.environ, **({"GIT_INDEX_FILE": str(index)} if index else {})}
    return subprocess.run(
        command, check=True, capture_output=True, timeout=10, env=environment
    ).stdout


@lru_cache
def _packages() -> dict[str, str]:
    """Versions of the project's declared dependencies, of numpy and of the project."""
    try:
        declared = metadata.requires("fairstep") or []
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        declared = ["torch", "torchvision", "hydra-core", "omegaconf", "optuna"]
    names = {re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in declared if "extra ==" not in line}
    versions = {}
    for name in sorted(names | {"numpy", "fairstep"}):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache
def cpu() -> str:
    """The processor's model, where the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
