"""Every file in conf/ composes and builds; the schema refuses the rest."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import ValidationError
from torch import nn

from src.composing import check_choices, find, register
from src.config import CONF, PROJECT, parse
from src.errors import InputError
from src.models import MLP
from src.results import digest
from src.results.identity import config_digest
from src.targets import ALLOWED_TARGETS, allow, build
from tests.helpers import MNIST_ROOTS, composed


def choices(group: str) -> list[str]:
    folder = CONF / group
    return sorted(str(path.relative_to(folder))[:-5] for path in folder.rglob("*.yaml"))


# `protocol` belongs to `python -m src.compare`, whose tests compose it; data, losses and models are
# made for each other or aren't, so they are tried as problems.
OTHERS = ("hydra", "protocol", "data", "loss", "problem", "suite", "model")
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in OTHERS)
ALL = [(group, choice) for group in GROUPS for choice in choices(group)]
ALL += [("data", "digits"), ("loss", "cross_entropy"), ("model", "mlp"), ("model", "logreg")]


def test_the_groups_are_found() -> None:
    assert {"optimizer", "trainer", "experiment"} <= {*GROUPS}
    assert {"sgd", "momentum", "nesterov", "adam", "torch/adam"} <= {*choices("optimizer")}


@pytest.mark.parametrize(("group", "choice"), ALL, ids=["=".join(pair) for pair in ALL])
def test_every_file_composes_and_builds(group: str, choice: str) -> None:
    from src.training.build import assemble
    from src.training.loop import stepper, training_loss

    config = parse(composed(f"{group}={choice}"))
    if config.data.source["_target_"] == "src.data.mnist.load":
        root = next((str(r) for r in MNIST_ROOTS if (r / "MNIST").is_dir()), None)
        if root is None:
            pytest.skip("MNIST is not here: composed and checked, not built")
        config = parse(composed(f"{group}={choice}", f"data.root={root}"))
    parts = assemble(config)
    logits = parts.model(parts.data.test.inputs[:3])
    assert logits.shape == (3, parts.data.shapes.classes)
    before = [parameter.detach().clone() for parameter in parts.model.parameters()]
    step = stepper(parts.optimizer, partial(training_loss, parts.model, parts.loss))
    for _ in range(2):  # the first step of some methods moves nothing
        step(parts.data.test.inputs[:3], parts.data.test.targets[:3])
    after = list(parts.model.parameters())
    assert any((old != new).any() for old, new in zip(before, after, strict=True))


def test_defaults_are_the_originals() -> None:
    assert composed("optimizer=sgd").optimizer.lr == 1e-3
    for method in ("momentum", "nesterov"):
        settings = composed(f"optimizer={method}").optimizer
        assert (settings.lr, settings.momentum) == (1e-3, 0.9)
    adam = composed("optimizer=adam").optimizer
    assert (adam.lr, [*adam.betas], adam.eps) == (1e-3, [0.9, 0.999], 1e-8)
    assert [*composed().model.hidden_sizes] == [100]


def test_tutorial() -> None:
    config = parse(composed("experiment=tutorial", "optimizer=nesterov"))
    assert config.data.source == {
        "_target_": "src.data.mnist.load", "root": "data/", "mean": 0.0, "std": 1.0,
    }  # fmt: skip
    assert (config.data.batch_size, config.data.validation_fraction) == (64, 0)
    assert (config.trainer.epochs, config.trainer.evaluate_every) == (10, 10_000)
    assert config.trainer.evaluate == ["train", "test"]
    assert config.optimizer["_target_"] == "src.optimizers.Nesterov"


def test_a_signal_is_not_lost_while_a_config_is_written() -> None:
    """pydantic makes an error of its own of what is raised in Python code that it calls."""
    config, called = parse(composed()), set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code.co_name)

    sys.setprofile(profile)
    config.model_dump()
    sys.setprofile(None)
    assert called == {"model_dump"}


def refused(changes: dict[str, Any]) -> str:
    cfg = composed()
    OmegaConf.set_struct(cfg, False)
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value)
    with pytest.raises(InputError) as error:
        parse(cfg)
    return str(error.value)


@pytest.mark.parametrize("section", ["trainer", "objective", "trainer.early_stopping"])
def test_unknown_keys_are_refused(section: str) -> None:
    assert refused({f"{section}.novel": 1}) == f"{section}.novel=1: there is no such key"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", True),
        ("seed", 2**32),
        ("data.batch_size", "32"),
        ("data.validation_fraction", -0.1),
        ("data.drop_last", 1),
        ("data.shuffle", "no"),
        ("trainer.clip_norm", 0.0),
        ("trainer.clip_norm", float("nan")),
        ("trainer.accumulate", 0),
        ("trainer.deterministic", 1),
        ("trainer.evaluate", "val"),
        ("trainer.early_stopping.min_delta", -1.0),
        ("optimizer", "adam"),
    ],
)
def test_wrong_values_are_refused(key: str, value: Any) -> None:
    assert refused({key: value}).startswith(f"{key}={value}")


def test_missing_keys_are_named() -> None:
    cfg = composed()
    OmegaConf.set_struct(cfg, False)
    del cfg.data.batch_size
    with pytest.raises(InputError, match=r"data\.batch_size is missing"):
        parse(cfg)


def test_build_refuses_another_kind() -> None:
    settings = {"_target_": "src.models.MLP", "hidden_sizes": []}
    assert isinstance(build("model", settings, nn.Module, 4, 2), nn.Module)
    with pytest.raises(InputError, match=r"not a pathlib\.Path"):
        build("model", settings, Path, 4, 2)


REFUSED_TARGETS = {  # what a config names: what the line must say
    # A path through an allowed module to a class of the right kind, defined elsewhere.
    "src.models.mlp.nn.Linear": r"which is torch\.nn\.modules\.linear\.Linear\): not allowed",
    "torch.optim.optimizer.torch.nn.Linear": r"which is torch\.nn\.modules\.linear\.Linear\): not",
    "src.models.alias": r"which is tests\.test_config\.Elsewhere\): not allowed",
    # A path through a module that isn't allowed to one that is.
    "src.training.build.Constant": r"_target_=src\.training\.build\.Constant: not allowed",
    "tests.test_config.MLP": r"_target_=tests\.test_config\.MLP: not allowed",
    "MLP": "_target_=MLP: not allowed",
    "src.modelsx.MLP": "not allowed",
    "None": "_target_=None: not allowed",
    # Names that mean nothing, and what is no class.
    "src.models.MPL": "has no attribute 'MPL'",
    "src.models.nowhere.MLP": "no attribute 'nowhere'",
    "src.models.mlp": r"which is \?\.\?\): not allowed",
    "src.models.ACTIVATION": "no attribute",
    "src.training.schedules.set_lr": "not a torch",
}


class Elsewhere(nn.Module):
    """Takes what any model takes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()


