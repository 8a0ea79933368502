"""`python -m src.train -m sweeps=…` in this process: totals, refusals, failures, results."""

import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from itertools import accumulate
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from src import train
from src.composing import register
from src.config import PROJECT, flatten, parse
from src.results.identity import canonical
from src.sweeping import sweeper
from src.sweeping.sweeper import _is_of, comparable
from src.training import run
from tests.helpers import Session, composed, result_folder
from tests.sweeping.conftest import QUICK, Sweep, states, trials_of

GROUPS = {group: sorted(p.stem for p in (PROJECT / "conf" / group).glob("*.yaml"))
          for group in ("sampler", "pruner")}  # fmt: skip


def test_the_total_is_a_total(sweep: Sweep) -> None:
    first = sweep("sweeps=adam", "n_trials=3", "pruner=none")
    assert first.status == 0 and states(first.trials) == {"COMPLETE": 3}
    again = sweep("sweeps=adam", "n_trials=3", "pruner=none")
    assert again.status == 0 and len(again.trials) == 3
    assert "best: trial" in again.out and "completed" not in again.out
    more = sweep("sweeps=adam", "n_trials=5", "pruner=none")
    assert states(more.trials) == {"COMPLETE": 5}
    assert more.trials[:3] == first.trials
    fewer = sweep("sweeps=adam", "n_trials=2", "pruner=none")
    assert fewer.status == 0 and len(fewer.trials) == 5


def test_trials_and_folders_name_each_other_and_are_never_overwritten(sweep: Sweep) -> None:
    first = sweep("sweeps=sgd", "n_trials=2")
    before = {path: path.read_bytes() for path in first.folder.glob("trial-*/*") if path.is_file()}
    trials = sweep("sweeps=sgd", "n_trials=4").trials
    for trial in trials:
        folder = Path(trial.user_attrs["folder"])
        names = json.loads((folder / "trial.json").read_text())
        assert (names["study"], names["trial"]) == ("s", trial.number)
        config = OmegaConf.load(folder / "config.yaml")
        assert config.trial == trial.number
        assert config.optimizer.lr == trial.params["optimizer.lr"]
        value = json.loads((folder / "result.json").read_text())["objective"]["value"]
        assert trial.value == value
    assert len({trial.user_attrs["folder"] for trial in trials}) == 4
    assert before and all(path.read_bytes() == content for path, content in before.items())


def test_folders_that_the_database_does_not_know_are_refused(sweep: Sweep) -> None:
    ended = sweep("sweeps=sgd", "n_trials=1")
    for file in Path(ended.url.removeprefix("sqlite:///")).parent.glob("studies.db*"):
        file.unlink()
    from src.sweeping.storage import open_storage

    open_storage.cache_clear()
    again = sweep("sweeps=sgd", "n_trials=1")
    assert again.status == 1
    assert "trial-0 is of a study that the database doesn't know" in again.err


DIFFERENCES = {
    "data.batch_size=64": "data.batch_size was 32, is 64",
    "trainer.epochs=2": "trainer.epochs was 1, is 2",
    "model.hidden_sizes=[7]": "model.hidden_sizes was [], is [7]",
    "objective.row=last": "objective.row was best, is last",
    "optimizer.eps=1e-3": "optimizer.eps was 1e-08, is 0.001",
    "optimizer.lr=interval(0.1, 0.2)": "space.optimizer.lr was",
    "optimizer.lr=0.1": "space.optimizer.lr was",
    "seed=1": "seed was 0, is 1",
}


def test_a_mixed_study_is_refused_with_what_differs(sweep: Sweep) -> None:
    first = sweep("sweeps=adam", "n_trials=1")
    for override, difference in DIFFERENCES.items():
        second = sweep("sweeps=adam", "n_trials=2", override)
        assert second.status == 1 and second.trials == first.trials
        refusal = "error: study s holds trials that can't be compared with these: "
        assert second.err.startswith(refusal) and len(second.err.splitlines()) == 1
        assert difference in second.err


