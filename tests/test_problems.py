"""The built-in problems and suites: as they are described, and trained by every method."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.config import CONF, PROJECT, Config, parse
from src.data import splits
from src.errors import InputError
from src.problems import main
from src.suites import measured, problems, suite, suites
from src.training.build import Parts, assemble, load_data
from src.training.evaluation import Evaluator
from src.training.loop import Position, train
from tests.helpers import Session, composed
from tests.killing import outcome
from tests.optimizers.methods import METHODS
from tests.test_replay import replay

DOWNLOADED = ("cifar10", "fashion_mnist", "kmnist", "mnist")
PROBLEMS = [name for name in sorted(path.stem for path in (CONF / "problem").glob("*.yaml"))
            if name not in DOWNLOADED]  # fmt: skip
# Less data, where there is a setting for it.
FEW = {"text": ("data.rows=100",), "mnist1d": ("data.rows=500",),
       "digits_cnn": ("data.batch_size=256",), "modular_addition": ("data.modulus=11",),
       "randhie": ("data.batch_size=1024",)}  # fmt: skip
PAGE = (PROJECT / "docs" / "problems.md").read_text(encoding="utf-8")


def config(problem: str, *overrides: str) -> Config:
    return parse(composed(f"problem={problem}", *overrides))


def trained(
    problem: str, method: str, steps: int, *overrides: str, rate: float | None = None
) -> tuple[float, float]:
    """The loss on the whole training set before and after so many steps."""
    settings = config(problem, f"optimizer={method}", "trainer.epochs=99", *overrides)
    if rate is not None:
        settings.optimizer["lr"] = rate  # composed once for all rates
    parts = assemble(settings)
    torch.set_num_threads(1)
    evaluator = Evaluator(parts, ["train"])
    before = evaluator()["train_loss"]
    rows = train(
        parts.model, parts.loss, parts.optimizer, parts.schedule, parts.batches, evaluator,
        Position(), seed=0, epochs=99, evaluate_every=settings.data.batch_size * steps,
    )  # fmt: skip
    after = next(row["train_loss"] for row in rows if row["step"] >= steps)
    return before, after


def test_there_are_enough_that_need_no_download() -> None:
    assert len(PROBLEMS) >= 12 and set(PROBLEMS) < set(problems())
    for name in DOWNLOADED:
        assert config(name).data.source["root"] == "data/"
    for name in PROBLEMS:
        assert "root" not in config(name).data.source


@pytest.mark.parametrize("name", problems())
def test_every_problem_says_what_it_is(name: str) -> None:
    assert len(problems()[name]) > 20
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_listed_is_so(name: str) -> None:
    settings, facts = config(name), measured()[name]
    parts = assemble(settings)
    shapes = parts.data.shapes
    assert facts["rows"] == [len(getattr(parts.data, kind)) for kind in ("train", "val", "test")]
    assert facts["parameters"] == sum(each.numel() for each in parts.model.parameters())
    assert (facts["input"], facts["target"]) == (list(shapes.input), list(shapes.target))
    assert (facts["classes"], facts["vocabulary"]) == (shapes.classes, shapes.vocabulary)
    assert (facts["batch_size"], facts["epochs"]) == (
        settings.data.batch_size,
        settings.trainer.epochs,
    )
    assert (facts["loss"], facts["model"]) == tuple(
        type(each).__name__ for each in (parts.loss, parts.model)
    )
    assert 0 < facts["seconds"] < 10
    assert f"| `{name}` | {facts['rows'][0]:,}, " in PAGE


def test_the_page_holds_what_was_measured() -> None:
    sys.path.insert(0, str(PROJECT / "benchmarks"))
    try:
        import problems as benchmark  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    assert benchmark.BEGIN + benchmark.table(measured()) + benchmark.END in PAGE


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_split_is_not_the_seeds(name: str) -> None:
    few = FEW.get(name, ())
    first, second = (digests(config(name, f"seed={seed}", *few)) for seed in (0, 1))
    assert first == second
    assert digests(config(name, "data.split_seed=1", *few)) != first


def digests(settings: Config) -> list[int]:
    splits._load.cache_clear()
    data = load_data(settings)
    parts = (data.train, data.val, data.test)
    return [hash((part.inputs.numpy().tobytes(), part.targets.numpy().tobytes())) for part in parts]


# A sample of every other problem with a method of its own; the slow suite has all pairs.
PAIRS = [*zip(PROBLEMS[::2], METHODS[::4], strict=False)]
PRODUCT = [
    pytest.param(*pair, marks=() if pair in PAIRS else (pytest.mark.slow,))
    for pair in ((problem, method) for problem in PROBLEMS for method in METHODS)
]


@pytest.mark.parametrize(("problem", "method"), PRODUCT)
def test_methods_train_on_problems(problem: str, method: str) -> None:
    """The loss falls within 40 steps: at the method's own rate, or at a tenth or hundredth of it.

    Squared losses are steeper than cross-entropy: schedule-free SGD diverges on some at its own
    rate. Prodigy, whose rate stays at 1, goes too far at first on others.
    """
    rate = config("digits", f"optimizer={method}").optimizer["lr"]
    for part in (1.0, 0.1, 0.01):
        few = FEW.get(problem, ())
        before, after = trained(problem, method, 40, *few, rate=rate * part)
        if math.isfinite(after) and after < before:
            return
    raise AssertionError(f"from {before} to {after}")


# Batch norm and dropout, embeddings, dropout between them, counts; the slow suite has the others.
KEPT = ("digits_cnn", "matrix_factorization", "text", "randhie")
OTHERS = [each for each in PROBLEMS if each not in KEPT]
ALL = [*KEPT, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)]


@pytest.mark.parametrize("problem", ALL)
def test_resumed_and_replayed_to_the_bit(session: Session, problem: str) -> None:
    """With a row and a checkpoint amid each epoch; it goes on from the last but one."""
    size = len(load_data(config(problem, *FEW.get(problem, ()))).train)
    settings = [
        f"problem={problem}", "optimizer=adamw", "trainer.epochs=2", "trainer.checkpoint_every=0",
        f"trainer.evaluate_every={size // 2 + 1}", *FEW.get(problem, ()),
    ]  # fmt: skip
    settings += ["model.dropout=0.1"] if problem == "text" else []
    folder = session.folder / "run"
    answer = session.train(*settings, f"hydra.run.dir={folder}")
    assert answer.status == 0, answer
    reference = outcome(folder)
    assert len(reference["rows"]) == 4
    assert "identical: 4 rows and the weights" in replay(session, folder).out

    (folder / "result.json").unlink()
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    newest.unlink()
    newest.with_name(newest.name + ".sha256").unlink()
    answer = session.train(f"resume={folder}")
    assert (answer.status, answer.err) == (0, ""), answer
    assert outcome(folder) == reference


def test_known_solutions() -> None:
    """The least loss by NumPy is below what AdamW reaches, and near what it reaches when tuned."""
    for name, share in {"linear_regression": 0.02, "quadratic": 0.02}.items():
        least, reached = least_loss(assemble(config(name))), measured()[name]
        start, _ = trained(name, "adamw", 1)
        default, tuned = (reached[key]["train_loss"][0] for key in ("default", "tuned"))
        assert least < tuned < default < start
        assert tuned - least < share * (start - least)
        assert f"{least:.4g}" in PAGE


def least_loss(parts: Parts) -> float:
    """Of the training set, by least squares."""
    data = parts.data.train
    inputs, targets = data.inputs.double().numpy(), data.targets.double().numpy()
    if targets.ndim > 1:  # the quadratic: H's mean square around the mean
        away = (inputs - inputs.mean(0)) @ parts.model.root.double().numpy().T  # type: ignore[union-attr,operator]
        return float((away**2).mean())
    design = np.column_stack([inputs, np.ones(len(inputs))])
    return float(np.linalg.lstsq(design, targets)[1][0] / len(targets))


@pytest.mark.parametrize("name", ["deep_linear", "matrix_factorization", "teacher_student"])
def test_a_loss_of_0_can_be_reached(name: str) -> None:
    """By the model with the weights that made the data."""
    parts = assemble(config(name))
    solve(name, parts)
    values = Evaluator(parts, ["train", "val", "test"])()
    losses = [value for key, value in values.items() if key.endswith("_loss")]
    assert len(losses) == 3 and max(losses) < 1e-9


def solve(name: str, parts: Parts) -> None:
    """Put a solution into the model."""
    from src.data.generated import Draws

    train, state = parts.data.train, dict(parts.model.named_parameters())
    with torch.no_grad():
        if name == "deep_linear":
            solution = torch.linalg.lstsq(train.inputs.double(), train.targets.double()).solution
            for weight in state.values():
                weight.copy_(torch.eye(16))
            state["layers.1.weight"].copy_(solution.T)
        elif name == "teacher_student":
            draws = Draws(0)
            first = np.round(draws.normal(16, 16) * 64) / 256
            second = np.round(draws.normal(16) * 64) / 128
            for value in state.values():
                value.zero_()
            state["layers.1.weight"][:16] = torch.from_numpy(first)
            state["layers.3.weight"][0, :16] = torch.from_numpy(second)
        else:
            draws = Draws(0)
            vectors = np.concatenate([draws.normal(64, 4), draws.normal(64, 4)]) / 2**0.5
            state["vectors.weight"].copy_(torch.from_numpy(vectors))


def test_suites() -> None:
    assert {"tiny", "small", "images", "text"} <= suites().keys()
    assert len(suite("tiny")) == 4 and len(suite("small")) >= 10
    known = measured()
    for name, seconds in (("tiny", 10), ("small", 60)):
        assert sum(known[each]["seconds"] for each in suite(name)) < seconds
    for name, text in suites().items():
        assert len(text) > 20 and f"`{name}`" in PAGE
        assert set(suite(name)) <= problems().keys()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("problems: [wine, wime]", "problem=wime: no such problem; did you mean wine?"),
        ("problems: [wine, wine]", "must be problems: [NAME, ...], each once"),
        ("problems: []", "must be problems"),
        ("problems: wine", "must be problems"),
        ("- wine", "must be problems"),
        ("problems: [wine", "mine.yaml: "),
    ],
)
def test_a_bad_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, text: str
) -> None:
    for name in problems():
        (tmp_path / "problem").mkdir(exist_ok=True)
        (tmp_path / "problem" / f"{name}.yaml").write_text("# Text.\n")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text(content)
    monkeypatch.setattr("src.suites.CONF", tmp_path)
    with pytest.raises(InputError, match=re.escape(text)) as error:
        suite("mine")
    assert "\n" not in str(error.value)


def test_a_mistyped_suite() -> None:
    with pytest.raises(InputError, match=r"suite=tinny: no such suite; did you mean tiny\?"):
        suite("tinny")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["problems.py", *map(str, arguments)])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_all_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    facts = measured()["digits_cnn"]
    for part in ("1,150", "1×8×8 → 10 classes", f"{facts['parameters']:,}", "CrossEntropy"):
        assert part in lines["digits_cnn"]
    assert set(problems()) | set(suites()) <= lines.keys()


def test_what_was_not_measured_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("src.suites.MEASURED", PROJECT / "nowhere.json")
    assert call(monkeypatch) == 0
    out = capsys.readouterr().out
    assert "0.0 and 4 not measured" in out and "CrossEntropy" not in out


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_one_is_described_and_drawn(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, name, "--out", tmp_path / "new") == 0
    out = capsys.readouterr().out
    facts = measured()[name]
    rows = "{:,} train, {:,} val, {:,} test".format(*facts["rows"])
    for part in (name, problems()[name], rows, f"_target_: src.data.{name}.load", "test loss"):
        assert part in out
    picture = Path(out.splitlines()[-1].removeprefix("picture: "))
    assert picture == tmp_path / "new" / f"{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


def test_a_mistyped_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "spirls") == 1
    assert "problem=spirls: no such problem; did you mean spirals?" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert call(monkeypatch, "wine", "--out", tmp_path / "file") == 1
    assert f"error: {tmp_path / 'file'}: " in capsys.readouterr().err


def test_the_list_needs_no_torch() -> None:
    code = "import src.problems as p, sys; p.list_all(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_pictures_of_every_kind_of_data() -> None:
    """What is drawn are the data: as many marks as there are samples, classes or tokens."""
    from src.reporting import data_picture

    generator = np.random.default_rng(0)
    classes = generator.integers(0, 3, 20)
    kinds: dict[str, tuple[Any, Any, int | None, int | None, int]] = {
        "pictures": (generator.random((20, 3, 4, 4)), classes, 3, None, 20),
        "signals": (generator.random((20, 1, 9)), classes, 3, None, 27),
        "signals of numbers": (generator.random((20, 1, 9)), classes / 2, None, None, 90),
        "points": (generator.random((20, 2)), classes, 3, None, 20),
        "rows": (generator.random((20, 5)), generator.random(20), None, None, 20),
        "a number": (generator.random((20, 1)), generator.random(20), None, None, 20),
        "several targets": (generator.random((20, 5)), generator.random((20, 2)), None, None, 20),
        "pairs": (generator.integers(0, 5, (20, 2)), generator.random(20), None, 5, 20),
        "text": (np.tile(np.arange(7), (20, 1)), np.tile(np.arange(7), (20, 1)), 7, 7, 7),
    }
    for name, (inputs, targets, number, vocabulary, marks) in kinds.items():
        panel = data_picture._inputs(inputs, targets, number, vocabulary)
        assert len(panel["data"]["values"]) == marks, name
        counts = [
            each["count"] for each in data_picture._targets(targets, number)["data"]["values"]
        ]
        assert sum(counts) == targets.size, name
        drawn = data_picture.pictures(name, inputs, targets, number, vocabulary)
        assert drawn["png"].startswith(b"\x89PNG") and b"<svg" in drawn["svg"]
        json.dumps(panel)