@pytest.mark.parametrize("target", REFUSED_TARGETS)
def test_a_target_is_judged_by_its_name_and_by_where_it_lives(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr("src.models.alias", Elsewhere, raising=False)
    settings = {"_target_": target}
    with pytest.raises(InputError, match=REFUSED_TARGETS[target]) as error:
        build("model", settings, nn.Module, 4, 2)
    assert str(error.value).startswith(f"model._target_={target}")


def test_a_module_that_is_not_allowed_is_not_even_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harmful.py").write_text("from src.models import MLP\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for target in ("harmful.MLP", "harmful:MLP"):
        with pytest.raises(InputError, match="not allowed"):
            build("model", {"_target_": target}, nn.Module, 4, 2)
    assert "harmful" not in sys.modules


def test_one_may_allow_a_module_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", ["src.models.*"])
    target = {"_target_": "tests.test_config.Elsewhere"}
    way = r"allowed: src\.models\.\*; if you trust it.* FAIRSTEP_ALLOW='tests\.test_config\.\*'$"
    with pytest.raises(InputError, match=way):
        build("model", target, nn.Module, 4, 2)
    allow("tests.test_config.*")
    assert isinstance(build("model", target, nn.Module, 4, 2), Elsewhere)
    assert isinstance(build("model", {"_target_": "src.models.MLP"}, nn.Module, 4, 2), MLP)


def test_configs_are_found_from_any_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert composed().data._target_ == "src.data.digits.load"
    assert (PROJECT / "conf" / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, PROJECT / "outputs"), ("", PROJECT / "outputs"), ("/x/y", Path("/x/y")),
     ("~/x", Path("~/x").expanduser()), ("a b=c", Path.cwd() / "a b=c")],
)  # fmt: skip
def test_where_everything_is_kept(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: Path
) -> None:
    monkeypatch.delenv("FAIRSTEP_OUTPUTS", raising=False)
    if value is not None:
        monkeypatch.setenv("FAIRSTEP_OUTPUTS", value)
    code = "from src.config import OUTPUTS; print(OUTPUTS)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == str(expected)