def test_a_study_of_other_data_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are the same, and the content of the files is not."""
    from src.data import digits, splits

    real = digits.load

    @wraps(real)
    def changed(**settings: float) -> splits.Dataset:
        return replace(real(**settings), sha256="0" * 64)

    first = sweep("sweeps=sgd", "n_trials=1")
    monkeypatch.setattr(digits, "load", changed)
    splits._load.cache_clear()
    second = sweep("sweeps=sgd", "n_trials=2")
    splits._load.cache_clear()
    assert second.status == 1 and second.trials == first.trials
    assert f"data.sha256 was {real().digest()}, is {'0' * 64}; choose another" in second.err


LEFT_OUT = {  # how trials are found and followed, how fast they run, and where; all else counts
    *("sampler._target_", "pruner._target_", "pruner.min_resource", "pruner.reduction_factor"),
    *("trial", "resume", "logger.tensorboard._target_", "search.one_minus_beta1"),
    *("search.one_minus_beta2", "data.root", "trainer.threads", "trainer.checkpoint_every"),
}


def test_what_makes_trials_comparable() -> None:
    config = parse(composed("sweeps=adam", "logger=tensorboard", "model=mlp"))
    space = {"optimizer.lr": FloatDistribution(0.1, 1),
             "search.one_minus_beta1": IntDistribution(1, 2)}  # fmt: skip
    flat = flatten(canonical(config.model_dump()))
    made = comparable(config, space, "abc")
    assert {*made} == {*flat} - LEFT_OUT - {"optimizer.lr"} | {"data.sha256", "hash"} | {
        f"space.{name}" for name in space
    }
    assert {*flat} >= LEFT_OUT
    assert all(made[key] == flat[key] for key in {*made} & {*flat})
    assert made["data.sha256"] == "abc"
    lr = json.loads(made["space.optimizer.lr"])["attributes"]
    assert lr == {"low": 0.1, "high": 1.0, "log": False, "step": None}
    others = [comparable(config, space, "abd"), comparable(config, {}, "abc"),
              comparable(config.model_copy(update={"seed": 1}), space, "abc")]  # fmt: skip
    assert len({one["hash"] for one in (made, *others)}) == 4
    assert made == comparable(config.model_copy(update={"trial": 7}), space, "abc")


def test_what_does_not_touch_the_comparison_may_change(sweep: Sweep) -> None:
    sweep("sweeps=adam", "n_trials=1")
    ended = sweep(
        "sweeps=adam", "n_trials=2", "sampler=random", "pruner=median", "trainer.threads=1"
    )
    assert ended.status == 0 and len(ended.trials) == 2


def test_a_study_repeats_and_a_restart_proposes_new_points(sweep: Sweep) -> None:
    def points(study: str, *n_trials: int) -> list[dict[str, float]]:
        for total in n_trials:
            ended = sweep("sweeps=sgd", f"n_trials={total}", study=study)
        return [trial.params for trial in ended.trials]

    once = points("once", 12)  # more than TPE's ten random trials
    assert once == points("again", 12)
    restarted = points("restarted", 4, 12)
    assert restarted == once
    assert len({point["optimizer.lr"] for point in restarted}) == 12
    other = sweep("sweeps=sgd", "n_trials=3", "seed=1", study="other").trials
    assert [trial.params for trial in other[1:]] != once[1:3]


@pytest.mark.parametrize("sampler", GROUPS["sampler"])
def test_every_sampler_works_and_goes_on_after_a_restart(
    sweep: Sweep, sampler: str, recwarn: pytest.WarningsRecorder
) -> None:
    sweep("sweeps=momentum", "n_trials=3", f"sampler={sampler}")
    ended = sweep("sweeps=momentum", "n_trials=5", f"sampler={sampler}")
    assert ended.status == 0, ended.err
    assert ended.err == "" and not [str(warning.message) for warning in recwarn]
    assert len({tuple(trial.params.values()) for trial in ended.trials}) == 5


@pytest.mark.parametrize("pruner", GROUPS["pruner"])
def test_every_pruner_works(sweep: Sweep, pruner: str) -> None:
    ended = sweep("sweeps=adam", "n_trials=8", f"pruner={pruner}", "trainer.epochs=4")
    assert ended.status == 0 and ended.err == ""
    counts = states(ended.trials)
    assert sum(counts.values()) == 8 and ended.trials[0].state is TrialState.COMPLETE
    assert ("PRUNED" in counts) == (pruner != "none"), counts
    for trial in ended.trials:
        result = json.loads((Path(trial.user_attrs["folder"]) / "result.json").read_text())
        rows = len((Path(trial.user_attrs["folder"]) / "metrics.jsonl").read_text().splitlines())
        assert trial.user_attrs["status"] == result["status"]
        assert len(trial.intermediate_values) == rows
        if trial.state is TrialState.PRUNED:
            assert result["status"] == "pruned" and rows < 4 and result["best"] is not None


def test_a_grid_ends_when_every_point_was_tried(sweep: Sweep) -> None:
    ended = sweep("sweeps=sgd", "sampler=grid", "sampler.points=3", "n_trials=99")
    rates = sorted(trial.params["optimizer.lr"] for trial in ended.trials)
    assert rates == pytest.approx(sorted([1e-4, (1e-4 * 5) ** 0.5, 5, default_rate("sgd")]))
    again = sweep("sweeps=sgd", "sampler=grid", "sampler.points=3", "n_trials=99")
    assert again.status == 0 and len(again.trials) == 4


def default_rate(optimizer: str) -> float:
    return float(OmegaConf.load(PROJECT / "conf" / "optimizer" / f"{optimizer}.yaml").lr)


def test_diverging_trials_neither_end_a_sweep_nor_win(sweep: Sweep) -> None:
    ended = sweep("sweeps=sgd", "n_trials=8", "optimizer.lr=tag(log, interval(1e30, 1e38))")
    diverged = [one for one in ended.trials if one.user_attrs["status"] == "diverged"]
    assert ended.status == 0 and len(ended.trials) == 8 and 0 < len(diverged) < 8
    assert all(one.state is TrialState.PRUNED and one.value is None for one in diverged)
    best = re.search(r"best: trial (\d+)", ended.out)
    assert best and int(best[1]) not in [one.number for one in diverged]


def test_a_sweep_in_which_all_trials_diverge_ends(sweep: Sweep) -> None:
    ended = sweep("sweeps=sgd", "n_trials=3", "optimizer.lr=interval(1e38, 2e38)")
    assert ended.status == 0 and len(ended.trials) == 3
    assert "no trial was completed" in ended.out


def test_a_sweep_that_only_fails_ends_with_the_reason(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(run, "_train", broken)
    ended = sweep("sweeps=sgd", "n_trials=9", "hydra.sweeper.max_failures=3")
    assert ended.status == 1 and states(ended.trials) == {"FAIL": 3}
    assert ended.err == (
        "error: 3 trials in a row failed, the last one with: RuntimeError: the disk is on fire "
        "(hydra.sweeper.max_failures=3)\n"
    )
    for trial in ended.trials:
        text = (Path(trial.user_attrs["folder"]) / "error.txt").read_text()
        assert "Traceback" in text and "the disk is on fire" in text
        assert trial.user_attrs["error"] in text
    monkeypatch.undo()
    mended = sweep("sweeps=sgd", "n_trials=2")
    assert mended.status == 0 and states(mended.trials) == {"FAIL": 3, "COMPLETE": 2}


def test_some_failures_do_not_end_a_sweep_or_count(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_, calls = run._train, []

    def flaky(*arguments: object, **settings: object) -> str:
        calls.append(1)
        if len(calls) % 2:
            raise RuntimeError("now and then")
        return train_(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "_train", flaky)
    ended = sweep("sweeps=sgd", "n_trials=3", "pruner=none", "hydra.sweeper.max_failures=2")
    assert ended.status == 0 and states(ended.trials) == {"FAIL": 3, "COMPLETE": 3}


def test_ctrl_c_puts_the_trial_back_and_names_the_command(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "_train", interrupt)
        ended = sweep("sweeps=sgd", "n_trials=2", "optimizer.lr=interval(0.01, 0.02)")
    assert ended.status == 130 and states(ended.trials) == {"FAIL": 1, "WAITING": 1}
    line = re.fullmatch(r"interrupted; this goes on: (.*)\n", ended.err)
    assert line and shlex.split(line[1])[:3] == ["python", "-m", "src.train"]
    overrides = [word for word in shlex.split(line[1])[4:] if "=" in word]
    assert "optimizer.lr=interval(0.01, 0.02)" in overrides
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *overrides])
    train.main()
    trials = trials_of(ended.url, "s")
    assert states(trials) == {"FAIL": 1, "COMPLETE": 2}
    assert trials[1].params == trials[0].params


def test_ctrl_c_before_there_is_a_study_names_the_command(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("src.sweeping.sweeper.read_space", interrupt)
    ended = sweep("sweeps=sgd", "n_trials=2")
    assert (ended.status, ended.trials, ended.folder.exists()) == (130, [], False)
    assert re.fullmatch(r"interrupted; this goes on: .* sweeps=sgd n_trials=2\n", ended.err)


def test_best_yaml_and_the_printed_command_reproduce_the_best_value(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = sweep("sweeps=adam", "n_trials=6", "model=mlp", "optimizer.eps=1e-7", "seed=3")
    best = min(
        (trial for trial in ended.trials if trial.state is TrialState.COMPLETE),
        key=lambda trial: trial.value or 0.0,
    )
    printed = re.search(r"train it: +(.*)", ended.out)
    assert printed
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (ended.folder / "best.yaml").rename(tmp_path / "mine" / "experiment" / "winner.yaml")
    by_file = ["experiment=winner", "--config-dir", str(tmp_path / "mine")]
    for number, words in enumerate((shlex.split(printed[1])[3:], by_file)):
        folder = tmp_path / f"run-{number}"
        monkeypatch.setattr(sys, "argv", ["train.py", *words, f"hydra.run.dir={folder}"])
        train.main()
        result = json.loads((folder / "result.json").read_text())
        assert result["objective"]["value"] == best.value
        trial_folder = Path(best.user_attrs["folder"])
        trained = json.loads((trial_folder / "result.json").read_text())
        assert result["weights_sha256"] == trained["weights_sha256"]
    assert (tmp_path / "run-1" / "config.yaml").read_text().count("optimizer:") == 1


def test_the_best_of_a_trial_that_ran_elsewhere_is_written_too(sweep: Sweep) -> None:
    ended = sweep("sweeps=sgd", "n_trials=2")
    first = (ended.folder / "best.yaml").read_text()
    for path in sorted(ended.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    again = sweep("sweeps=sgd", "n_trials=2")
    assert again.status == 0 and (ended.folder / "best.yaml").read_text() == first


@pytest.mark.parametrize(
    "override, message",
    [
        ("n_trials=0", "hydra.sweeper.n_trials=0: must be an integer >= 1"),
        ("n_trials=many", "hydra.sweeper.n_trials=many: must be an integer >= 1"),
        ("n_trials=2.5", "hydra.sweeper.n_trials=2.5: must be an integer >= 1"),
        ("n_jobs=0", "hydra.sweeper.n_jobs=0: must be an integer >= 1"),
        ("hydra.sweeper.lease_seconds=1", "lease_seconds=1: must be an integer >= 6"),
        ("hydra.sweeper.max_failures=0", "max_failures=0: must be an integer >= 1"),
        ("sampler=best", "sampler=best: no such choice (allowed: "),
        ("pruner=best", "pruner=best: no such choice (allowed: "),
        ("sweeps=adamm", "sweeps=adamm: no such choice; did you mean adam?"),
        ("storage=oops", "storage=oops: must be sqlite:///FILE or postgresql://"),
        ("storage=sqlite://", "must be sqlite:///FILE or postgresql://"),
        ("storage=mysql://a/b", "must be sqlite:///FILE or postgresql://"),
        ("study=../x", "study_name=../x: must be letters, digits"),
        ("sampler.points=1", "points"),
        ("pruner.reduction_factor=1", "must be `reduction_factor >= 2`"),
        ("optimizer=adam,sgd", "optimizer: a study searches values"),
        ("seed=1,2,3", "seed=1,2,3: a study doesn't search seed"),
        ("trainer.epochs=range(1,9)", "a study doesn't search trainer.epochs"),
        ("optimizer.lr=interval(0.5,0.1)", "an interval's lower end comes first"),
        ("optimizer.lr=tag(log,interval(0,0.1))", "an interval with log must begin above 0"),
        ("model.activation=relu,relu", "the choice relu is there twice"),
        ("data.batch_size=32,many", "data.batch_size=many: input should be a valid integer"),
        ("hydra.sweeper.params=abc", "hydra.sweeper.params=abc: must be keys"),
        ("study=-x", "study_name=-x: must be letters, digits"),
        ("optimizer.lrr=interval(0.1, 0.2)", "optimizer.lrr"),
        ("optimizer.lr=-1", "lr"),
        ("trainer.epochs=0", "trainer.epochs=0"),
        ("hydra.sweeper.params=null", "there is nothing to search; choose a file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    sweep: Sweep, override: str, message: str, tmp_path: Path
) -> None:
    ended = sweep("sweeps=adam", override)
    assert ended.status == 1 and ended.out == ""
    assert message in ended.err and len(ended.err.splitlines()) == 1, ended.err
    assert not list((tmp_path / "sweeps").glob("*/trial-*"))


def test_values_beside_the_files_space_can_be_searched(sweep: Sweep) -> None:
    ended = sweep(
        "sweeps=adam",
        "n_trials=5",
        "data.batch_size=16,32,64",
        "optimizer.lr=interval(0.001, 0.002)",
        "search.one_minus_beta1=0.2",
        "model=mlp",
        "model.activation=choice(relu,gelu)",
    )
    assert ended.status == 0, ended.err
    names = {"data.batch_size", "optimizer.lr", "search.one_minus_beta2", "model.activation"}
    for trial in ended.trials:
        assert set(trial.params) == names
        assert trial.params["data.batch_size"] in (16, 32, 64)
        assert 0.001 <= trial.params["optimizer.lr"] <= 0.002
        config = OmegaConf.load(Path(trial.user_attrs["folder"]) / "config.yaml")
        assert config.optimizer.betas[0] == 0.8
        assert config.data.batch_size == trial.params["data.batch_size"]


MEANT = {  # as typed: what a trial's config may hold
    "trainer.early_stopping.patience=null,1,2": [None, 1, 2],
    "model.hidden_sizes=[7],[5,5],[]": [[7], [5, 5], []],
    "model.activation='relu',\"tanh\"": ["relu", "tanh"],
}


def test_a_choice_is_what_it_means_wherever_it_is_kept(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the trial's config and overrides, in best.yaml, and in the command that is printed."""
    arguments = ["sweeps=adam", "model=mlp", "sampler=random", "pruner=none", "n_trials=6"]
    ended = sweep(*arguments, *MEANT)
    assert ended.status == 0, ended.err
    for trial in ended.trials:
        folder = Path(trial.user_attrs["folder"])
        config = OmegaConf.load(folder / "config.yaml")
        for typed, values in MEANT.items():
            key = typed.partition("=")[0]
            value = OmegaConf.select(config, key)
            assert (value in values and type(value) is not str) or key == "model.activation"
            (line,) = [one for one in trial.user_attrs["overrides"] if one.startswith(key)]
            assert OverridesParser.create().parse_override(line).value() == value
            assert line in OmegaConf.load(folder / ".hydra" / "overrides.yaml")
    seen = [str(trial.params["model.hidden_sizes"]) for trial in ended.trials]
    assert {*seen} <= {"[7]", "[5,5]", "[]"} and len({*seen}) > 1
    best = re.search(r"best: trial (\d+)", ended.out)
    printed = re.search(r"train it: +(.*)", ended.out)
    assert best and printed
    trained = ended.folder / f"trial-{best[1]}"
    monkeypatch.setattr(sys, "argv", ["train.py", *shlex.split(printed[1])[3:],
                                      f"hydra.run.dir={tmp_path}/again"])  # fmt: skip
    train.main()
    weights = [json.loads((one / "result.json").read_text())["weights_sha256"]
               for one in (trained, tmp_path / "again")]  # fmt: skip
    assert weights[0] == weights[1]
    for name in ("model", "trainer"):
        written = OmegaConf.load(ended.folder / "best.yaml")[name]
        assert written == OmegaConf.load(trained / "config.yaml")[name]


