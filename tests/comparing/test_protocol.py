"""What a comparison is told, and what makes two of them the same one."""

import json
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from src.comparing import outlook
from src.comparing.conduct import Job
from src.comparing.ledger import Ledger
from src.comparing.problems import several
from src.comparing.protocol import Plan, plan
from src.comparing.record import Search, Trial
from src.composing import register
from src.config import PROJECT
from src.errors import InputError

METHODS = "methods=[adam,adamw]"


@pytest.fixture(autouse=True)
def registered() -> None:
    register()


@cache  # to compose it takes most of a test's time
def usual() -> Plan:
    return plan([METHODS])


@pytest.mark.parametrize(
    "change",
    ["optimizer.weight_decay=0.1", "optimizer.lr=0.1", "trainer.epochs=7", "protocol.seeds=7",
     "sampler=random", "hydra.sweeper.params.optimizer\\.lr='interval(1e-3,1e-2)'"],
)  # fmt: skip
def test_another_setting_is_another_comparison(change: str) -> None:
    """A finished one must not be shown as the answer to another question."""
    assert usual().hash() != plan([METHODS, change]).hash()


@pytest.mark.parametrize(
    "change",
    [
        "protocol.name=b",
        "n_jobs=2",
        "hydra/launcher=local",
        "logger=tensorboard",
        "+data.root=/elsewhere",
    ],
)
def test_how_it_is_carried_out_is_no_other_comparison(change: str) -> None:
    assert usual().hash() == plan([METHODS, change]).hash()


def test_what_makes_two_comparisons_the_same() -> None:
    """Each method's settings and space stand under its name; what all share, once."""
    settings = plan([METHODS, "protocol.seeds=7", "trainer.epochs=3"]).settings()
    assert settings["methods"] == ["adam", "adamw"]
    assert (settings["protocol.seeds"], settings["trainer.epochs"]) == (7, 3)
    assert settings["method.adam.optimizer._target_"] == "src.optimizers.Adam"
    assert settings["method.adamw.optimizer._target_"] == "src.optimizers.AdamW"
    assert settings["method.adam.space.optimizer.lr"].startswith("tag(log, interval(")
    assert "method.adam.search.one_minus_beta1" in settings
    assert "protocol.first_search" not in settings  # as in comparisons of before
    other = plan([METHODS, "protocol.first_search=3"])
    assert (other.settings()["protocol.first_search"], other.search_seed(2)) == (3, 5)
    shared = {key.split(".")[0] for key in settings}
    assert not shared & {"optimizer", "search", "trial", "resume", "logger", "sweeps", "study"}
    assert not {"protocol.name", "protocol.n_jobs", "data.root"} & settings.keys()


def test_it_is_named_after_methods_data_and_model() -> None:
    assert plan(["methods=[sgd,adam]", "model=logreg"]).name == "sgd-adam-digits-logreg"
    for name in ("mine", "m" * 255):  # as long as a folder's name can be
        assert plan(["methods=[sgd,adam]", f"protocol.name={name}"]).name == name


def test_the_seeds_below_the_first_are_the_searches() -> None:
    """Searches have the seeds 0, 1, ...: no run may have one of those."""
    made = plan([METHODS, "protocol.searches=100", "protocol.first_seed=100"])
    assert (made.protocol.searches, made.protocol.first_seed) == (100, 100)
    with pytest.raises(InputError, match=r"protocol\.first_seed=100: must be 101 or more"):
        plan([METHODS, "protocol.searches=101", "protocol.first_seed=100"])