NAMES = {  # overrides: the run's name, the study's name
    (): ("adam-digits", "adam-digits-mlp"),
    ("optimizer=torch/adam",): ("torch-adam-digits", "torch-adam-digits-mlp"),
    ("sweeps=adam",): ("adam-digits", "adam-digits-mlp"),
    ("sweeps=adam_inclusive", "model=logreg"): ("adam-digits", "adam_inclusive-digits-logreg"),
    ("sweeps=sgd", "optimizer=torch/sgd"): ("torch-sgd-digits", "sgd-torch-sgd-digits-mlp"),
    ("sweeps=sgd", "optimizer=adam"): ("adam-digits", "sgd-adam-digits-mlp"),
}


@pytest.mark.parametrize("overrides", NAMES)
def test_names_tell_what_is_trained(overrides: tuple[str, ...]) -> None:
    register()
    with initialize_config_dir(str(CONF)):
        given = ["hydra/sweeper=study", *overrides]
        hydra = compose("config", given, return_hydra_config=True).hydra
    run, study = NAMES[overrides]
    assert Path(hydra.run.dir).name.endswith(f"-{run}")
    assert hydra.sweeper.study_name == study


class Chained(nn.Module):
    """Refuses its settings with an error that has a cause."""

    def __init__(self, *sizes: int, x: int) -> None:
        try:
            raise ValueError("the first\n  reason")
        except ValueError as error:
            raise RuntimeError("around it") from error


def test_the_last_cause_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", ["tests.test_config.*"])
    with pytest.raises(InputError, match=r"Chained\(x=1\): the first reason$"):
        build("model", {"_target_": "tests.test_config.Chained", "x": 1}, nn.Module, 3, 2)


def test_an_interpolation_that_leads_nowhere() -> None:
    cfg = composed()
    OmegaConf.update(cfg, "optimizer.lr", "${nowhere.at.all}")
    with pytest.raises(InputError, match=r"nowhere\.at\.all' not found"):
        parse(cfg)


def test_a_choice_that_no_source_holds_says_nothing() -> None:
    register()
    with initialize_config_dir(str(CONF)):
        cfg = compose("config", return_hydra_config=True)
    assert find(cfg, "experiment", "nowhere/best") == {}
    assert find(cfg, "experiment", None) == {}
    assert find(cfg, "sweeps", "adam")["search"]


MINE = """# @package _global_
defaults:
  - override /optimizer: sgd
  - override /model: logreg
optimizer:
  _target_: src.optimizers.SGD
  lr: 0.25
trainer:
  epochs: 3
"""


