"""docs/add-an-optimizer.md, followed to the letter in a folder outside the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "add-an-optimizer.md").read_text()


@pytest.fixture
def folder(tmp_path):
    """The files of the page, written where it says."""
    files = re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S)
    assert len(files) == 4
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def follow(command, folder, *extra):
    """Run a command of the page as its reader would, with what it leaves kept in the folder."""
    python = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{python}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        " ".join([command, *extra]),
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_page_works_as_written(folder):
    (commands,) = re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)
    train, sweep = commands.strip().splitlines()

    ran = follow(train, folder, "hydra.run.dir=run")
    assert ran.returncode == 0, ran.stderr
    assert "completed: val_loss" in ran.stdout
    assert "my_methods.SignSGD" in (folder / "run" / "config.yaml").read_text()

    storage = f"hydra.sweeper.storage=sqlite:///{folder}/studies.db hydra.sweep.dir=sweep"
    swept = follow(sweep, folder, storage, "n_jobs=2")
    assert swept.returncode == 0, swept.stderr
    assert "4/4" in swept.stdout
    assert "best: trial" in swept.stdout


def test_without_the_permission_the_class_is_refused(folder):
    ran = follow(
        "python -m src.train --config-dir my-methods/conf optimizer=signsgd",
        folder,
        "hydra.run.dir=run",
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: optimizer._target_=my_methods.SignSGD: not allowed")
    assert len(ran.stderr.splitlines()) == 1
    assert not (folder / "run").exists()