def test_studies_are_shared_by_comparisons_that_search_alike() -> None:
    asked, wider = usual(), plan(["methods=[adam,adamw,sgd]", "protocol.seeds=3"])
    assert asked.study("adam", 0) == wider.study("adam", 0)
    assert len({asked.study("adam", 0), asked.study("adam", 1), asked.study("adamw", 0)}) == 3
    assert asked.study("adam", 0) != plan([METHODS, "trainer.epochs=3"]).study("adam", 0)
    longer = plan([METHODS, "protocol.n_trials=32"])  # which begins as the shorter one does
    assert asked.study("adam", 0) == longer.study("adam", 0)
    later = plan([METHODS, "protocol.first_search=1"])
    assert asked.study("adam", 1) == later.study("adam", 0) != later.study("adam", 1)
    for more in ("trainer.stack=1", "trainer.stack=4", "sampler.batch=1"):  # which change nothing
        same = plan([METHODS, more])
        assert (same.study("adam", 0), same.hash()) == (asked.study("adam", 0), asked.hash())
    assert asked.study("adam", 0) != plan([METHODS, "sampler.batch=4"]).study("adam", 0)
    other = plan([METHODS, "optimizer.weight_decay=0.1"])  # a setting of the method's own
    assert asked.study("adam", 0) != other.study("adam", 0)


def test_torchs_own_classes() -> None:
    """Their names have a slash, and what is named after them has none."""
    made = plan(["methods=[torch/adam,adam]"])
    assert made.name == "torch-adam-adam-digits-mlp"
    assert made.study("torch/adam", 0).startswith("torch-adam-digits-mlp-")
    assert made.method_settings("torch/adam")["space"] == made.method_settings("adam")["space"]
    assert made.job("torch/adam").optimizer._target_ == "torch.optim.Adam"
    assert Job("torch/adam", "tuned", 0, 7, {}).folder_name == "torch-adam-tuned-0-seed-7"


def own_files(folder: Path, *names: str) -> str:
    """One's own methods, each SGD by another name; the override that finds them."""
    text = "# @package _global_\ndefaults:\n  - /sweeps/sgd\n"
    for name in names:
        file = folder / "sweeps" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return f"hydra.searchpath=[file://{folder}]"


def test_an_optimizer_of_ones_own_in_a_folder(tmp_path: Path) -> None:
    """Chosen as the files of sweeps/torch/ choose torch's."""
    where = own_files(tmp_path, "lab/mine")
    optimizer = tmp_path / "optimizer" / "lab" / "mine.yaml"
    optimizer.parent.mkdir(parents=True)
    optimizer.write_text("_target_: src.optimizers.SGD\nlr: 0.25\n")
    text = (PROJECT / "sweeps" / "torch" / "sgd.yaml").read_text()
    (tmp_path / "sweeps" / "lab" / "mine.yaml").write_text(text.replace("torch/sgd", "lab/mine"))
    made = plan(["methods=[lab/mine,sgd]", where])
    assert made.method_settings("lab/mine")["optimizer"] == {
        "_target_": "src.optimizers.SGD",
        "lr": 0.25,
    }
    assert made.method_settings("lab/mine")["space"] == made.method_settings("sgd")["space"]


def test_ones_own_methods_in_folders(tmp_path: Path) -> None:
    where = own_files(tmp_path, "lab/mine", "lab-mine", "my own")
    made = plan(["methods=[lab/mine,sgd]", where])
    assert (made.name, made.methods) == ("lab-mine-sgd-digits-mlp", ("lab/mine", "sgd"))
    assert made.study("lab/mine", 0).startswith("lab-mine-digits-mlp-")
    with pytest.raises(InputError, match="must be two different methods or more"):
        plan(["methods=[lab/mine,lab-mine]", where])  # their folders would be the same
    with pytest.raises(InputError, match="methods=my own: must be letters, digits"):
        plan(["methods=['my own',sgd]", where, "protocol.name=named"])
    with pytest.raises(InputError, match=r"methods: lab/mini: no such .* lab/mine, torch/adadelta"):
        plan(["methods=[lab/mini,sgd]", where])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.metric=test_loss", "trainer.evaluate=[val,test]"], "objective.metric=test"),
        (["trainer.evaluate=[val,test]"], "must hold val and not test"),
        (["trainer.evaluate_at_end=[test]"], "must hold val and not test"),
        (["objective.direction=maximize"], "must be minimize for val_loss"),
        (["n_trials=7"], "use protocol.n_trials"),
        (["hydra.sweeper.n_jobs=2"], "use protocol.n_jobs"),
        (["seed=3"], "use protocol.first_seed"),
        (["resume=somewhere"], "sets resume itself"),
        (["protocol.name=../../escaped"], "must be letters, digits"),
        (["protocol.name=/tmp/elsewhere"], "must be letters, digits"),
        (["protocol.name=.hidden"], "must be letters, digits"),
        (["methods=[torch/adam,torch/sgd]", "optimizer=muon"], "optimizer=muon: sweeps=torch/adam"),
        (["methods=[adam]"], "must be two different methods or more"),
        (["methods=[adam,sgd,adam]"], "must be two different methods or more"),
        (["methods=[adam,mine]"], "methods: mine: no such file in sweeps/; there are ad"),
        (["protocol.reference=sgd"], "protocol.reference=sgd: must be one of the methods"),
        (["optimizer=adam"], "adamw would be src.optimizers.Adam and not src.optimizers.AdamW"),
        (["data=[digits]"], "data: must be one of its choices"),
    ],
)
def test_what_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan([METHODS, *overrides])


