"""Every kind of setting that a comparison takes, to the end, with the smallest budgets."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from src.errors import InputError
from tests.comparing.conftest import runs_of

Compared = Callable[..., tuple[dict[str, Any], Path]]
SPACE = "hydra.sweeper.params."
RATE = rf"{SPACE}optimizer\.lr="


def at_end(folder: Path, run: dict[str, Any]) -> dict[str, float]:
    """What the run's own record says, which is written by other code."""
    found: dict[str, float] = json.loads((Path(run["folder"]) / "result.json").read_text())[
        "at_end"
    ]
    return found


def check(found: dict[str, Any], folder: Path, metric: str) -> None:
    """The verdict is by this metric, in its direction, and every part says the same."""
    runs = runs_of(folder)
    assert (found["metric"], len(runs)) == (metric, 8)
    assert [one["value"] for one in runs] == [at_end(folder, one)[metric] for one in runs]
    means = {
        name: mean(one["value"] for one in runs if (one["method"], one["kind"]) == (name, "tuned"))
        for name in ("sgd", "adam")
    }
    maximize = metric.endswith("accuracy")
    assert found["direction"] == ("maximize" if maximize else "minimize")
    assert found["methods"] == sorted(means, key=means.__getitem__, reverse=maximize)
    (pair,) = found["pairs"]
    assert pair["difference"] == pytest.approx(means[pair["a"]] - means[pair["b"]])
    for line in found["table"][:2]:
        assert line[metric]["mean"] == pytest.approx(means[line["method"]])
    words = {"val": "validation", "train": "training", "test": "test"}
    part, _, kind = metric.partition("_")
    lines = (folder / "table.md").read_text().splitlines()
    heading = next(line for line in lines if line.startswith("| rank")).replace("\\", "")
    arrow = "↑" if maximize else "↓"
    assert heading.count(f"| {words[part]} {kind} {arrow} |") == 1
    assert f"Results on the {words[part]} set" in (folder / "report.html").read_text()


def test_a_verdict_by_validation_loss(compared: Compared) -> None:
    found, folder = compared("protocol.metric=val_loss")
    check(found, folder, "val_loss")
    assert compared("protocol.metric=val_loss")[0] == found, "asked again it only prints"


def test_torchs_own_class_against_ours(compared: Compared) -> None:
    """To the end, with a slash in the method's name: twins end alike, and all say who is who."""
    found, folder = compared("methods=[torch/adam,adam]", "protocol.metric=val_loss")
    assert folder.name == "torch-adam-adam-digits-logreg"
    runs = runs_of(folder)
    theirs, ours = (
        [one for one in runs if one["method"] == name] for name in ("torch/adam", "adam")
    )
    assert [one["value"] for one in theirs] == pytest.approx([one["value"] for one in ours])
    assert {Path(one["folder"]).name for one in theirs} == {
        f"torch-adam-{kind}-0-seed-{seed}" for kind in ("tuned", "default") for seed in (1000, 1001)
    }
    assert {path.name for path in (folder / "runs").iterdir()} == {
        Path(one["folder"]).name for one in runs
    }
    for run in theirs:
        config = (Path(run["folder"]) / "config.yaml").read_text()
        assert "_target_: torch.optim.Adam\n" in config
    assert {*found["methods"]} == {"torch/adam", "adam"}
    assert "torch/adam" in found["sentence"]
    for name in ("report.html", "table.tex", "table.md", "table.csv"):
        assert "torch/adam" in (folder / name).read_text(), name
    searched = [line["detail"] for line in found["ledger"] if line["event"] == "searched"]
    command = searched[0].partition(": ")[2]
    assert "src.train -m sweeps=torch/adam model=logreg" in command.replace(
        " objective.row=last pruner=none", ""
    )
    log = folder / f"{found['searches'][0]['study']}.log"
    assert log.is_file() and log.name.startswith("torch-adam-digits-logreg-")
    assert compared("methods=[torch/adam,adam]", "protocol.metric=val_loss")[0] == found


@pytest.mark.slow
@pytest.mark.parametrize(
    "metric", ["train_loss", "train_accuracy", "val_accuracy", "test_accuracy"]
)
def test_a_verdict_by_any_metric(compared: Compared, metric: str) -> None:
    check(*compared(f"protocol.metric={metric}"), metric)