def test_a_key_that_the_config_lacks_can_be_searched(sweep: Sweep) -> None:
    """And a value that the class refuses is the trial's fault."""
    ended = sweep(
        "sweeps=sgd", "sampler=grid", "sampler.points=2", "+optimizer.maximize=false,true"
    )
    assert ended.status == 0, ended.err
    assert {one.params["optimizer.maximize"] for one in ended.trials} == {False, True}
    lines = [one.user_attrs["overrides"][-1] for one in ended.trials]
    assert {*lines} == {"++optimizer.maximize=false", "++optimizer.maximize=true"}
    assert re.search(r"train it: .* \+\+optimizer\.maximize=false", ended.out)


def test_a_value_that_the_file_sets_is_set(sweep: Sweep) -> None:
    ended = sweep("sweeps=sgd", "n_trials=1", "+hydra.sweeper.params.data\\.batch_size=64")
    assert ended.status == 0, ended.err
    assert OmegaConf.load(ended.folder / "trial-0" / "config.yaml").data.batch_size == 64
    assert "data.batch_size=64" in ended.trials[0].user_attrs["overrides"]


def test_a_momentum_set_by_hand_is_not_searched_in_another_scale(sweep: Sweep) -> None:
    ended = sweep("sweeps=momentum", "n_trials=2", "optimizer.momentum=0.5")
    assert [[*one.params] for one in ended.trials] == [["optimizer.lr"]] * 2
    assert OmegaConf.load(ended.folder / "trial-1" / "config.yaml").optimizer.momentum == 0.5
    searched = sweep("sweeps=momentum", "n_trials=2", "optimizer.momentum=0.1,0.2", study="t")
    for trial in searched.trials:
        config = OmegaConf.load(Path(trial.user_attrs["folder"]) / "config.yaml")
        assert config.optimizer.momentum == trial.params["optimizer.momentum"]
        assert {*trial.params} == {"optimizer.lr", "optimizer.momentum"}


