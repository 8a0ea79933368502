"""Loggers, each read back with its own library; and none of them can end a run."""

import json
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from src.errors import InputError
from src.loggers import Loggers
from tests.helpers import Session, finish, result, rows, start
from tests.killing import ended, fork, train
from tests.test_resume import dying

SHORT = ("trainer.epochs=2", "trainer.evaluate_every=400", "trainer.checkpoint_every=0")
NAMES = ("batch_loss", "val_loss", "val_accuracy", "lr", "train_seconds", "samples")


def needs(package: str) -> None:
    pytest.importorskip(package, reason=f"the extra {package} is not installed")


def logged(session: Session, *settings: str, name: str = "run") -> Path:
    folder = session.folder / name
    answer = session.train(*SHORT, *settings, f"hydra.run.dir={folder}")
    assert (answer.status, answer.err) == (0, ""), answer
    return folder


def resumed(session: Session, *settings: str) -> Path:
    """A run that was killed between a row that is logged and its checkpoint, and went on."""
    folder = session.folder / "run"

    def action() -> None:
        from src.training.run import Session as Run

        dying("save", 4)(Run)
        train(*SHORT, *settings, f"hydra.run.dir={folder}")()

    assert ended(fork(action, session.folder / "log")) == -9, (session.folder / "log").read_text()
    assert len(rows(folder)) == 4
    time.sleep(1)  # TensorBoard tells the order of its files by the second in their names
    answer = session.train(f"resume={folder}", *[item for item in settings if "logger" in item])
    assert (answer.status, answer.err) == (0, "")
    return folder


def expected(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows(folder)]


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return read


@pytest.mark.parametrize("way", ["at once", "resumed"])
def test_tensorboard(session: Session, way: str) -> None:
    needs("tensorboard")
    make = logged if way == "at once" else resumed
    folder = make(session, "logger=tensorboard", "optimizer.lr=0.002")
    read = events(folder)
    for name in NAMES:
        scalars = [(event.step, event.value) for event in read.Scalars(name)]
        assert scalars == expected(folder, name)
    texts = {
        tag.split("/")[0]: read.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
        for tag in read.Tags()["tensors"]
    }
    assert texts["status"] == "completed"
    assert "lr: 0.002" in texts["config"]


def history(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    points = client.get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def check_mlflow(uri: str, folder: Path, names: tuple[str, ...] = NAMES) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("fairstep").experiment_id])
    assert run.info.run_name == folder.name
    assert run.info.status == "FINISHED"
    assert run.data.tags["status"] == "completed"
    assert run.data.tags["folder"] == str(folder)
    assert run.data.params["optimizer.lr"] == "0.002"
    assert run.data.params["trainer.early_stopping.patience"] == "None"
    for name in names:
        assert history(client, run, name) == expected(folder, name)


