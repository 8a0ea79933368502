"""docs/add-an-optimizer.md, followed to the letter in a folder outside the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import starting

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-an-optimizer.md").read_text()


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
    assert "my_methods.AveragedSGD" in (folder / "run" / "config.yaml").read_text()

    storage = f"hydra.sweeper.storage=sqlite:///{folder}/studies.db hydra.sweep.dir=sweep"
    swept = follow(sweep, folder, storage, "n_jobs=2")
    assert swept.returncode == 0, swept.stderr
    assert "4/4" in swept.stdout
    assert "best: trial" in swept.stdout
    (printed,) = re.findall(r"^train it: +(.*)$", swept.stdout, re.M)
    assert printed.startswith("python my-methods/train.py --config-dir my-methods/conf ")


@pytest.mark.slow
def test_the_command_that_a_sweep_of_ones_own_prints(folder):
    """Pasted, it trains the winner again, to the same bits."""
    command = (
        "python my-methods/train.py --config-dir my-methods/conf -m sweeps=averaged n_trials=2"
    )
    swept = follow(command, folder, f"storage=sqlite:///{folder}/studies.db hydra.sweep.dir=sweep")
    (printed,) = re.findall(r"^train it: +(.*)$", swept.stdout, re.M)
    again = follow(printed, folder, "hydra.run.dir=again")  # as it was pasted
    assert again.returncode == 0, again.stderr
    (best,) = re.findall(r"^best: trial (\d+)", swept.stdout, re.M)
    weights = [
        json.loads((folder / run / "result.json").read_text())["weights_sha256"]
        for run in ("again", f"sweep/trial-{best}")
    ]
    assert weights[0] == weights[1]


def test_without_the_permission_the_class_is_refused(folder):
    words = ["-m", "src.train", "--config-dir", "my-methods/conf", "optimizer=averaged"]
    ran = starting.run([*words, "hydra.run.dir=run"], folder, {**os.environ})
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: optimizer._target_=my_methods.AveragedSGD: not allowed")
    assert len(ran.stderr.splitlines()) == 1
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_moved_into_the_repository_it_passes_the_contract(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("repository")
    for name in ("src", "conf", "sweeps", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    mine = folder / "my-methods"
    shutil.move(mine / "my_methods.py", copy / "src/optimizers/averaged.py")
    yaml = (mine / "conf/optimizer/averaged.yaml").read_text()
    renamed = yaml.replace("my_methods.AveragedSGD", "src.optimizers.AveragedSGD")
    (copy / "conf/optimizer/averaged.yaml").write_text(renamed)
    shutil.move(mine / "conf/sweeps/averaged.yaml", copy / "sweeps/averaged.yaml")
    (row,) = re.findall(r"^```markdown\n(.*?)^```", PAGE, re.M | re.S)
    (formula,) = re.findall(r"^```python\n(def .*?)^```", PAGE, re.M | re.S)
    for name, text in (
        ("src/optimizers/__init__.py", "from src.optimizers.averaged import AveragedSGD\n"),
        ("docs/optimizers.md", row),
        ("tests/optimizers/references.py", f"\n\n{formula}"),
    ):
        with (copy / name).open("a") as file:
            file.write(text)
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*pytest, "-k", "averaged or reference", "tests/optimizers"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed and int(passed[1]) > 50, ran.stdout