@pytest.mark.parametrize("optimizer", ["torch/adam", "adamw"])
def test_the_best_of_another_optimizer_than_the_sweeps_own(
    session: Session, optimizer: str
) -> None:
    """torch's classes lie in a subfolder; the study's name says what was searched."""
    session.monkeypatch.setattr("src.sweeping.progress.OUTPUTS", session.folder / "outputs")
    arguments = ("-m", "sweeps=sgd", f"optimizer={optimizer}", "n_trials=2", *QUICK)
    swept = session.train(*arguments)
    assert swept.status == 0, swept.err
    name = f"sgd-{optimizer.replace('/', '-')}-digits-logreg"
    kept = session.folder / "outputs" / "sweeps" / name
    best = re.search(r"best: trial (\d+)", swept.out)
    assert best
    trial = json.loads((kept / f"trial-{best[1]}" / "result.json").read_text())
    commands = re.findall(r"^(?:train it|or): +python -m src.train (.*)", swept.out, re.M)
    assert commands[1] == f"experiment={name}/best"
    register()  # as the next command does when it starts
    for number, words in enumerate(map(shlex.split, commands)):
        ran = session.train(*words, f"hydra.run.dir=run-{number}")
        assert ran.status == 0, ran.err
        result = json.loads((session.folder / f"run-{number}" / "result.json").read_text())
        assert result["weights_sha256"] == trial["weights_sha256"]
    ran = session.train(*shlex.split(commands[1]))
    assert result_folder(ran).name.endswith(
        "-torch.optim.Adam-digits" if optimizer == "torch/adam" else "-adamw-digits"
    )


