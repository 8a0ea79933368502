"""A method in a folder of one's own: compared, gone on with, repeated; nothing here knows of it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from src.config import PROJECT
from src.targets import ALLOWED_TARGETS
from tests import starting
from tests.helpers import Session

METHOD = '''
import torch


class Mine(torch.optim.Optimizer):
    """Steps by lr against the sign of a running average."""

    def __init__(self, params, lr=1e-3, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                if not state:
                    state["exp_avg"] = torch.zeros_like(param)
                state["exp_avg"].lerp_(param.grad, 1 - group["beta"])
                param.sub_(state["exp_avg"].sign(), alpha=group["lr"])
'''
SWEEP = """# @package _global_
defaults:
  - override /optimizer: mine
  - override /hydra/sweeper: study
hydra:
  sweeper:
    params:
      optimizer.lr: tag(log, interval(1e-4, 1e-2))
"""
QUICK = ("model=logreg", "trainer.epochs=1", "trainer.threads=1")
SMALL = ("methods=[sgd,mine]", "protocol.n_trials=2", "protocol.seeds=2", "sampler=random")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "my folder"  # a name that a shell would split
    for name, text in {
        "my_methods.py": METHOD,
        "conf/optimizer/mine.yaml": "_target_: my_methods.Mine\nlr: 0.001\nbeta: 0.9\n",
        "conf/sweeps/mine.yaml": SWEEP,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


COMMON = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}


def call(folder: Path, *words: str, allow: str = "my_methods.*") -> CompletedProcess[str]:
    own = {"FAIRSTEP_OUTPUTS": str(folder / "outputs"), "FAIRSTEP_ALLOW": allow}
    return starting.run(words, folder, {**os.environ, **own, **COMMON})


def started(command: list[str], folder: Path, environment: dict[str, str]) -> CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**environment, **COMMON}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def pasted(folder: Path, line: str) -> CompletedProcess[str]:
    """A printed command, as a shell would run it with none of our settings."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSTEP")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return started(["sh", "-c", line], folder, {**unset, "PATH": path})