@pytest.mark.parametrize("way", [pytest.param("at once", marks=pytest.mark.slow), "resumed"])
def test_mlflow_local(session: Session, way: str) -> None:
    needs("mlflow")
    uri = f"sqlite:///{session.folder}/mlflow.db"
    settings = ("logger=mlflow", f"logger.mlflow.tracking_uri={uri}", "optimizer.lr=0.002")
    if way == "at once":
        check_mlflow(uri, logged(session, *settings))
    else:  # a row that was made again keeps the seconds of the first time
        check_mlflow(uri, resumed(session, *settings), ("val_loss", "lr", "samples"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real tracking server on this machine."""
    needs("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{tmp_path}/server.db"
    options = ["--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", store]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", *options]
    log = open(tmp_path / "server.log", "wb")  # noqa: SIM115, the server writes it
    process = subprocess.Popen(
        command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    last = (tmp_path / "server.log").read_text().splitlines()[-1]
                    pytest.skip(f"this mlflow can't serve: {last}")
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
        log.close()


@pytest.mark.slow
def test_mlflow_server(session: Session, server: str) -> None:
    settings = ("logger=mlflow", f"logger.mlflow.tracking_uri={server}", "optimizer.lr=0.002")
    check_mlflow(server, logged(session, *settings))


def chunks(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file, which is a LevelDB log behind a header of 7 bytes."""
    assert content[:4] == b":W&B"
    at, begun = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no header is split between two blocks
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        begun += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of its pieces
            yield begun
            begun = b""


def wandb_records(folder: Path) -> list[Any]:
    """What the offline files of a run hold, in the order in which they were written."""
    from wandb.proto import wandb_internal_pb2

    records = []
    for place in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for chunk in chunks(place.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(chunk)
            records.append(record)
    return records


def wandb_history(records: list[Any], name: str) -> list[tuple[int, float]]:
    found = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
            if name in values:
                found.append((values["_step"], values[name]))
    return found


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, at whose end wandb's writes are on the disk; none stays behind."""
    needs("wandb")
    folder = tmp_path / "run"
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody answers there
    process = start(
        *(*SHORT, "logger=wandb", "optimizer.lr=0.002", f"hydra.run.dir={folder}"),
    )
    answer = finish(process)
    assert (answer.status, answer.err) == (0, "")
    assert "wandb" not in answer.out.replace(str(folder), "")
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        assert not (str(process.pid) in words and any("wandb" in word for word in words))
    records = wandb_records(folder)
    for name in NAMES:
        assert wandb_history(records, name) == expected(folder, name)
    (run,) = [one.run for one in records if one.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name) == ("fairstep", folder.name)
    assert run.run_id == (folder / ".wandb-id").read_text()
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["optimizer"]["lr"] == 0.002
    summaries = [one.summary for one in records if one.WhichOneof("record_type") == "summary"]
    updates = {item.key: item.value_json for one in summaries for item in one.update}
    assert updates["status"] == '"completed"'


def test_a_resumed_run_has_the_same_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its folder; one that begins has a new one, and one whose id is gone."""
    from src.loggers.wandb import WandB

    told: list[dict[str, Any]] = []
    fake = SimpleNamespace(init=lambda **more: told.append(more), Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    for mode, step in (("offline", 0), ("online", 40), ("offline", 0)):
        WandB("p", mode).start(tmp_path, {"seed": 3}, step)
        assert (tmp_path / ".wandb-id").read_text() == told[-1]["id"]
    (tmp_path / ".wandb-id").unlink()
    WandB("p", "offline").start(tmp_path, {}, 40)
    ids = [one["id"] for one in told]
    assert ids[0] == ids[1] and len({*ids}) == 3
    assert [one["resume"] for one in told] == [None, "allow", None, None]
    assert [(one["project"], one["dir"], one["name"]) for one in told] == [
        ("p", str(tmp_path), tmp_path.name)
    ] * 4
    assert told[0]["config"] == {"seed": 3}


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ("logger=[tensorboard,mlflow]", {"tensorboard", "mlflow"}),
        ("logger=[none,tensorboard]", {"tensorboard"}),
        pytest.param(
            "logger=[mlflow,wandb,tensorboard]",
            {"tensorboard", "mlflow", "wandb"},
            marks=pytest.mark.slow,
        ),
        ("logger=none", set()),
        ("logger=[]", set()),
        ("logger=[mlflow,tensorboard] ~logger.mlflow", {"tensorboard"}),
    ],
)
def test_combinations(session: Session, chosen: str, left: set[str]) -> None:
    for package in left:
        needs(package)
    settings = chosen.split()
    if "mlflow" in left:
        settings.append(f"logger.mlflow.tracking_uri=sqlite:///{session.folder}/mlflow.db")
    folder = logged(session, *settings)
    assert ("tensorboard" in left) == (folder / "tensorboard").exists()
    assert ("wandb" in left) == (folder / "wandb").exists()
    assert ("mlflow" in left) == (session.folder / "mlflow.db").exists()


def test_added_and_removed_on_the_way(session: Session) -> None:
    needs("tensorboard")
    folder = logged(session)
    answer = session.train(f"resume={folder}", "trainer.epochs=3", "logger=tensorboard")
    assert (answer.status, answer.err) == (0, "")
    steps = [event.step for event in events(folder).Scalars("val_loss")]
    assert steps == [row["step"] for row in rows(folder)][6:]
    answer = session.train(f"resume={folder}", "trainer.epochs=4")  # the folder's own, now
    assert len(events(folder).Scalars("val_loss")) == 6
    answer = session.train(f"resume={folder}", "trainer.epochs=5", "logger=none")
    assert answer.status == 0
    assert len(events(folder).Scalars("val_loss")) == 6
    assert len(rows(folder)) == 15


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package(session: Session, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in [key for key in sys.modules if key.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    fails_once(session, f"logger={name}")


@pytest.mark.parametrize(
    "settings",
    [
        ("logger.mlflow.tracking_uri=http://127.0.0.1:9",),
        ("logger.mlflow.tracking_uri=sqlite:////dev/null/x.db",),
        ("logger.mlflow.tracking_uri=nonsense://x",),
    ],
)
def test_mlflow_that_cannot_be_reached(session: Session, settings: tuple[str, ...]) -> None:
    needs("mlflow")
    began = time.monotonic()
    fails_once(session, "logger=mlflow", *settings)
    assert time.monotonic() - began < 45


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_an_unwritable_place(session: Session, name: str) -> None:
    """A file lies where the folder should be; root could write anywhere else."""
    needs(name)
    folder = logged(session)
    (folder / name).write_text("in the way")
    answer = session.train(f"resume={folder}", "trainer.epochs=3", f"logger={name}")
    assert answer.status == 0
    warnings = [line for line in answer.err.splitlines() if line.startswith("warning: logger")]
    assert len(warnings) == 1
    assert len(rows(folder)) == 9


def fails_once(session: Session, *settings: str) -> None:
    folder = session.folder / "run"
    answer = session.train(*SHORT, *settings, f"hydra.run.dir={folder}")
    assert answer.status == 0
    warnings = [line for line in answer.err.splitlines() if "warning: logger" in line]
    assert len(warnings) == 1, answer.err
    assert result(folder)["status"] == "completed"
    assert len(rows(folder)) == 6


class Failing:
    """A logger that fails at one of its methods."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.calls: list[str] = []

    def _do(self, name: str) -> None:
        self.calls.append(name)
        if name == self.where:
            raise OSError("gone\naway")

    def start(self, folder: Path, config: Any, step: int) -> None:
        self._do("start")

    def row(self, row: Any) -> None:
        self._do("row")

    def close(self, status: str) -> None:
        self._do("close")


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        ("start", ["start", "close"]),
        ("row", ["start", "row", "close"]),
        ("close", ["start", "row", "row", "close", "close"]),
    ],
)
def test_one_that_fails_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, calls: list[str]
) -> None:
    loggers, bad, good = Loggers({}), Failing(where), Failing("never")
    loggers.live = {"bad": bad, "good": good}
    loggers.start(tmp_path, {}, 0)
    loggers.row({})
    loggers.row({})
    loggers.close("completed")
    assert good.calls == ["start", "row", "row", "close"]
    assert bad.calls == calls
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: logger bad failed and is left out: gone away"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("logger.wandb.mode=onlin", "mode must be offline or online, got 'onlin'"),
        ("+logger.wandb.colour=red", "colour"),
        ("logger.wandb._target_=os.system", "logger.wandb._target_=os.system: not allowed"),
        ("logger.wandb=3", "logger.wandb=3"),
    ],
)
def test_bad_settings_are_refused_before_a_folder_is_made(
    session: Session, override: str, says: str
) -> None:
    answer = session.train("logger=wandb", override)
    assert answer.status == 1
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1
    assert list(session.folder.iterdir()) == []


def test_a_class_that_is_no_logger(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"logger\.x"):
        Loggers({"x": {"_target_": "src.models.MLP"}})


def test_a_run_that_mlflow_does_not_know(tmp_path: Path) -> None:
    """Its name is lost, or this server never had it: the run that goes on gets a new one."""
    needs("mlflow")
    from mlflow.exceptions import MlflowException

    from src.loggers.mlflow import MLflow

    class Client:
        def update_run(self, name: str, status: str) -> None:
            if name != "known":
                raise MlflowException(f"Run {name} not found")

        def get_metric_history(self, name: str, key: str) -> list[Any]:
            return [SimpleNamespace(step=step) for step in (3, 25, 7)]

    logger, place = MLflow("sqlite:///x", "e"), tmp_path / ".mlflow-id"
    logger.client = Client()  # type: ignore[assignment]
    assert logger._known(place) == (None, 0)
    place.write_text("elsewhere")
    assert logger._known(place) == (None, 0)
    place.write_text("known")
    assert logger._known(place) == ("known", 25)
