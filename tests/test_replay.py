"""A run repeated from its folder alone, and what is said where it isn't the same."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.config import PROJECT
from tests import starting
from tests.helpers import Answer, Session, result
from tests.killing import outcome
from tests.test_resume import finished

SHORT = ("trainer.epochs=2", "trainer.evaluate_every=400")
SWEEP = (
    *("-m", "sweeps=momentum", "optimizer.lr=interval(0.0001,0.5)", "optimizer.momentum=0.9"),
    *("trainer.epochs=3", "trainer.evaluate_every=200", "n_trials=6"),
    *("pruner=threshold", "pruner.upper=1.5", "pruner.n_warmup_steps=3"),
)


def replay(session: Session, *arguments: object) -> Answer:
    """`python -m src.replay`, in this process."""
    import contextlib
    import io

    import src.replay

    session.monkeypatch.setattr("src.replay.OUTPUTS", session.folder / "outputs")
    session.monkeypatch.setattr(sys, "argv", ["replay.py", *map(str, arguments)])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            src.replay.main()
        except SystemExit as leaving:
            return Answer(int(leaving.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("it always leaves with a status")


def made(session: Session, *settings: str, name: str = "run") -> Path:
    return finished(session, *SHORT, *settings, name=name)


def edit(place: Path, change: Any) -> None:
    load, dump = (
        (yaml.safe_load, yaml.safe_dump) if place.suffix == ".yaml" else (json.loads, json.dumps)
    )
    values = load(place.read_text())
    change(values)
    place.write_text(dump(values))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "settings",
    [
        ("scheduler=cosine", "optimizer=nadam"),
        ("trainer.early_stopping.patience=2", "trainer.early_stopping.min_delta=10"),
        ("optimizer=sgd", "optimizer.lr=1e30"),
        ("optimizer.lr=3e-5", "seed=7", "optimizer.betas.0=0.8"),
        ("optimizer=torch/sgd", "optimizer.lr=0.1", "model.hidden_sizes=[20,10]"),
        ("optimizer=muon", "scheduler=step", "scheduler.step_size=10", "objective.row=last"),
        ("optimizer._target_=torch.optim.RMSprop", "~optimizer.betas", "+optimizer.alpha=0.9"),
        ("optimizer.lr=${one_minus:0.998}", "+search.one_minus_beta1=0.1"),
    ],
)
def test_identical(session: Session, settings: tuple[str, ...]) -> None:
    folder = made(session, *settings)
    before = contents(folder)
    answer = replay(session, folder)
    assert (answer.status, answer.err) == (0, "")
    rows = len(outcome(folder)["rows"])
    first, last = answer.out.splitlines()
    assert last == f"identical: {rows} rows and the weights"
    place = Path(first.removeprefix("training again in "))
    assert place.is_relative_to(session.folder / "outputs" / "replays")
    assert outcome(place) == outcome(folder)
    assert contents(folder) == before


def test_moved_interrupted_and_lengthened(session: Session) -> None:
    folder = made(session)
    assert session.train(f"resume={folder}", "trainer.epochs=3").status == 0
    moved = session.folder / "elsewhere" / "moved"
    moved.parent.mkdir()
    folder.rename(moved)
    assert replay(session, moved).out.splitlines()[-1] == "identical: 9 rows and the weights"
    edit(moved / "result.json", lambda values: values.update(status="interrupted"))
    lines = (moved / "metrics.jsonl").read_text().splitlines(keepends=True)
    (moved / "metrics.jsonl").write_text("".join(lines[:4]))
    answer = replay(session, moved, "--into", session.folder / "here")
    assert answer.out.splitlines()[-1] == "identical: 4 rows (it was never finished)"
    assert len(outcome(session.folder / "here")["rows"]) == 4  # no longer than it had gone


def swept(session: Session) -> dict[str, list[Path]]:
    """The trials of a sweep by how they ended."""
    sweep = session.folder / "sweep"
    storage = f"hydra.sweeper.storage=sqlite:///{session.folder}/studies.db"
    answer = session.train(*SWEEP, storage, f"hydra.sweep.dir={sweep}")
    assert answer.status == 0, answer
    ended: dict[str, list[Path]] = {}
    for folder in sorted(sweep.glob("trial-*")):
        ended.setdefault(result(folder)["status"], []).append(folder)
    return ended


def test_trials(session: Session) -> None:
    ended = swept(session)
    assert ended.keys() >= {"completed", "pruned"}
    for status in ("completed", "pruned"):
        trial = ended[status][0]
        answer = replay(session, trial)
        assert answer.status == 0, answer
        assert answer.out.splitlines()[-1].startswith("identical: ")


DIFFERENT = [  # file, change, what the table must show
    ("config.yaml", lambda v: v["optimizer"].update(lr=0.5), ["row 1, batch_loss", "digest"]),
    ("config.yaml", lambda v: v.update(seed=5), ["row 1, batch_loss", "weights_sha256", "digest"]),
    ("result.json", lambda v: v.update(weights_sha256="12ab"), ["weights_sha256", "12ab"]),
    ("result.json", lambda v: v.update(status="diverged"), ["status", "diverged"]),
]


@pytest.mark.parametrize(("file", "change", "shown"), DIFFERENT)
def test_different(session: Session, file: str, change: Any, shown: list[str]) -> None:
    folder = made(session)
    edit(folder / file, change)
    answer = replay(session, folder)
    assert (answer.status, answer.err) == (1, "")
    assert "identical" not in answer.out
    for text in ("different", *shown):
        assert text in answer.out


def test_a_different_row(session: Session) -> None:
    folder = made(session)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines[2]["val_loss"] += 1e-15
    lines[4]["val_loss"] = 3.0
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    edit(folder / "provenance.json", lambda values: values["packages"].update(torch="[bold]1.0"))
    answer = replay(session, folder)
    assert answer.status == 1
    assert f"row 3, val_loss │ {lines[2]['val_loss']}" in re.sub(" +", " ", answer.out)
    assert "row 4" not in answer.out
    assert "row 5" not in answer.out
    assert "packages.torch" in answer.out
    assert "[bold]1.0" in answer.out


@pytest.mark.parametrize("change", ["drop", "add"])
def test_rows_more_and_fewer(session: Session, change: str) -> None:
    folder = made(session)
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines = lines[:-1] if change == "drop" else [*lines, lines[-1]]
    (folder / "metrics.jsonl").write_text("".join(lines))
    answer = replay(session, folder)
    assert answer.status == 1
    assert re.search(r"rows +│ [57] +│ 6 ", answer.out), answer.out


def test_other_data(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from src.data import digits, splits

    folder = made(session)

    made_of = digits.load()
    train = dataclasses.replace(made_of.train, inputs=made_of.train.inputs.flip(-1))
    other = dataclasses.replace(made_of, train=train, sha256="1234")
    monkeypatch.setattr(splits, "build", lambda *settings: other)
    splits._load.cache_clear()
    answer = replay(session, folder)
    splits._load.cache_clear()
    assert answer.status == 1
    assert "data_sha256" in answer.out
    assert "1234" in answer.out


def test_the_threads_are_those_that_the_run_had(session: Session) -> None:
    import torch

    folder = made(session)
    torch.set_num_threads(2)
    answer = replay(session, folder)
    assert answer.status == 0
    assert torch.get_num_threads() == 1
    edit(folder / "provenance.json", lambda facts: facts.update(threads=2))  # of another rule
    replay(session, folder, "--into", session.folder / "again")
    assert torch.get_num_threads() == 2
    assert json.loads((session.folder / "again" / "provenance.json").read_text())["threads"] == 2


def test_what_a_repetition_changes(session: Session) -> None:
    """A trial is no trial any more, and nothing is logged."""
    folder = made(session)
    own = {"tensorboard": {"_target_": "src.loggers.tensorboard.TensorBoard"}}
    edit(folder / "config.yaml", lambda values: values.update(trial=3, logger=own))
    answer = replay(session, folder, "--into", session.folder / "new", "--data-root", "elsewhere")
    assert answer.status == 1
    assert answer.err == "error: --data-root=elsewhere: the run's data have no data.root\n"
    answer = replay(session, folder, "--into", session.folder / "new")
    assert (answer.status, answer.err) == (0, "")
    recorded, repeated = (
        yaml.safe_load((place / "config.yaml").read_text())
        for place in (folder, session.folder / "new")
    )
    assert repeated == {**recorded, "trial": None, "logger": {}}
    assert not (session.folder / "new" / "tensorboard").exists()


def test_data_that_were_moved(session: Session) -> None:
    """They are where one says, and must be the same."""
    import numpy as np

    from src.data import splits

    x = np.random.default_rng(0).normal(size=(90, 3))
    np.savez("first.npz", x=x, y=np.arange(90) % 3)
    folder = session.folder / "run"
    words = ("data=arrays", "data.path=first.npz", "trainer.epochs=1", f"hydra.run.dir={folder}")
    assert session.train(*words).status == 0
    Path("first.npz").rename("second.npz")
    splits._load.cache_clear()  # as in another process
    answer = replay(session, folder)
    assert (answer.status, answer.err) == (
        1, "error: data.path=first.npz: No such file or directory\n",
    )  # fmt: skip
    answer = replay(session, folder, "--data-path", "second.npz")
    assert (answer.status, answer.err) == (0, "")


def difference(**changes: Any) -> list[tuple[str, Any, Any]]:
    """What is told of two records, the second of them changed."""
    from src.replay import _differences

    lines = [{"step": step, "val_loss": 1.0 / step, "wall_seconds": 0.5} for step in (1, 2)]
    record = {"rows": lines, "result": {"status": "completed", "weights_sha256": "a", "best": 1}}
    return list(_differences(record, {**record, **changes}))


def test_what_differs_in_two_records() -> None:
    first, second = {"step": 1, "val_loss": 1.0}, {"step": 2, "val_loss": 0.25}
    end = {"status": "completed", "weights_sha256": "a"}
    assert difference() == difference(rows=[first, {**second, "val_loss": 0.5}]) == []
    assert difference(rows=[first, second]) == [("row 2, val_loss", 0.5, 0.25)]
    more = [{**first, "lr": 3.0}, second]
    assert difference(rows=more) == [("row 1, lr", "absent", 3.0)]
    fewer = [("row 2, step", 2, "absent"), ("row 2, val_loss", 0.5, "absent"), ("rows", 2, 1)]
    assert difference(rows=[first]) == fewer
    assert difference(result={**end, "best": 2}) == []
    assert difference(result={**end, "weights_sha256": "b"}) == [("weights_sha256", "a", "b")]
    assert difference(result={**end, "status": "pruned"}) == [("status", "completed", "pruned")]
    assert difference(result={}) == [
        ("status", "completed", None),
        ("weights_sha256", "a", None),
    ]


def test_nothing_to_compare_with(session: Session) -> None:
    folder = made(session)
    (folder / "metrics.jsonl").unlink()
    (folder / "result.json").unlink()
    answer = replay(session, folder)
    assert answer.status == 1
    assert answer.err == f"error: {folder}: the run left no row and no result to compare with\n"
    assert not (session.folder / "outputs").exists()


BROKEN = [  # file, content, what the line must say
    ("config.yaml", None, "no run is there"),
    ("config.yaml", "", "config.yaml"),
    ("config.yaml", "- 1", "config.yaml is not a config"),
    ("config.yaml", "a: [", "config.yaml: while parsing"),
    ("config.yaml", "seed: 0", "is missing"),
    ("config.yaml", "seed: !!binary abcd", "config.yaml"),
    ("metrics.jsonl", "{\n", "metrics.jsonl"),
    ("metrics.jsonl", "1\n", "metrics.jsonl"),
    ("metrics.jsonl", b"\xff\n", "metrics.jsonl"),
    ("result.json", "{", "result.json"),
    ("result.json", "[]", "result.json"),
    ("result.json", "[" * 100_000, "result.json"),
    ("provenance.json", "{", "provenance.json"),
]


@pytest.mark.parametrize(("name", "content", "says"), BROKEN)
def test_broken_files(session: Session, name: str, content: Any, says: str) -> None:
    folder = made(session)
    (folder / "result.json").unlink()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = contents(folder)
    there = {path.name for path in session.folder.iterdir()}
    for answer in (replay(session, folder), session.train(f"resume={folder}")):
        assert answer.status == 1
        (line,) = answer.err.splitlines()
        assert line.startswith("error: ")
        assert says in line
        assert str(folder) in line
        assert contents(folder) == before
        assert {path.name for path in session.folder.iterdir()} == there


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A method in a folder of one's own, by docs/add-an-optimizer.md, and a run of it."""
    for page in ("add-an-optimizer.md", "reproducing.md"):
        text = (PROJECT / "docs" / page).read_text()
        for name, content in re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", text, re.M | re.S):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
    assert (tmp_path / "my-methods" / "replay.py").exists()
    options = ("--config-dir", "my-methods/conf", "optimizer=averaged", *SHORT)
    call(tmp_path, "my-methods/train.py", *options, "hydra.run.dir=run")
    return tmp_path


def call(folder: Path, *words: str) -> str:
    ran = starting.run(words, folder, {**os.environ, "PYTHONPATH": str(PROJECT)})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_its_own_script(mine: Path) -> None:
    shown = call(mine, "my-methods/replay.py", "run", "--into", "again")
    assert shown.splitlines()[-1] == "identical: 6 rows and the weights"


def test_a_class_that_only_its_script_allows(session: Session) -> None:
    folder = made(session)
    change = {"_target_": "my_methods.AveragedSGD"}
    edit(folder / "config.yaml", lambda values: values.update(optimizer=change))
    answer = replay(session, folder)
    assert answer.status == 1
    assert answer.err.startswith("error: optimizer._target_=my_methods.AveragedSGD: not allowed")
    assert not (session.folder / "outputs").exists()
