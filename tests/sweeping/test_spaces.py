"""Every file in sweeps/: its space, its default configuration, and where it is found."""

import math
import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from src.composing import register
from src.config import CONF, PROJECT, job_config, parse
from tests.sweeping.conftest import Project, Sweep
from tests.sweeping.test_space import searched

FILES = sorted(path.stem for path in (PROJECT / "sweeps").glob("*.yaml"))
METHODS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
ALONE = "lbfgs"  # torch's class that has no twin here, and a space of its own
TORCH = sorted({path.stem for path in (PROJECT / "sweeps" / "torch").glob("*.yaml")} - {ALONE})
INCLUSIVE = {"adam", "adamax", "adamw", "amsgrad", "nadam", "radam"}

SGD, ADAM = (1e-4, 5.0), (1e-5, 1e-1)
BETAS = {"search.one_minus_beta1": (4e-3, 0.5), "search.one_minus_beta2": (1e-4, 1e-1)}
MOMENTUM = {"optimizer.lr": SGD, "search.one_minus_momentum": (5e-3, 1.0)}
ASKED = {
    "sgd": {"optimizer.lr": SGD},
    "momentum": MOMENTUM,
    "nesterov": MOMENTUM,
    **{name: {"optimizer.lr": ADAM, **BETAS} for name in INCLUSIVE},
    **{
        f"{name}_inclusive": {"optimizer.lr": ADAM, **BETAS, "optimizer.eps": (1e-8, 1.0)}
        for name in INCLUSIVE
    },
}


@cache
def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF)):
        return compose("config", list(overrides), return_hydra_config=True)


def space(config: DictConfig) -> dict[str, FloatDistribution]:
    lines = [f"{name}={value}" for name, value in config.hydra.sweeper.params.items()]
    return create_params_from_overrides(lines)[0]


def test_every_method_has_a_file() -> None:
    assert set(METHODS) <= set(FILES)
    assert {name.removesuffix("_inclusive") for name in FILES} == set(METHODS)
    assert {name.removesuffix("_inclusive") for name in FILES if "_" in name} >= INCLUSIVE


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_the_methods_space_and_nothing_else(name: str) -> None:
    config = composed(f"sweeps={name}")
    method = name.removesuffix("_inclusive")
    assert config.hydra.runtime.choices.optimizer == method
    assert config.hydra.runtime.choices["hydra/sweeper"] == "study"
    distributions = space(config)
    for key, distribution in distributions.items():
        assert key.startswith(("optimizer.", "search."))
        assert isinstance(distribution, FloatDistribution) and distribution.log
    if name in ASKED:
        found = {key: (one.low, one.high) for key, one in distributions.items()}
        assert found == found | ASKED[name]
    elsewhere = OmegaConf.load(PROJECT / "sweeps" / f"{name}.yaml")
    assert set(elsewhere) <= {"defaults", "search", "optimizer", "hydra"}
    assert set(elsewhere.hydra) == {"sweeper"} and set(elsewhere.hydra.sweeper) == {"params"}


@pytest.mark.parametrize("name", FILES)
def test_the_default_configuration_lies_in_the_space_and_is_the_methods_own(name: str) -> None:
    config = composed(f"sweeps={name}")
    plain = composed(f"optimizer={name.removesuffix('_inclusive')}")
    ours = parse(job_config(config)).optimizer
    for key, value in parse(job_config(plain)).optimizer.items():
        assert ours[key] == pytest.approx(value, abs=1e-15), key
    for key, distribution in space(config).items():
        assert distribution._contains(OmegaConf.select(config, key)), key


def test_every_class_of_torchs_that_has_a_twin_has_a_file() -> None:
    classes = {path.stem for path in (CONF / "optimizer" / "torch").glob("*.yaml")}
    assert {*TORCH} == classes & {*METHODS} | {"amsgrad", "momentum", "nesterov"}


@pytest.mark.parametrize("name", TORCH)
def test_torchs_own_class_is_searched_as_its_twin_is(name: str) -> None:
    """The same space; the same settings, as far as torch's class has them; a class of torch's."""
    theirs, ours = composed(f"sweeps=torch/{name}"), composed(f"sweeps={name}")
    assert space(theirs) == space(ours)
    chosen = theirs.hydra.runtime.choices
    assert (chosen.sweeps, chosen.optimizer) == (f"torch/{name}", None)
    settings, twins = (parse(job_config(config)).optimizer for config in (theirs, ours))
    assert settings.pop("_target_").startswith("torch.optim.")
    twins.pop("_target_")
    assert {key: settings[key] for key in twins} == twins
    assert parse(job_config(theirs)).model_dump(exclude={"optimizer"}) == parse(
        job_config(ours)
    ).model_dump(exclude={"optimizer"})
    own = CONF / "optimizer" / "torch" / f"{name}.yaml"
    if own.is_file():  # not of momentum, say, which is torch's SGD with a setting
        plain = parse(job_config(composed(f"optimizer=torch/{name}"))).optimizer
        for key, value in settings.items():
            assert value == pytest.approx(plain[key], abs=1e-15), key


