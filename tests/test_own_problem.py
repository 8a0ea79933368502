"""docs/your-own-problem.md, followed to the letter in a folder outside the repository."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from src.config import PROJECT
from src.targets import ALLOWED_TARGETS
from tests import starting
from tests.helpers import Session, result

PAGE = (PROJECT / "docs" / "your-own-problem.md").read_text()
(COMMANDS,) = re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)
CSV, ALLOWED, SQUARES, PICTURES, SWEEP, COMPARE = COMMANDS.strip().splitlines()


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, with its files."""
    folder = tmp_path_factory.mktemp("elsewhere")
    files = re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S)
    assert len(files) == 11
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    made = typed(folder / "mine", CSV)
    assert made.returncode == 0, made.stderr
    return folder / "mine"


def typed(folder: Path, line: str, *extra: str) -> CompletedProcess[str]:
    """A command as the page's reader would type it; one of the page's own, in a shell."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FAIRSTEP")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "OMP_NUM_THREADS": "1",
        "FAIRSTEP_OUTPUTS": str(folder / "outputs"),
    }
    if line in COMMANDS:
        script = " ".join([f"{ALLOWED};", line, *extra])
        return subprocess.run(
            ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
    allowed = ALLOWED.removeprefix("export ").replace("'", "").split("=")
    words = shlex.split(" ".join([line, *extra]))
    return starting.run(words[1:], folder, {**environment, **dict([allowed])})


def gone_on_with_and_repeated(mine: Path, name: str, *words: str, first: int, epochs: int) -> str:
    """A run that goes on after its first epochs has the bits of one that never stopped.

    Returns:
        What that one printed.
    """
    whole, part = mine / f"{name}-whole", mine / f"{name}-part"
    ran = typed(mine, *words, f"hydra.run.dir={whole.name}")
    assert ran.returncode == 0, ran.stderr
    again = f"{words[0]} hydra.run.dir={part.name} trainer.epochs={first}"
    begun = typed(mine, again, *words[1:])
    assert begun.returncode == 0, begun.stderr
    resumed = typed(mine, f"python -m src.resume {part.name} trainer.epochs={epochs}")
    assert resumed.returncode == 0, resumed.stderr
    assert result(part)["weights_sha256"] == result(whole)["weights_sha256"]
    repeated = typed(mine, f"python -m src.replay {part.name}")
    last = repeated.stdout.splitlines()[-1]
    assert last == f"identical: {epochs} rows and the weights", repeated.stderr
    return ran.stdout


def test_data_and_an_optimizer(mine: Path) -> None:
    """Regression on a CSV, gone on with to the bits of a run that never stopped, and repeated."""
    whole = gone_on_with_and_repeated(mine, "squares", SQUARES, first=2, epochs=5)
    assert "completed: val_mae" in whole


FEW = "data.validation_fraction=0.98 trainer.evaluate=[train] objective.metric=train_confidence"


@pytest.mark.slow
def test_a_model_and_a_loss(mine: Path, mnist_root: str) -> None:
    """Convolution, batch norm and dropout on MNIST; the loss's own metric is the objective."""
    here = (f"data.root={mnist_root}", FEW, "objective.direction=maximize")
    whole = gone_on_with_and_repeated(mine, "pictures", PICTURES, *here, first=1, epochs=2)
    assert "completed: train_confidence 0." in whole


@pytest.mark.slow
def test_it_is_tuned(mine: Path) -> None:
    swept = typed(mine, SWEEP)
    assert swept.returncode == 0, swept.stderr
    assert "4/4" in swept.stdout
    assert (mine / "outputs" / "sweeps" / "sign-squares" / "best.yaml").is_file()


@pytest.mark.slow
def test_it_is_compared(mine: Path) -> None:
    """By a metric that no loss here has for classes; the verdict names the problem."""
    compared = typed(mine, COMPARE)
    assert compared.returncode == 0, compared.stderr
    assert "1. Each method is tuned in 1 search of 4 trials" in compared.stdout
    folder = mine / "outputs" / "comparisons" / "adam-sign-squares"
    record = json.loads((folder / "comparison.json").read_text())
    assert record["metric"] == "test_mae"
    assert record["directions"] == {"loss": "minimize", "mae": "minimize"}
    assert all(row["test_mae"]["mean"] > 0 for row in record["table"])
    page = (folder / "report.html").read_text()
    assert "test mae" in page and "accuracy" not in page


@pytest.fixture
def here(mine: Path, session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The entry point in this process, started in the page's folder."""
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    return session


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("data=squares model=net loss=mse", "needs pictures (channels, height, width), got (20,)"),
        ("data=squares loss=focal", "needs classes as targets, but those of the data are real"),
        ("data=squares loss=mse data.path=none.csv", "none.csv not found"),
        ("data=squares loss=mse +data.rows=3", "got an unexpected keyword argument 'rows'"),
        ("loss=focal loss.gamma=-1", "gamma must be >= 0, got -1"),
        ("loss=focal objective.metric=val_accuracy", "my_losses.Focal measures loss, confidence"),
        ("data=bare", "data._target_ is missing: data._target_=..."),
        ("data=bare data._target_=my_data.load", "missing 1 required positional argument: 'path'"),
    ],
)
def test_what_does_not_fit_is_one_line(
    here: Session, monkeypatch: pytest.MonkeyPatch, words: str, says: str
) -> None:
    (modules,) = re.findall("'(.*)'", ALLOWED)
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", [*ALLOWED_TARGETS, *modules.split(",")])
    refused = here.train("--config-dir", "conf", *words.split(), "hydra.run.dir=no")
    assert refused.status == 1, refused
    (line,) = refused.err.splitlines()
    assert says in line
    assert not Path("no").exists()


@pytest.mark.parametrize("words", ["data=squares", "model=net", "loss=focal", "optimizer=sign"])
def test_each_needs_the_permission(here: Session, words: str) -> None:
    refused = here.train("--config-dir", "conf", words, "hydra.run.dir=no")
    assert refused.status == 1, refused
    (line,) = refused.err.splitlines()
    assert "_target_=my_" in line and "not allowed" in line and "FAIRSTEP_ALLOW='my_" in line
    assert not Path("no").exists()