def test_whole_numbers_and_choices_and_selection_by_accuracy(compared: Compared) -> None:
    """Their winners are trained again with what the trial was trained with."""
    found, folder = compared(
        "model=mlp", "objective.metric=val_accuracy", "objective.direction=maximize",
        "protocol.n_trials=3", "protocol.widen=1", "sampler=random",
        rf"+{SPACE}data\.batch_size='range(16,64)'",
        rf"+{SPACE}model\.activation='choice(relu,tanh)'",
    )  # fmt: skip
    for search in found["searches"]:
        assert search["space"]["data.batch_size"] == {"low": 16, "high": 63, "log": False}
        assert search["space"]["model.activation"] == {"choices": ["relu", "tanh"]}
        assert all(type(one["params"]["data.batch_size"]) is int for one in search["trials"])
    best = {
        one["method"]: max(one["trials"], key=lambda trial: trial["value"])["params"]
        for one in found["searches"]
    }
    for run in runs_of(folder):
        if run["kind"] == "tuned":
            text = (Path(run["folder"]) / "config.yaml").read_text()
            assert f"batch_size: {best[run['method']]['data.batch_size']}\n" in text
            assert f"activation: {best[run['method']]['model.activation']}\n" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.evaluate=[train,val]", "trainer.evaluate_at_end=[train]", "objective.row=best",
         "trainer.early_stopping.patience=1", "trainer.checkpoint_every=0"),
        ("trainer.checkpoint_every=null", "protocol.target=2.0", "protocol.reference=adam"),
        ("protocol.searches=2", "protocol.widen=1", "protocol.max_bad=0.01"),
        ("protocol.n_trials=1", "protocol.first_seed=100", "protocol.name='ä=b+c_1.0'"),
        ("methods=[adam,adamax]", "sampler=grid", "sampler.points=2", "protocol.n_trials=20"),
        ("sampler=qmc", "pruner=hyperband", "data.validation_fraction=0.1"),
        ("sampler=gp", "pruner=threshold", "storage=sqlite:///elsewhere.db"),
        ("sampler=cmaes", "pruner=median", "optimizer.weight_decay=0.5"),
        ("sampler=random", "logger=tensorboard", "scheduler=cosine", "scheduler.warmup_steps=5"),
        ("model=mlp", "model.hidden_sizes=[20,10]", "model.activation=gelu", "data.batch_size=50"),
        (f"{RATE}'interval(1e8,1e12)'", "protocol.widen=1"),
        (rf"+{SPACE}optimizer\.weight_decay='interval(0.0,1.0)'", "protocol.widen=2"),
        (rf"+{SPACE}data\.batch_size='int(tag(log,interval(30,34)))'", "protocol.widen=1"),
    ],
)  # fmt: skip
def test_to_the_end(compared: Compared, overrides: tuple[str, ...]) -> None:
    found, folder = compared(*overrides)
    trials = {len(one["trials"]) for one in found["searches"]}
    assert len(trials) == 1
    assert f"of {trials.pop()} trial" in found["basis"]
    assert all(one["value"] is not None for one in runs_of(folder))
    assert found["target"]["given"] == any("target" in one for one in overrides)


def test_nothing_is_left_in_the_way_of_another_try(compared: Compared) -> None:
    """A comparison that found no winner has trained nothing, so its name is free."""
    space = f"{RATE}'interval(1e37,1e38)'"
    with pytest.raises(InputError, match=r"sgd: no trial of study .* was completed"):
        compared("model=mlp", "protocol.name=mine", space, "methods=[sgd,momentum]")
    found, folder = compared("protocol.name=mine")
    events = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert len(events) == 2 + 8
    assert found["name"] == "mine"
    with pytest.raises(InputError, match=r"at 2 seeds, have spent all of the 5%"):
        compared("protocol.name=mine", "protocol.seeds=3")


DAMAGE = (
    ("result.json", ""),
    ("result.json", "[]"),
    ("result.json", '{"at_end": 3}'),
    ("config.yaml", "{"),
    ("config.yaml", "null"),
    ("provenance.json", "null"),
    ("metrics.jsonl", "3\n"),
)


def test_broken_files_of_its_own(compared: Compared) -> None:
    """What is derived is made again, a run is trained again, and nothing else changes."""
    before, folder = compared()
    first, *others = sorted((folder / "runs").iterdir())
    (first / "config.yaml").unlink()
    for place, (name, text) in zip(others, DAMAGE, strict=True):
        (place / name).write_text(text)
    (folder / "comparison.json").write_text("{")
    after, _ = compared()
    assert (after["pairs"], after["hash"]) == (before["pairs"], before["hash"])
    (folder / "runs.jsonl").unlink()
    assert compared()[0]["pairs"] == before["pairs"]
    assert len(runs_of(folder)) == 8
    (folder / "protocol.json").write_text("{")
    with pytest.raises(InputError, match=r"protocol\.json can't be read: .*; move"):
        compared()
