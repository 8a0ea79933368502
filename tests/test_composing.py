"""Search spaces and past studies are found when they are asked for, and not before."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from src.composing import Beside, check_choices, file_of, register
from src.config import CONF, PROJECT
from src.errors import InputError

BEST = "# @package _global_\noptimizer:\n  lr: 0.25\n"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path)
    for name, file in {"one": "best.yaml", "two": "best.yaml", "none": "other.yaml"}.items():
        folder = tmp_path / "sweeps" / name
        folder.mkdir(parents=True)
        (folder / file).write_text(BEST)
    register()
    return tmp_path


def test_what_is_there(outputs: Path) -> None:
    beside = Beside("fairstep", "fairstep://")
    assert beside.available()
    assert beside.list("", None) == beside.list("", ObjectType.GROUP) == ["experiment", "sweeps"]
    assert beside.list("", ObjectType.CONFIG) == []
    assert beside.list("experiment", ObjectType.CONFIG) == ["one/best", "two/best"]
    assert beside.list("experiment", ObjectType.GROUP) == []
    assert beside.list("sweeps", None) == sorted(
        path.stem for path in (PROJECT / "sweeps").iterdir()
    )
    assert all(beside.is_group(name) for name in ("", "/", "sweeps", "experiment"))
    assert not any(beside.is_group(name) for name in ("optimizer", "experiment/one", "sweeps/adam"))
    configs = ("sweeps/adam", "sweeps/adam.yaml", "experiment/one/best", "experiment/two/best.yaml")
    assert all(beside.is_config(name) for name in configs)
    for name in ("sweeps/nowhere", "sweeps", "experiment/none/best", "experiment/none/other",
                 "experiment/one", "experiment/../best", "sweeps/../sweeps/adam", "optimizer/adam",
                 "experiment/one/../two/best"):  # fmt: skip
        assert not beside.is_config(name), name
    assert file_of("experiment/one/best") == outputs / "sweeps" / "one" / "best.yaml"


def test_a_study_that_ends_meanwhile_is_found(outputs: Path) -> None:
    with initialize_config_dir(str(CONF)):
        assert compose("config", ["experiment=two/best"]).optimizer.lr == 0.25
        late = outputs / "sweeps" / "late"
        late.mkdir()
        (late / "best.yaml").write_text(BEST.replace("0.25", "0.5"))
        assert compose("config", ["experiment=late/best"]).optimizer.lr == 0.5
        loader = GlobalHydra.instance().config_loader()
        choices = loader.get_group_options("experiment")
        assert choices == ["late/best", "one/best", "tutorial", "two/best"]


def test_no_file_is_read_before_it_is_asked_for(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = OmegaConf.load

    def watched(file: object) -> object:
        read.append(str(getattr(file, "name", file)))
        return load(file)  # type: ignore[arg-type]

    monkeypatch.setattr(OmegaConf, "load", watched)
    register()
    with initialize_config_dir(str(CONF)):
        compose("config", ["sweeps=adam"])
        compose("config", ["experiment=one/best"])
    beside = [name for name in read if "sweeps" in Path(name).parts]
    assert beside == [str(PROJECT / "sweeps" / "adam.yaml"), str(outputs / "sweeps/one/best.yaml")]


def test_of_two_files_of_a_name_neither_is_taken_silently(outputs: Path, tmp_path: Path) -> None:
    """Hydra would take the project's, and one's own would be passed over."""
    (tmp_path / "mine" / "sweeps").mkdir(parents=True)
    (tmp_path / "mine" / "sweeps" / "adam.yaml").write_text(BEST)
    with initialize_config_dir(str(CONF)):
        where = f"hydra.searchpath=[file://{tmp_path}/mine]"
        config = compose("config", ["sweeps=adam", where], return_hydra_config=True)
    with pytest.raises(InputError, match=r"sweeps=adam: there are two, .*; rename yours"):
        check_choices(config)
    with initialize_config_dir(str(CONF)):
        where = f"hydra.searchpath=[file://{CONF},file://{CONF}/../conf]"  # the same, three times
        check_choices(compose("config", ["experiment=tutorial", where], return_hydra_config=True))


def test_files_that_cannot_be_read_are_one_line(outputs: Path) -> None:
    (outputs / "sweeps" / "one" / "best.yaml").write_text("a: [\n")
    beside = Beside("fairstep", "fairstep://")
    assert not beside.is_config(f"experiment/{'a' * 300}/best")
    with pytest.raises(InputError, match=r"one/best\.yaml: while parsing") as error:
        beside.load_config("experiment/one/best")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "study"),
    [
        (["sweeps=adam"], "adam-digits-mlp"),
        (["sweeps=adam_inclusive", "model=logreg"], "adam_inclusive-digits-logreg"),
        (["sweeps=torch/adam", "data=mnist"], "torch-adam-mnist-mlp"),
        (["sweeps=sgd", "optimizer=lion"], "sgd-lion-digits-mlp"),
    ],
)
def test_a_study_is_named_after_what_it_searches(
    outputs: Path, overrides: list[str], study: str
) -> None:
    with initialize_config_dir(str(CONF)):
        config = compose("config", overrides, return_hydra_config=True)
    assert config.hydra.sweeper.study_name == study
    assert Path(config.hydra.sweep.dir) == outputs / "sweeps" / study