def test_torchs_own_class(session: Session) -> None:
    """Its file is in a subfolder; the study and its folder have no slash in their names."""
    session.monkeypatch.setattr("src.sweeping.progress.OUTPUTS", session.folder / "outputs")
    swept = session.train("-m", "sweeps=torch/adam", "n_trials=2", *QUICK)
    assert swept.status == 0, swept.err
    kept = session.folder / "outputs" / "sweeps" / "torch-adam-digits-logreg"
    best = re.search(r"best: trial (\d+)", swept.out)
    assert best
    trial = json.loads((kept / f"trial-{best[1]}" / "result.json").read_text())
    commands = re.findall(r"^(?:train it|or): +python -m src.train (.*)", swept.out, re.M)
    assert commands[1] == "experiment=torch-adam-digits-logreg/best"
    register()  # as the next command does when it starts
    for command, name in zip(commands, ("torch-adam", "torch.optim.Adam"), strict=True):
        ran = session.train(*shlex.split(command))
        assert ran.status == 0, ran.err
        folder = result_folder(ran)
        assert folder.name.endswith(f"-{name}-digits")
        result = json.loads((folder / "result.json").read_text())
        assert result["weights_sha256"] == trial["weights_sha256"]
    refused = session.train("-m", "sweeps=torch/adam", "optimizer=sgd", "n_trials=1", *QUICK)
    assert refused.status == 1
    assert "optimizer=sgd: sweeps=torch/adam says itself what the optimizer is" in refused.err