def test_selection_by_accuracy() -> None:
    made = plan([METHODS, "objective.metric=val_accuracy"])
    assert made.settings()["objective.metric"] == "val_accuracy"


def test_a_ledger_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.note("searched", "a")
    place = tmp_path / "ledger.jsonl"
    place.write_text(place.read_text() + '{"time": "2026-')
    ledger.note("searched", "b")
    ledger.note("searched", "a")
    assert [line.detail for line in ledger.read()] == ["a", "b"]
    assert json.loads(place.read_text().splitlines()[-1])["detail"] == "b"


def test_a_ledger_keeps_each_event_once_and_when(tmp_path: Path) -> None:
    """One line for each, none between them; the same detail of another event is another."""
    ledger = Ledger(tmp_path)
    assert ledger.read() == []
    for event, detail in (("searched", "a"), ("tested", "a"), ("searched", "b"), ("tested", "a")):
        ledger.note(event, detail)
    lines = (tmp_path / "ledger.jsonl").read_bytes().split(b"\n")
    assert len(lines) == 4
    assert lines[-1] == b""
    found = ledger.read()
    assert [json.loads(line) for line in lines[:-1]] == [line.model_dump() for line in found]
    told = [(line.event, line.detail) for line in found]
    assert told == [("searched", "a"), ("tested", "a"), ("searched", "b")]
    age = datetime.now() - datetime.fromisoformat(found[0].time)
    assert abs(age.total_seconds()) < 60


@pytest.mark.parametrize("torn", [b"{", b"\xff\xfe"])
def test_a_ledger_of_torn_bytes_alone(tmp_path: Path, torn: bytes) -> None:
    """A power cut may leave any bytes; the next event begins a line of its own."""
    (tmp_path / "ledger.jsonl").write_bytes(torn)
    ledger = Ledger(tmp_path)
    ledger.note("searched", "a")
    assert [line.detail for line in ledger.read()] == ["a"]
    assert (tmp_path / "ledger.jsonl").read_bytes().startswith(torn + b"\n{")


def test_settings_are_resolved() -> None:
    """What a reader of the protocol sees are values."""
    made = plan([METHODS, "trainer.evaluate_every=${data.batch_size}"])
    assert made.settings()["trainer.evaluate_every"] == 32
    assert made.method_settings("adam")["optimizer"]["betas"] == [0.9, 0.999]
    asked = plan([METHODS, "protocol.seeds=${protocol.n_trials}", "protocol.n_trials=6"])
    assert (asked.protocol.seeds, asked.protocol.n_trials) == (6, 6)


def test_the_reference_is_one_of_the_methods() -> None:
    assert plan([METHODS, "protocol.reference=adamw"]).protocol.reference == "adamw"


def test_what_the_command_line_sets_is_not_searched() -> None:
    """By no method, whatever the protocol is told beside it."""
    searched = {*plan([METHODS, "protocol.seeds=3"]).spaces["adam"]}
    set_by_hand = plan([METHODS, "optimizer.lr=0.1", "protocol.seeds=3"]).spaces
    assert {*set_by_hand["adam"]} == searched - {"optimizer.lr"} != searched