@pytest.mark.parametrize("name", FILES)
def test_one_minus_beta_is_turned_into_beta(name: str) -> None:
    config = composed(f"sweeps={name}")
    searched = [key for key in space(config) if key.startswith("search.")]
    text = (PROJECT / "sweeps" / f"{name.removesuffix('_inclusive')}.yaml").read_text()
    for key in searched:
        assert f"${{one_minus:${{{key}}}}}" in text, "the file shows both"
        before = OmegaConf.to_container(config.optimizer, resolve=True)
        given = deepcopy(config)
        OmegaConf.update(given, key, 0.25)
        after = OmegaConf.to_container(given.optimizer, resolve=True)
        changed = [item for item in numbers(after) if item not in numbers(before)]
        assert changed == [0.75]
    for value in re.findall(r"one_minus_\w+: ([\d.e-]+)$", text, re.M):
        assert math.isfinite(float(value))


def numbers(settings: object) -> list[float]:
    values = settings.values() if isinstance(settings, dict) else settings
    if not isinstance(settings, dict | list):
        return [settings] if isinstance(settings, float) else []
    return [number for value in values for number in numbers(value)]


@pytest.mark.parametrize(
    "name",
    [name if name == "nesterov" else pytest.param(name, marks=pytest.mark.slow) for name in FILES],
)
def test_the_default_configuration_is_the_first_trial(name: str, sweep: Sweep) -> None:
    ended = sweep(f"sweeps={name}", "n_trials=2", "model=mlp", "model.hidden_sizes=[8]")
    assert ended.status == 0, ended.err
    config = composed(f"sweeps={name}")
    for key, value in ended.trials[0].params.items():
        assert value == OmegaConf.select(config, key)
    assert ended.trials[0].state is TrialState.COMPLETE


def test_sweeps_work_from_any_directory_and_with_other_overrides(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = sweep("sweeps=adam", "n_trials=1", "trainer.epochs=2", "data.batch_size=64")
    config = OmegaConf.load(ended.folder / "trial-0" / "config.yaml")
    assert (config.trainer.epochs, config.data.batch_size) == (2, 64)


def test_a_file_of_ones_own(sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sweeps").mkdir(parents=True)
    (tmp_path / "mine" / "sweeps" / "gentle.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: sgd\n"
        "  - override /hydra/sweeper: study\nhydra:\n  sweeper:\n    params:\n"
        "      optimizer.lr: tag(log, interval(1e-3, 1e-2))\n"
    )
    ended = sweep("sweeps=gentle", "n_trials=3", "--config-dir", str(tmp_path / "mine"))
    assert ended.status == 0, ended.err
    assert all(1e-3 <= trial.params["optimizer.lr"] <= 1e-2 for trial in ended.trials)


@pytest.mark.slow
def test_the_commands_of_the_documentation(project: Project) -> None:
    """From another directory, with every default in place."""
    done = project.run("-m", "sweeps=sgd", "n_trials=2", "trainer.epochs=1", "trainer.threads=1")
    assert done.returncode == 0 and done.stderr == ""
    assert (project.folder / "outputs" / "sweeps" / "sgd-digits-mlp" / "best.yaml").is_file()
    again = project.run("experiment=sgd-digits-mlp/best")
    value = re.search(r"completed: val_loss (\S+)", again.stdout)
    assert value and float(value[1]) == min(
        trial.value or math.inf for trial in project.trials("sgd-digits-mlp")
    )


def test_torchs_class_without_a_twin_has_a_space_of_its_own() -> None:
    config = composed("sweeps=torch/lbfgs")
    assert config.optimizer._target_ == "torch.optim.LBFGS"
    expected = {"lr": FloatDistribution(1e-3, 2, log=True),
                "history_size": IntDistribution(2, 100, log=True)}  # fmt: skip
    params = config.hydra.sweeper.params
    for name, distribution in expected.items():
        assert searched(params[f"optimizer.{name}"]).distribution == distribution
    assert len(params) == 2