def test_a_study_without_a_file_is_named_after_what_it_searches(session: Session) -> None:
    swept = session.train("-m", "hydra/sweeper=study", "optimizer=torch/sgd", "n_trials=1", *QUICK,
                          "optimizer.lr=interval(0.01,0.1)")  # fmt: skip
    assert swept.status == 0, swept.err
    assert (session.folder / "outputs" / "sweeps" / "torch-sgd-digits-logreg").is_dir()


def test_a_folder_of_another_study_is_refused(sweep: Sweep, tmp_path: Path) -> None:
    first = sweep("sweeps=sgd", "n_trials=2", study="a")
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    other = sweep("sweeps=sgd", "n_trials=2", study="b")
    assert other.status == 0
    mixed = sweep("sweeps=sgd", "n_trials=4", f"hydra.sweep.dir={first.folder}", study="b")
    assert mixed.status == 1 and len(mixed.err.splitlines()) == 1
    assert f"{first.folder / 'trial-0'} is of a study that the database doesn't know" in mixed.err
    inside = sweep("sweeps=sgd", "n_trials=1", f"hydra.sweep.dir={first.folder}/trial-0", study="c")
    assert inside.status == 1 and "trial-0: it holds a run (config.yaml)" in inside.err
    assert {p: p.read_bytes() for p in first.folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
def test_a_place_that_cannot_be_written_is_refused_first(sweep: Sweep, place: str) -> None:
    ended = sweep("sweeps=sgd", f"hydra.sweep.dir={place}")
    assert ended.status == 1 and ended.trials == []
    assert ended.err.startswith(f"error: hydra.sweep.dir={place}: ")
    assert len(ended.err.splitlines()) == 1


def test_names_that_markup_would_swallow_are_shown(sweep: Sweep, tmp_path: Path) -> None:
    place = tmp_path / "[x] :smile:"
    ended = sweep("sweeps=sgd", "n_trials=1", f"hydra.sweep.dir='{place}'")
    assert f"in {place}/trial-0" in ended.out
    assert f"as YAML:    {place}/best.yaml" in ended.out


def test_the_data_is_read_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    from src.data import digits, splits

    reads, real = [], digits.load

    @wraps(real)
    def counted(**settings: float) -> splits.Dataset:
        reads.append(1)
        return real(**settings)

    monkeypatch.setattr(digits, "load", counted)
    splits._load.cache_clear()
    sweep("sweeps=sgd", "n_trials=4")
    assert len(reads) == 1


def test_a_worker_has_the_threads_of_a_run(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workers there are, and whatever the machine."""
    before = torch.get_num_threads()
    found = {}
    for n_jobs in (1, 4):
        torch.set_num_threads(2 * n_jobs)
        if n_jobs > 1:
            monkeypatch.setenv("FAIRSTEP_WORKER", "1")  # this process is one of them
        settings = ("sweeps=sgd", f"n_jobs={n_jobs}", "n_trials=2", "trainer.epochs=1")
        ended = sweep(*settings, quick=False, study=f"of-{n_jobs}")
        assert ended.status == 0
        overrides = [text for trial in ended.trials for text in trial.user_attrs["overrides"]]
        assert not any("threads" in text for text in overrides)
        folders = [Path(trial.user_attrs["folder"]) for trial in ended.trials]
        facts = [json.loads((folder / "provenance.json").read_text()) for folder in folders]
        assert [one["threads"] for one in facts] == [1, 1]
        results = [json.loads((folder / "result.json").read_text()) for folder in folders]
        found[n_jobs] = [one["weights_sha256"] for one in results]
    assert found[1] == found[4]
    torch.set_num_threads(before)


def test_studies_of_several_kinds_share_a_database(sweep: Sweep) -> None:
    sweep("sweeps=sgd", "n_trials=1", study="a")
    ended = sweep("sweeps=adam", "n_trials=2", study="b")
    names = optuna.get_all_study_names(ended.url)
    assert sorted(names) == ["a", "b"]


def test_names_and_places_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The name tells method, data and model; the places don't depend on the working directory."""
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(sweeper.StudySweeper, "sweep", lambda self, arguments: seen.append(self))
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "sweeps=adamw", "data=mnist", "model=mlp"])
    train.main()
    assert seen[0].study_name == "adamw-mnist-mlp"
    assert seen[0].storage == f"sqlite:///{PROJECT}/outputs/studies.db"
    assert os.listdir(tmp_path) == []