def test_methods_of_ones_own_are_found_where_the_command_line_says(tmp_path: Path) -> None:
    """Not one of a name that the project has: that would be passed over."""
    (tmp_path / "sweeps").mkdir()
    text = (PROJECT / "sweeps" / "sgd.yaml").read_text()
    where = f"hydra.searchpath=[file://{tmp_path}]"
    (tmp_path / "sweeps" / "mine.yaml").write_text(text)
    assert plan(["methods=[adam,mine]", where]).methods == ("adam", "mine")
    with pytest.raises(InputError, match=r"methods: other: no such file in sweeps/; .*, mine,"):
        plan(["methods=[adam,other]", where])
    (tmp_path / "sweeps" / "sgd.yaml").write_text(text)
    with pytest.raises(InputError, match="sweeps=sgd: there are two"):
        plan(["methods=[adam,sgd]", where])


def test_settings_of_a_method_without_files() -> None:
    """Two of one method, named after what differs or as one likes; what is fixed isn't searched."""
    made = plan(["methods=[adam,{adam:{eps:1e-3}},{adam:{lr:0.1,name:fast}}]"])
    assert made.methods == ("adam", "adam-eps=0.001", "fast")
    assert made.sweeps == dict.fromkeys(made.methods, "adam")
    assert [made.job(name).optimizer.eps for name in made.methods] == [1e-8, 1e-3, 1e-8]
    assert "optimizer.lr" in made.spaces["adam-eps=0.001"]
    assert "optimizer.lr" not in made.spaces["fast"]
    assert len({made.study(name, 0).rpartition("-")[2] for name in made.methods}) == 3
    warm = plan(["methods=[sgd,{sgd:{scheduler.warmup_steps:10}}]"])
    assert warm.job(warm.methods[1]).scheduler.warmup_steps == 10
    assert warm.job("sgd").scheduler.warmup_steps == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["methods=[sgd,{adam:{}}]"], "must have a setting, as in"),
        (["methods=[sgd,{adam:{eps:1},sgd:{lr:1}}]"], "must be a name, or one with settings"),
        (["methods=[sgd,{mine:{eps:1}}]"], "methods: mine: no such file"),
        (["methods=[sgd,{sgd:{name:sgd,lr:1}}]"], "must be two different methods or more"),
        (["methods=sgd,adam"], r"a comparison takes a list, methods=\[...\]"),
        (["protocol.looks=[20,10]"], "must be growing numbers of seeds"),
        (["protocol.looks=[4]"], "the last must be 6 or more"),
        (["protocol.margin=-1"], r"protocol\.margin=-1\.0: must be a share"),
        (["protocol.margin=much"], "protocol.margin=much: must be a share"),
        (
            ["protocol.seeds=some"],
            r"^protocol\.seeds=some: must be a whole number from 2 on, or auto",
        ),
        (["protocol.searches=0"], r"^protocol\.searches=0: must be a whole number from 1 on"),
    ],
)
def test_what_else_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan([METHODS, *overrides])


@pytest.mark.parametrize(
    ("given", "searches", "most"),
    [
        ((), "auto", 15),
        (("protocol.searches=null", "protocol.looks=[10,20]"), "auto", 6),
        (("protocol.seeds=10",), 1, 1),
        (("protocol.seeds=10", "protocol.searches=auto"), "auto", 3),
        (("protocol.searches=2",), 2, 2),
    ],
)
def test_how_many_searches(given: tuple[str, ...], searches: int | str, most: int) -> None:
    """As many as it takes, unless something says how large the comparison is to be."""
    protocol = plan([METHODS, *given]).protocol
    assert (protocol.searches, protocol.most_searches) == (searches, most)


@pytest.mark.parametrize(
    ("given", "searches"),
    [((), 1), (("protocol.searches=null",), 1), (("protocol.searches=auto",), "auto")],
)
def test_how_many_searches_over_problems(given: tuple[str, ...], searches: int | str) -> None:
    """There each problem has a search, and so the luck of one, of its own."""
    made = several([METHODS, "problems=[wine,diabetes]", *given])
    assert made is not None
    assert [one.protocol.searches for one in made.plans.values()] == [searches, searches]


