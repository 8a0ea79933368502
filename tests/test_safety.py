"""A run's folder from somebody else: nothing in it runs, reads or writes what it should not."""

import contextlib
import hashlib
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.helpers import Answer, Session
from tests.test_resume import unfinished
from tests.training.test_checkpoints import Malicious

ENTRIES = ("resume", "replay")


def give(session: Session, folder: Path, entry: str) -> Answer:
    """Hand the folder to an entry point."""
    import src.replay

    if entry == "resume":
        return session.train(f"resume={folder}")
    session.monkeypatch.setattr("src.replay.OUTPUTS", session.folder / "outputs")
    session.monkeypatch.setattr(sys, "argv", ["replay.py", str(folder)])
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            src.replay.main()
        except SystemExit as leaving:
            status = int(leaving.code or 0)
    return Answer(status, out.getvalue(), err.getvalue())


def everything(folder: Path) -> dict[str, Any]:
    """What lies below, links as links."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def refused(session: Session, folder: Path, entry: str, says: str) -> None:
    """One line, status 1, and not a byte has changed, in the folder or beside it."""
    before = everything(session.folder)
    answer = give(session, folder, entry)
    assert (answer.status, answer.out) == (1, ""), answer
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert everything(session.folder) == before


def edit(folder: Path, **changes: Any) -> None:
    place = folder / "config.yaml"
    place.write_text(yaml.safe_dump({**yaml.safe_load(place.read_text()), **changes}))


def touching(target: str, witness: Path) -> dict[str, Any]:
    """A node that would leave a file behind, if it were ever instantiated."""
    arguments = {
        "builtins.eval": [f"open({str(witness)!r}, 'w')"],
        "builtins.exec": [f"open({str(witness)!r}, 'w')"],
        "subprocess.check_output": [["touch", str(witness)]],
    }
    return {"_target_": target, "_args_": arguments.get(target, [f"touch {witness}"])}


TARGETS = [
    *("os.system", "subprocess.check_output", "subprocess.getoutput", "torch.hub.load"),
    *(
        "builtins.eval",
        "builtins.exec",
        "src.training.device.os.system",
        "src.optimizers.base.torch.hub.load",
    ),
    *("torch.optim.optimizer.torch.serialization.load", "src.loggers.build", "hydra.utils.call"),
    *("src.optimizers.os.system", "src.models.mlp.nn.Linear"),
]


@pytest.mark.parametrize("group", ["optimizer", "model", "scheduler", "logger"])
def test_a_target_that_is_not_allowed(session: Session, group: str) -> None:
    folder, witness = unfinished(session), session.folder / "witness"
    for number, target in enumerate(TARGETS):
        bad = touching(target, witness)
        edit(folder, **{group: {"mine": bad} if group == "logger" else bad})
        replayed = group != "logger" and number % 2  # a replay logs nothing
        refused(session, folder, "replay" if replayed else "resume", group)


NESTED = [
    lambda bad: {"_target_": "src.optimizers.Adam", "lr": bad},
    lambda bad: {"_target_": "src.optimizers.Adam", "betas": [bad, 0.9]},
    lambda bad: {"_target_": "src.optimizers.Adam", "lr": bad, "_execution_whitelist_": ["*"]},
    lambda bad: {"_target_": "src.optimizers.Adam", "lr": {**bad, "_execution_whitelist_": ["*"]}},
    lambda bad: {"_target_": "src.optimizers.Adam", "lr": {**bad, "_partial_": True}},
]


@pytest.mark.parametrize("make", NESTED)
@pytest.mark.parametrize("entry", ["resume", "replay"])
def test_a_target_within_an_allowed_one(session: Session, make: Any, entry: str) -> None:
    folder, witness = unfinished(session), session.folder / "witness"
    edit(folder, optimizer=make(touching("os.system", witness)))
    refused(session, folder, entry, "optimizer: src.optimizers.Adam(")


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "${oc.env:HOME}"},
        {"data": {"root": "${oc.env:HOME}"}},
        {"logger": {"mlflow": {"_target_": "x", "experiment_name": "a${oc.env:PATH}b"}}},
        {"optimizer": {"_target_": "src.optimizers.Adam", "${oc.env:HOME}": 1}},
    ],
)
def test_an_interpolation(session: Session, changes: dict[str, Any], entry: str) -> None:
    folder = unfinished(session)
    edit(folder, **changes)
    refused(session, folder, entry, f"{folder}: config.yaml holds an interpolation")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_python_object_in_the_config(session: Session, entry: str) -> None:
    folder, witness = unfinished(session), session.folder / "witness"
    with open(folder / "config.yaml", "a") as file:
        file.write(f'x: !!python/object/apply:os.system ["touch {witness}"]\n')
    refused(session, folder, entry, f"{folder}: config.yaml")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint(session: Session, zipped: bool) -> None:
    """Its digest fits; the good one before it is older, and is used."""
    folder, witness = unfinished(session), session.folder / "witness"
    place = folder / "checkpoints" / "step-000000099.pt"
    bad = {"model": Malicious(witness), "rows": 1}
    torch.save(bad, place, _use_new_zipfile_serialization=zipped)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    place.with_name(f"{place.name}.sha256").write_text(f"{digest}  {place.name}\n")
    answer = give(session, folder, "resume")
    assert answer.status == 0
    (line,) = answer.err.splitlines()
    assert line.startswith(f"unreadable checkpoint {place}: ")
    assert not witness.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"position": {"epoch": "x"}},
        {"position": {"nothing": 1}},
        {"position": None},
        {"rows": "3"},
        {"rows": -1},
        {"stopper": {}},
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": [{"params": [0, 1, 2, 3]}]}},
        {"generators": {"cpu": torch.zeros(3)}},
        {"model": {"layers.0.weight": torch.zeros(3)}},
        {"ended": {"a": 1}},
        {"ended": "pwned"},
        {"eval_seconds": "x"},
        {"generators": {}},
        {
            "generators": {
                "cpu": torch.Generator().manual_seed(0).get_state(),
                "optimizer.lr": torch.zeros(3),
            }
        },
        {
            "generators": {
                "cpu": torch.Generator().manual_seed(0).get_state(),
                "nothing.lr": torch.zeros(3),
            }
        },
        {"parts": {"optimizer.base": {}}},
        {"parts": []},
        {"attributes": {"optimizer": {"step": 3}}},
        {"attributes": {"optimizer": {"param_groups": []}}},
        {"attributes": {"model.layers.1": {"forward": 3}}},
        {"attributes": {"model.layers.1": {"_parameters": {}}}},
        {"attributes": {"elsewhere": {"x": 3}}},
        {"config": {"seed": 0}},
        {"config": 3},
    ],
    ids=str,
)
def test_a_checkpoint_that_is_none(session: Session, change: dict[str, Any]) -> None:
    folder = unfinished(session)
    place = max((folder / "checkpoints").glob("*.pt"))
    torch.save({**torch.load(place, weights_only=True), **change}, place)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    place.with_name(f"{place.name}.sha256").write_text(f"{digest}  {place.name}\n")
    refused(session, folder, "resume", f"{folder / 'checkpoints'}: not checkpoints of this run")


LINKS = [
    *("metrics.jsonl", "result.json", "config.yaml", "provenance.json", "checkpoints", ".hydra"),
    *(".hydra/hydra.yaml", "tensorboard", "wandb", ".lock", ".wandb-id", "anything"),
    *("checkpoints/step-000000068.pt", "checkpoints/step-000000068.pt.sha256"),
]


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_that_leads_out(session: Session, name: str, dangling: bool) -> None:
    folder, outside = unfinished(session), session.folder / "outside"
    place = folder / name
    if place.exists():
        place.rename(outside)
    elif name in ("tensorboard", "wandb"):
        outside.mkdir()
    else:
        outside.write_text("{}")
    place.symlink_to("../" * (name.count("/") + 1) + "outside")
    if dangling:
        shutil.rmtree(outside) if outside.is_dir() else outside.unlink()
    entry = ENTRIES[(LINKS.index(name) + dangling) % len(ENTRIES)]
    refused(session, folder, entry, f"{place} is a link that leads out of the run's folder")


def test_a_link_back_into_the_folder_is_fine(session: Session) -> None:
    folder = unfinished(session)
    (folder / "checkpoints").rename(folder / "kept")
    (folder / "checkpoints").symlink_to("kept")
    assert give(session, folder, "resume").status == 0


def test_a_pipe_is_not_waited_for(session: Session) -> None:
    folder = unfinished(session)
    (folder / "metrics.jsonl").unlink()
    os.mkfifo(folder / "metrics.jsonl")
    for entry in ENTRIES:
        refused(session, folder, entry, "metrics.jsonl is neither a file nor a folder")


@pytest.mark.parametrize("place", ["sqlite:////tmp/other.db", "http://elsewhere.example:5000"])
def test_nobody_elses_config_chooses_where_rows_go(session: Session, place: str) -> None:
    folder = unfinished(session)
    target = "src.loggers.mlflow.MLflow"
    node = {"_target_": target, "tracking_uri": place, "experiment_name": "x"}
    edit(folder, logger={"mlflow": node})
    refused(session, folder, "resume", f"config.yaml logs to {place}")


def test_an_id_that_is_none_is_not_used(tmp_path: Path) -> None:
    from src.loggers import read_id

    place = tmp_path / ".wandb-id"
    assert read_id(place) is None
    for text, read in [("0a9f", "0a9f"), ("../../x", None), ("", None), ("a" * 65, None)]:
        place.write_text(text)
        assert read_id(place) == read