@pytest.mark.parametrize(
    ("beside", "refused"),
    [
        ([], None),
        (["optimizer=sgd"], None),  # as the experiment says itself
        (["optimizer.lr=1.0", "data=mnist", "trainer=default"], None),
        (["model=mlp"], None),  # which the experiment only chooses
        (["optimizer=adam"], "optimizer=adam: experiment=mine says itself what the optimizer is"),
        (["optimizer=torch/sgd"], "optimizer=torch/sgd: experiment=mine says itself"),
    ],
)
def test_an_experiment_beside_another_choice(
    tmp_path: Path, beside: list[str], refused: str | None
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(MINE)
    register()
    with initialize_config_dir(str(CONF)):
        given = ["experiment=mine", f"hydra.searchpath=[file://{tmp_path}]", *beside]
        cfg = compose("config", given, return_hydra_config=True)
    if refused is None:
        check_choices(cfg)
        return
    with pytest.raises(InputError) as error:
        check_choices(cfg)
    assert str(error.value).startswith(refused)


def test_a_checked_config_stays_as_it_was_checked() -> None:
    config = parse(composed())
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_what_may_be_named_and_nothing_else() -> None:
    """The security boundary, in full: a longer list is a decision."""
    assert sorted(ALLOWED_TARGETS) == [
        "optuna.pruners.*",
        "optuna.samplers.*",
        "src.data.*",
        "src.hooks.Check",
        "src.loggers.*",
        "src.losses.*",
        "src.models.*",
        "src.optimizers.*",
        "src.sweeping.samplers.*",
        "src.training.schedules.*",
        "torch.optim.*",
        "torchvision.models.*",
    ]


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("theirs.optim.A", "begin the command with FAIRSTEP_ALLOW='mine.*,theirs.optim.*'"),
        ("x'; touch PWNED; '.y", ""),
        ("$(touch PWNED).y", ""),
        ("adam", ""),
        ("a b.c", ""),
        ("*.A", ""),
    ],
)
def test_how_to_allow_a_class_is_said_of_names_only(
    monkeypatch: pytest.MonkeyPatch, target: str, advice: str
) -> None:
    """A target may be from somebody else's config, and people paste what they read."""
    monkeypatch.setenv("FAIRSTEP_ALLOW", "mine.*")
    with pytest.raises(InputError) as error:
        build("model", {"_target_": target}, nn.Module, 4, 2)
    _, _, said = str(error.value).partition("; if you trust it, ")
    assert said == advice


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.evaluate=[val,val]"], r"trainer\.evaluate=\['val', 'val'\]: names a set twice"),
        (
            ["objective.metric=test_loss"],
            r"objective\.metric=test_loss: trainer\.evaluate=\['val'\] does not evaluate that set",
        ),
        (
            ["data.validation_fraction=0"],
            r"trainer\.evaluate=\['val'\]: data\.validation_fraction=0 leaves no validation set",
        ),
    ],
)
def test_a_metric_that_no_row_would_hold(overrides: list[str], line: str) -> None:
    with pytest.raises(InputError, match=f"^{line}$"):
        parse(composed(*overrides))


def test_a_run_without_validation_may_watch_what_it_has() -> None:
    watching = ("trainer.evaluate=[train]", "objective.metric=train_loss")
    config = parse(composed("data.validation_fraction=0", *watching))
    assert config.data.validation_fraction == 0


@pytest.mark.parametrize("metric", ["loss", "val", "val_", "dev_loss", "train_seconds", ""])
def test_what_is_no_metric(metric: str) -> None:
    with pytest.raises(InputError, match=f"^objective.metric={metric}: must be SET_NAME"):
        parse(composed(f"objective.metric={metric}"))


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("val_loss", "minimize"), ("val_accuracy", "maximize"), ("val_mae", "minimize")],
)
def test_a_metric_says_which_way_it_is_better(metric: str, direction: str) -> None:
    """Whoever watches the accuracy and says no more would else get the worst of it."""
    assert parse(composed(f"objective.metric={metric}")).objective.direction == direction


OLD_DATA = {"name": "digits", "root": None, "batch_size": 32, "validation_fraction": 0.2,
            "split_seed": 0, "mean": 0.0, "std": 1.0}  # fmt: skip


def test_a_config_of_before_is_the_same_experiment() -> None:
    """Configs named one of four sets of pictures, and had no loss."""
    now = OmegaConf.to_container(composed(), resolve=True)
    assert isinstance(now, dict)
    before = {**now, "data": OLD_DATA, "trainer": {**now["trainer"]}}
    before["sampler"] = {"_target_": now["sampler"]["_target_"]}
    del before["loss"]
    for key in ("clip_norm", "accumulate", "stack"):
        del before["trainer"][key]
    old, new = parse(OmegaConf.create(before)), parse(composed())
    assert old.data.source == new.data.source
    # What the version before wrote into result.json for `python -m src.train`.
    written = digest({**before, "logger": {}})
    assert config_digest(old) == config_digest(new) == written
    beside = OmegaConf.merge(now, {"data": OLD_DATA})  # as an experiment of before is composed now
    assert config_digest(parse(beside)) == written
    assert config_digest(parse(composed("data.shuffle=false"))) != written
    assert config_digest(parse(composed("loss.label_smoothing=0.1"))) != written
    assert config_digest(parse(composed("trainer.clip_norm=1"))) != written