def test_the_plan_in_words() -> None:
    """Trials and the least and most runs, by hand: 2 methods, winners and defaults."""
    told = [*outlook.lines(plan([METHODS, "protocol.n_trials=5", "protocol.searches=1"]))]
    assert told[0] == "Which of adam and adamw ends with the lower test loss, on digits with mlp?"
    assert "1 search of 5 trials: 10 trials in all" in told[1]
    assert "10 fresh seeds" in told[2]
    assert "40 runs. Winners" in told[2]
    assert "20, 40, 80 and 160: 340 runs at most" in told[2]
    fixed = [*outlook.lines(plan([METHODS, "protocol.seeds=3"]))]
    assert "trained on 3 fresh seeds: 12 runs." in fixed[2]


def test_the_verdicts_metric_is_the_objectives_on_the_test_set() -> None:
    """... unless it is given; asked for by its name, it is the same comparison."""
    assert usual().protocol.metric == "test_loss"
    assert usual().hash() == plan([METHODS, "protocol.metric=test_loss"]).hash()
    accuracy = ["objective.metric=val_accuracy"]
    assert plan([METHODS, *accuracy]).protocol.metric == "test_accuracy"
    given = plan([METHODS, *accuracy, "protocol.metric=val_loss"])
    assert given.protocol.metric == "val_loss"


def test_every_trial_is_trained_to_its_end_by_default() -> None:
    """A pruner may be given; the plan says so, and it makes another comparison."""
    whole, pruned = usual(), plan([METHODS, "pruner=asha"])
    assert whole.job("adam").pruner._target_ == "optuna.pruners.NopPruner"
    assert pruned.job("adam").pruner._target_ == "optuna.pruners.SuccessiveHalvingPruner"
    assert "of 16 trials, and more" in [*outlook.lines(whole)][1]
    assert "of 16 trials, pruned by asha, and more" in [*outlook.lines(pruned)][1]
    assert whole.hash() != pruned.hash()


def test_the_time_left() -> None:
    """Ten seconds a run, by one complete trial; 9 trials more, then 40 to 340 runs."""
    made = plan([METHODS, "protocol.n_trials=5", "protocol.searches=1"])
    assert outlook.left(made, [], 0) == ""
    trials = [Trial(number=n, state="complete", seconds=10.0) for n in range(5)]
    done = [Search(method=name, trials=trials) for name in made.methods]
    assert outlook.left(made, done, 0) == "about 7 minutes to 57 minutes left"
    assert outlook.left(made, done[:1], 0) == "about 8 minutes to 58 minutes left"
    assert outlook.left(made, done, 4) == "about 6 minutes to 56 minutes left"
    assert outlook.remaining(made, [], 3) == ""
    assert outlook.remaining(made, [5.0, 15.0], 1) == "about 8 minutes to 58 minutes left"


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (
            ["hydra/launcher=basic"],
            "hydra/launcher=basic: no launcher of workers .allowed: .*local",
        ),
        (["hydra/launcher=submitit_slurm"], "SQLite serves one machine.*storage=postgresql"),
        (["n_jobs=0"], "protocol.n_jobs=0: input should be greater than or equal to 1"),
    ],
)
def test_where_workers_can_be(lines: list[str], named: str) -> None:
    if "submitit_slurm" in lines[0]:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    with pytest.raises(InputError, match=named):
        plan([METHODS, *lines])


def test_who_makes_a_comparison_is_told() -> None:
    """Where it is this process alone, nothing is said."""
    told = [[*outlook.workers(plan([METHODS, *lines]))]
            for lines in ([], ["n_jobs=1", "hydra/launcher=local"], ["n_jobs=3"])]  # fmt: skip
    assert told == [[], [], ["3 workers of this machine make searches and runs."]]
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    made = plan([METHODS, "n_jobs=16", "hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=4",
                 "hydra.sweeper.storage=postgresql://me@host/db"])  # fmt: skip
    assert [*outlook.workers(made)] == ["16 workers on submitit_slurm make searches and runs."]
    assert made.launcher is not None and made.launcher.config.hydra.launcher.mem_gb == 4
    assert not any("launcher" in line for lines in made.overrides.values() for line in lines)