def after(text: str, start: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.removeprefix(start).strip()


def test_it_is_compared(mine: Path) -> None:
    """To a verdict; what is done is done once, and no other class is allowed."""
    words = ("-m", "src.compare", "--config-dir", "conf", *SMALL, *QUICK)
    refused = call(mine, *words, allow="")
    assert refused.returncode == 1 and not (mine / "outputs").exists()
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: optimizer._target_=my_methods.Mine: not allowed")
    assert line.endswith("FAIRSTEP_ALLOW='my_methods.*'")
    compared = call(mine, *words)
    assert compared.returncode == 0, compared.stderr
    assert "1. Each method is tuned in 1 search of 2 trials" in compared.stdout
    folder = mine / "outputs" / "comparisons" / "sgd-mine-digits-logreg"
    found = json.loads((folder / "comparison.json").read_text())
    assert {row["method"] for row in found["table"]} == {"sgd", "mine"}
    config = (folder / "runs" / "mine-tuned-0-seed-1000" / "config.yaml").read_text()
    assert "_target_: my_methods.Mine" in config
    again = call(mine, *words)
    assert again.returncode == 0 and "run 1/" not in again.stdout


@pytest.mark.slow
def test_it_is_trained_gone_on_with_and_repeated(mine: Path) -> None:
    """The printed commands name the permission and the folder, and work when pasted."""
    own = ("--config-dir", "conf", *QUICK)
    swept = call(mine, "-m", "src.train", *own, "-m", "sweeps=mine", "n_trials=2", "n_jobs=2")
    assert swept.returncode == 0, swept.stderr
    line = after(swept.stdout, "train it:")
    assert line.startswith("FAIRSTEP_ALLOW='my_methods.*' FAIRSTEP_OUTPUTS='")
    assert shlex.split(line)[2:7] == ["python", "-m", "src.train", "--config-dir", "conf"]
    best = after(swept.stdout, "best: trial").split(", ")[1]
    for command in (line, after(swept.stdout, "or:")):
        trained = pasted(mine, command)
        assert trained.returncode == 0, trained.stderr
        value = after(trained.stdout, "completed: val_loss")
        assert f"{float(value):.6g}" == best
    run = after(trained.stdout, "result:")
    longer = call(mine, "-m", "src.resume", run, "trainer.epochs=2")
    assert longer.returncode == 0, longer.stderr
    assert json.loads((Path(run) / "result.json").read_text())["final"]["epoch"] == 2
    repeated = call(mine, "-m", "src.replay", run)
    assert repeated.stdout.splitlines()[-1] == "identical: 2 rows and the weights"
    for words in (("src.resume", run, "trainer.epochs=3"), ("src.replay", run)):
        refused = call(mine, "-m", *words, allow="")
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "my_methods.Mine: not allowed" in line


def test_what_each_method_would_be_run_with(mine: Path) -> None:
    shown = call(mine, "-m", "src.compare", "--config-dir", "conf", *SMALL, *QUICK, "--cfg", "job")
    assert shown.returncode == 0, shown.stderr
    for line in ("    optimizer:", "      _target_: my_methods.Mine", "  n_trials: 2"):
        assert line in shown.stdout.splitlines()
    assert not (mine / "outputs").exists()
    both = call(mine, "-m", "src.compare", SMALL[0], "--config-dir", "conf", "hydra.searchpath=[]")
    assert (both.returncode, both.stdout) == (1, "")
    assert both.stderr == "error: --config-dir=conf: give it or hydra.searchpath, not both\n"
    missing = call(mine, "-m", "src.compare", "--config-dir", "nowhere", *SMALL)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "error: --config-dir=nowhere: no such folder\n"
    unknown = call(mine, "-m", "src.compare", *SMALL)
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: methods: mine: no such file in sweeps/; there are ad")


@pytest.mark.parametrize(
    ("given", "patterns"),
    [("", []), ("a.*", ["a.*"]), ("a.*,b.c.D", ["a.*", "b.c.D"]), (" a.* , b.* ", ["a.*", "b.*"])],
)
def test_what_the_environment_allows(tmp_path: Path, given: str, patterns: list[str]) -> None:
    code = "import json, src.targets; print(json.dumps(src.targets.ALLOWED_TARGETS))"
    command, own = [sys.executable, "-c", code], {"FAIRSTEP_ALLOW": given}
    allowed = json.loads(started(command, tmp_path, {**os.environ, **own}).stdout)
    assert allowed == [*ALLOWED_TARGETS, *patterns]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trial=7", "trial=7: a sweep numbers its trials itself"),
        ("+hydra.job.env_set.FAIRSTEP_ALLOW='os.*'", "hydra.job.env_set.FAIRSTEP_ALLOW: only the"),
    ],
)
def test_what_no_config_sets(session: Session, override: str, says: str) -> None:
    for words in ((), ("-m", "seed=1,2")):
        answer = session.train(*words, *QUICK, override)
        assert answer.status == 1 and answer.err.startswith(f"error: {says}"), answer
        assert len(answer.err.splitlines()) == 1


def test_a_config_may_set_what_is_not_ours(session: Session) -> None:
    session.monkeypatch.setenv("OF_SOMEBODY", "0")  # and put back afterwards
    answer = session.train(*QUICK, "+hydra.job.env_set.OF_SOMEBODY='1'")
    assert answer.status == 0, answer.err


def test_no_job_of_a_multirun_widens_what_is_allowed(session: Session) -> None:
    """Each job is composed anew, and may choose another file."""
    folder = session.folder / "theirs" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  job:\n    env_set: {FAIRSTEP_ALLOW: 'os.*'}\n"
    (folder / "evil.yaml").write_text(text)
    where = ("--config-dir", str(folder.parent))
    for words in (("experiment=evil",), ("-m", "experiment=evil,tutorial")):
        answer = session.train(*where, *words, *QUICK)
        assert answer.status == 1
        assert "error: hydra.job.env_set.FAIRSTEP_ALLOW: only the environment" in answer.err


def test_several_sweeps_name_the_comparison_with_its_folder(mine: Path) -> None:
    said = call(mine, "-m", "src.train", "--config-dir", "conf", "-m", "sweeps=adam,mine")
    assert said.returncode == 1
    assert "python -m src.compare --config-dir conf 'methods=[adam,mine]'" in said.stderr