def test_what_a_pipe_shows(sweep: Sweep) -> None:
    """A line per trial, the best ones, and the lines to go on with; nothing of Hydra's."""
    ended = sweep("sweeps=sgd", "n_trials=3", "pruner=none")
    lines = ended.out.splitlines()
    for number, line in enumerate(lines[:3]):
        left = r", \d+ s left" if number < 2 else ""
        pattern = rf"trial {number} completed [\d.]+  lr=[\d.e-]+  \| {number + 1}/3 "
        assert re.fullmatch(pattern + rf"\(0 pruned, 0 failed\), best [\d.]+{left}", line), line
    assert lines[3].split() == ["trial", "value", "optimizer.lr", "seconds"]
    assert [line.split(":")[0] for line in lines[7:]] == [
        "best",
        "train it",
        "as YAML",
        "look at it",
        "dashboard",
    ]
    assert f"--storage {ended.url}" in ended.out and ended.err == ""


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, accuracies are what they are times minus one."""
    real = run.Evaluator.__call__

    def negated(self: run.Evaluator) -> dict[str, float]:
        return {k: -v if k.endswith("accuracy") else v for k, v in real(self).items()}

    return lambda: monkeypatch.setattr(run.Evaluator, "__call__", negated)


def test_maximizing_a_metric_is_minimizing_its_mirror(
    sweep: Sweep, mirrored: Callable[[], None]
) -> None:
    """The same proposals, prunings and best trial; beside some that diverge."""
    command = ["sweeps=sgd", "n_trials=11", "+sampler.n_startup_trials=6", "trainer.epochs=3"]
    command += ["objective.metric=val_accuracy", "optimizer.lr=tag(log,interval(1e-4,1e38))"]
    up = sweep(*command, "objective.direction=maximize", study="up")
    mirrored()
    down = sweep(*command, "objective.direction=minimize", study="down")
    assert up.status == down.status == 0
    for one, other in zip(up.trials, down.trials, strict=True):
        assert (one.params, one.state) == (other.params, other.state)
        assert one.user_attrs["status"] == other.user_attrs["status"]
        assert one.value == (None if other.value is None else -other.value)
    ways = [one.user_attrs["status"] for one in up.trials]
    assert {*ways} == {"completed", "pruned", "diverged"}
    complete = {one.number: one.value for one in up.trials if one.state is TrialState.COMPLETE}
    best, value = max(complete.items(), key=lambda item: (item[1], -item[0]))
    assert min(complete.values()) < value
    assert f"best: trial {best}, {value:.6g}, in {up.folder}/trial-{best}\n" in up.out
    assert f"best: trial {best}, {-value:.6g}, in {down.folder}/trial-{best}\n" in down.out
    told = [float(text) for text in re.findall(r"^trial .* best (\S+?),?(?: .*)?$", up.out, re.M)]
    values = [one.value if one.number in complete else -math.inf for one in up.trials]
    assert told == pytest.approx([*accumulate(values, max)], abs=1e-4)  # trial 0 is complete
    table = [line.split()[0] for line in up.out.splitlines() if re.match(r" +\d+ +0\.\d+ ", line)]
    assert (
        table == [str(number) for number in sorted(complete, key=lambda n: (-complete[n], n))][:5]
    )
    written = OmegaConf.load(up.folder / "best.yaml")
    assert written.optimizer.lr == up.trials[best].params["optimizer.lr"]
    assert written.objective.direction == "maximize"


def test_what_becomes_of_a_trial_by_how_its_run_ended(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that end early by themselves are complete; a bad one has no value."""
    ways = [("completed", 0.5), ("early_stopped", 0.25), ("pruned", 0.125), ("diverged", math.inf)]
    told: list[tuple[int | None, Path, bool, bool]] = []

    def instead(config: Any, text: str, folder: Path, **how: Any) -> dict[str, Any]:
        status, value = ways[len(told)]
        told.append((config.trial, folder, how["quiet"], how["keep_last"]))
        assert OmegaConf.create(text).optimizer.lr == config.optimizer["lr"]
        return {"status": status, "steps": 7, "objective": {"value": value}}

    monkeypatch.setattr("src.sweeping.sweeper.run", instead)
    ended = sweep("sweeps=sgd", "n_trials=4")
    assert (ended.status, ended.err) == (0, "")
    assert told == [(n, ended.folder / f"trial-{n}", True, False) for n in range(4)]
    kept = [(one.state.name, one.value, one.user_attrs["status"]) for one in ended.trials]
    assert kept == [
        ("COMPLETE", 0.5, "completed"),
        ("COMPLETE", 0.25, "early_stopped"),
        ("PRUNED", None, "pruned"),
        ("PRUNED", None, "diverged"),
    ]
    assert [one.user_attrs["steps"] for one in ended.trials] == [7] * 4
    assert "best: trial 1, 0.25, in " in ended.out


