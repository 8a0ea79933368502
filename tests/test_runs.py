"""`python -m src.runs`: which runs are listed, in what order, and as what."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from src import runs
from src.config import PROJECT
from tests.results.test_listing import a_run

List = Callable[..., str]
# name: optimizer's choice, lr, seed, status, value
RUNS = {
    "old": ("adam", 0.1, 0, "completed", 0.5),
    "middle": ("torch/adam", 0.01, 1, "diverged", None),
    "new": ("sgd", 1e-3, 2, "completed", 0.25),
    "newest": ("adam", 1e-5, 0, None, None),
}


@pytest.fixture
def listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> List:
    """Calls the entry point where the four runs are, and returns its standard output."""
    for age, (name, (optimizer, lr, seed, status, value)) in enumerate(RUNS.items()):
        folder = tmp_path / "runs" / name
        result = {"status": status, "objective": {"metric": "val_loss", "value": value}}
        a_run(folder, f"optimizer={optimizer}", f"optimizer.lr={lr}", f"seed={seed}",
              result=result if status else None)  # fmt: skip
        for path in folder.iterdir():
            os.utime(path, (10**9 + age, 10**9 + age))
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(*words: str, status: int = 0, err: str = "") -> str:
        monkeypatch.setattr(sys, "argv", ["runs.py", *words])
        code = 0
        try:
            runs.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        told = capsys.readouterr()
        assert (code, told.err) == (status, err)
        return told.out

    return call


def names(out: str) -> list[str]:
    """The runs of a table, in its order."""
    return [text.split("/")[-1] for text in out.splitlines()[1:-1]]


def test_newest_first_in_columns_that_are_as_wide_as_needed(listed: List) -> None:
    lines = listed().splitlines()
    assert lines[0].split() == [*runs.COLUMNS]
    assert names("\n".join(lines)) == [*reversed(RUNS)]
    assert [line.split()[2:] for line in lines[1:-1]] == [
        ["adam", "1e-05", "digits", "mlp", "0", "unfinished", "val_loss", "runs/newest"],
        ["sgd", "0.001", "digits", "mlp", "2", "completed", "val_loss", "0.25", "runs/new"],
        ["torch/adam", "0.01", "digits", "mlp", "1", "diverged", "val_loss", "runs/middle"],
        ["adam", "0.1", "digits", "mlp", "0", "completed", "val_loss", "0.5", "runs/old"],
    ]
    start = lines[0].index("folder")
    assert all(line[start:].startswith("runs/") for line in lines[1:-1])
    end = lines[0].index("optimizer.lr") + len("optimizer.lr")
    assert [line[:end].split()[-1] for line in lines[1:-1]] == ["1e-05", "0.001", "0.01", "0.1"]
    assert lines[-1] == f"4 runs in {Path.cwd()}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["optimizer=adam"], ["newest", "old"]),
        (["optimizer=adam,sgd"], ["newest", "new", "old"]),
        (["optimizer=*adam"], ["newest", "middle", "old"]),
        (["optimizer._target_=torch.optim.Adam"], ["middle"]),
        (["seed=0", "status=completed"], ["old"]),
        (["seed=0.0"], ["newest", "old"]),
        (["seed=false"], []),
        (["seed='0'"], ["newest", "old"]),
        (["optimizer.lr=1e-2"], ["middle"]),
        (["optimizer.lr=0.001,0.1"], ["new", "old"]),
        (["optimizer.lr>0.01"], ["old"]),
        (["optimizer.lr>=0.01"], ["middle", "old"]),
        (["optimizer.lr<0.001"], ["newest"]),
        (["optimizer.lr<=1e-3", "seed>0"], ["new"]),
        (["optimizer.lr>x"], []),
        (["status>a"], ["newest", "new", "middle", "old"]),
        (["objective.value<1"], ["new", "old"]),
        (["objective.value=null"], ["middle"]),
        (["status=unfinished"], ["newest"]),
        (["model.hidden_sizes=[100]", "seed=2"], ["new"]),
        (["model.hidden_sizes=[7],[100]", "seed=2"], ["new"]),
        (["trainer.deterministic=true", "seed=1"], ["middle"]),
        (["trainer.deterministic=1"], []),
        (["folder=runs/n*"], ["newest", "new"]),
        (["--sort", "optimizer.lr"], ["newest", "new", "middle", "old"]),
        (["--sort", "optimizer.lr", "--reverse"], ["old", "middle", "new", "newest"]),
        (["--sort", "seed"], ["newest", "old", "middle", "new"]),
        (["--sort", "optimizer"], ["newest", "old", "new", "middle"]),
        (["--sort", "objective.value"], ["new", "old", "newest", "middle"]),
        (["--sort", "objective.value", "--reverse"], ["old", "new", "newest", "middle"]),
        (["--reverse"], [*RUNS]),
        (["--limit", "2"], ["newest", "new"]),
        (["--limit", "1", "optimizer=adam", "--reverse"], ["old"]),
    ],
)
def test_filters_and_orders(listed: List, words: list[str], expected: list[str]) -> None:
    out = listed(*words)
    assert names(out) == expected
    count = "" if len(expected) == 4 else f"{len(expected)} of "
    assert out.splitlines()[-1] == f"{count}4 runs in {Path.cwd()}"


def test_times_are_compared(listed: List) -> None:
    time = listed("--columns", "written", "--format", "csv").splitlines()[2]
    assert names(listed(f"written>={time}")) == ["newest", "new"]


def test_numbers_come_before_texts() -> None:
    """Also where runs of several versions hold both."""
    mixed = [{"folder": "", "x": value} for value in ("b", 2, None, "a", 1.5)]
    assert [run["x"] for run in runs.ordered(mixed, "x", False)] == [1.5, 2, "a", "b", None]


def test_columns(listed: List) -> None:
    out = listed("--columns", "seed, optimizer.lr", "--limit", "1")
    assert out.splitlines()[:2] == ["seed  optimizer.lr", "   0         1e-05"]
    added = listed("--columns", "+origin,trainer.epochs")
    expected = [*runs.COLUMNS[:-1], "origin", "trainer.epochs", "folder"]
    assert added.splitlines()[0].split() == expected


def test_csv_holds_all_digits_and_no_formula(listed: List, tmp_path: Path) -> None:
    third = 1 / 3
    a_run(tmp_path / "=1+1 'a, b' <ü> 💥", f"optimizer.lr={third!r}", result={"status": "x\ny"})
    columns = "folder,optimizer.lr,status,model.hidden_sizes"
    rows = list(csv.reader(io.StringIO(listed("--format", "csv", "--columns", columns))))
    assert rows[0] == columns.split(",")
    assert rows[1] == ["'=1+1 'a, b' <ü> 💥", repr(third), "x\ny", "[100]"]
    assert [row[1] for row in rows[2:]] == ["1e-05", "0.001", "0.01", "0.1"]


def test_a_name_cannot_give_orders_to_the_terminal(listed: List, tmp_path: Path) -> None:
    a_run(tmp_path / "a\x1b[31m b\u202e [bold]x[/bold]\n:smile:", config="seed: 3\n")
    out = listed("seed=3", "--columns", "folder")
    assert out.splitlines()[1] == "a\ufffd[31m b\ufffd [bold]x[/bold] :smile:"


@pytest.mark.parametrize(
    ("words", "status", "err"),
    [
        (["optimzer=adam"], 1, "optimzer: no run has such a key; did you mean optimizer?"),
        (["--columns", "satus"], 1, "satus: no run has such a key; did you mean status?"),
        (["--sort", "objective.valeu"], 1,
         "objective.valeu: no run has such a key; did you mean objective.value?"),
        (["optimizer.rl>1"], 1, "optimizer.rl: no run has such a key; did you mean optimizer.lr?"),
        (["adam"], 2, "adam: must be KEY=VALUE"),
        (["--folder", "nowhere"], 1, "--folder=nowhere: no such folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    listed: List, words: list[str], status: int, err: str
) -> None:
    assert listed(*words, status=status, err=f"error: {err}\n") == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--yes"], "--yes: only with --prune"),
        (["--limit", "0"], "--limit=0: must be an integer >= 1"),
        (["--limit", "-1"], "--limit=-1: must be an integer >= 1"),
    ],
)
def test_flags_that_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs.py", *words])
    with pytest.raises(SystemExit) as leaving:
        runs.main()
    assert leaving.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {says}\n")


def test_digits_that_are_a_text_and_true(listed: List, tmp_path: Path) -> None:
    a_run(tmp_path / "runs" / "more", config="commit: '123'\nflag: true\nseed: 1")
    assert names(listed("commit=123")) == ["more"]
    assert names(listed("commit=12")) == []
    assert names(listed("flag=1")) == []
    shown = listed("flag=true", "--columns", "flag,commit").splitlines()[1]
    assert shown.split() == ["true", "123"]


def test_a_broken_run_costs_one_line(
    listed: List, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here, where a name breaks lines, too."""
    a_run(tmp_path / "broken\nname", config="a: [")
    a_run(tmp_path / "cut", config="seed: 1", result=[1])
    assert len(runs.read(tmp_path)) == len(RUNS)
    warnings = sorted(capsys.readouterr().err.splitlines())
    assert len(warnings) == 2
    assert warnings[0].startswith(f"warning: {tmp_path}/broken name: config.yaml: while parsing")
    assert warnings[1] == f"warning: {tmp_path}/cut: result.json: not what a run leaves there"


def test_no_runs(listed: List, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path / "empty")
    assert listed("a=1") == f"0 runs in {tmp_path}/empty\n"
    (tmp_path / "none").mkdir()
    assert listed("--folder", "none", "--format", "csv", "--columns", "a") == "a\n"


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    """It imports neither torch nor optuna, and bears that its reader goes away."""
    for n in range(30):
        a_run(tmp_path / f"run-{n}", config="seed: 1\nname: " + "x" * 5000)
    code = (
        "import sys, src.runs; src.runs.main(); "
        "sys.exit(3 * bool({'torch', 'optuna', 'sklearn', 'matplotlib'} & {*sys.modules}))"
    )
    command = [sys.executable, "-c", code, "--columns", "name", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    whole = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (whole.returncode, whole.stderr, len(whole.stdout.splitlines())) == (0, "", 32)
    for form in ("table", "csv"):
        reader, writer = os.pipe()
        os.close(reader)  # before the first line
        cut = [*command, "--format", form]
        told = subprocess.run(
            cut, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment
        )
        os.close(writer)
        assert told.stderr == ""