def test_what_the_study_keeps_of_a_trial(sweep: Sweep) -> None:
    began = time.perf_counter()
    ended = sweep("sweeps=sgd", "n_trials=2", "pruner=none", "data.batch_size=64")
    passed = time.perf_counter() - began
    for trial in ended.trials:
        folder = ended.folder / f"trial-{trial.number}"
        result = json.loads((folder / "result.json").read_text())
        kept = trial.user_attrs
        assert kept["folder"] == str(folder)
        assert (kept["status"], kept["steps"]) == ("completed", result["steps"])
        assert result["train_seconds"] < kept["seconds"] < passed
        rate = trial.params["optimizer.lr"]
        lines = ["data.batch_size=64", f"optimizer.lr={rate!r}"]
        assert kept["overrides"][-2:] == lines
        names = {"owner", "folder", "overrides", "status", "steps", "seconds"}
        assert {*kept} == names | ({"proposal"} if trial.number else set())  # not of the default
        shown = [OmegaConf.load(folder / ".hydra" / f"{name}.yaml")
                 for name in ("config", "hydra", "overrides")]  # fmt: skip
        assert shown[0] == OmegaConf.load(folder / ".hydra" / "config.yaml")
        assert (shown[0].optimizer.lr, shown[0].trial) == (rate, trial.number)
        assert [*shown[1]] == ["hydra"] and shown[1].hydra.sweeper.study_name == "s"
        assert shown[2][-3:] == [*lines, f"trial={trial.number}"]


def test_failures_in_a_row_are_counted_from_the_last_success(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = run._train, []

    def flaky(*arguments: object, **settings: object) -> str:
        calls.append(1)
        if len(calls) in (1, 2, 4, 5, 7, 8, 9):
            raise RuntimeError(f"the {len(calls)}th")
        return real(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "_train", flaky)
    ended = sweep("sweeps=sgd", "n_trials=9", "pruner=none", "hydra.sweeper.max_failures=3")
    assert ended.status == 1 and states(ended.trials) == {"FAIL": 7, "COMPLETE": 2}
    assert "3 trials in a row failed, the last one with: RuntimeError: the 9th" in ended.err


def test_a_worker_prints_nothing_and_ends_without_its_controller(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever started it shows what it did; that it has gone shows at the next trial."""
    monkeypatch.setenv("FAIRSTEP_WORKER", "1")
    monkeypatch.setenv("FAIRSTEP_PARENT", str(os.getppid()))
    ended = sweep("sweeps=sgd", "n_trials=2", "n_jobs=7")
    assert (ended.status, ended.out, ended.err) == (0, "", "") and len(ended.trials) == 2
    assert not (ended.folder / "best.yaml").exists()
    real = run._train

    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    def abandoned(*arguments: object, **settings: object) -> str:
        monkeypatch.setenv("FAIRSTEP_PARENT", str(os.getppid() + 1))
        return real(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "_train", interrupted)
    ended = sweep("sweeps=sgd", "n_trials=3", "n_jobs=7")
    assert (ended.status, ended.out, ended.err) == (130, "", "")
    monkeypatch.setattr(run, "_train", abandoned)
    ended = sweep("sweeps=sgd", "n_trials=9", "n_jobs=7")
    assert states(ended.trials) == {"COMPLETE": 3, "FAIL": 1} and ended.status == 0


def test_whose_a_trials_folder_is(tmp_path: Path) -> None:
    """One that a killed worker left before it named its study is told by its number alone."""
    folder = tmp_path / "trial-3"
    folder.mkdir()
    assert _is_of(folder, "s", {2, 3})
    assert not _is_of(folder, "s", {2})
    (folder / "trial.json").write_text('{"study": "other"}')
    assert not _is_of(folder, "s", {3})
    (folder / "trial.json").write_text('{"study": "s"}')
    assert _is_of(folder, "s", {3})
    (folder / "trial.json").write_text('{"stu')
    assert _is_of(folder, "s", {3})
    assert not _is_of(tmp_path / "trial-x", "s", {3})
