"""A launcher's job: it starts a worker, watches it, and ends it with itself."""

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from src.launching import job as jobs
from src.launching.job import WorkerJob, whereabouts
from tests.cluster.clusters import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(jobs.HydraConfig, "get", lambda: type("H", (), {"job": Job}))


class Job:
    num = 1


def job(folder: Path, code: str, **environment: str) -> WorkerJob:
    return WorkerJob((4, 7), ("-c", code), str(folder), str(folder / "study"), environment)


def test_a_worker_gets_its_log_and_what_it_must_know(tmp_path: Path) -> None:
    code = ("import os; print([os.environ.get(name) for name in ('FAIRSTEP_WORKER', "
            "'FAIRSTEP_PARENT', 'FAIRSTEP_JOB', 'GIVEN')], os.getcwd())")  # fmt: skip
    assert job(tmp_path, code, GIVEN="yes")(None) == (0, None)
    me = str(os.getpid())
    expected = f"{['1', me, f'process {me}', 'yes']} {tmp_path}\n"
    assert (tmp_path / "study" / "worker-7.log").read_text() == expected


@pytest.mark.parametrize(
    ("code", "status", "starts"),
    [
        ("raise SystemExit(3)", 3, 1),
        ("os.kill(os.getpid(), 9)", -9, 1 + jobs.RESTARTS),
        ("len(open('n').read()) < 3 and os.kill(os.getpid(), 9)", 0, 3),
        ("raise SystemExit(143)", -15, 1),
    ],
)
def test_how_a_worker_ends(tmp_path: Path, code: str, status: int, starts: int) -> None:
    """One that was killed is started again; one that was asked to end is not."""
    counted = f"import os; open('n', 'a').write('x'); {code}"
    assert job(tmp_path, counted)(None) == (status, None)
    assert len((tmp_path / "n").read_text()) == starts


def test_a_host_without_the_folder_says_so(tmp_path: Path) -> None:
    status, words = WorkerJob((4, 7), ("-c", ""), str(tmp_path / "none"), str(tmp_path), {})(None)
    assert status == 1 and words and words.endswith(f"{tmp_path}/none, where the command ran")


def test_the_launcher_ends_its_worker(tmp_path: Path) -> None:
    """Whatever is raised into a job, as by submitit's handler of Slurm's signals."""
    code = "import time; print(flush=True); time.sleep(60)"
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(5))
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    with pytest.raises(SystemExit):
        job(tmp_path, code)(None)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert not [pid for pid in _children() if "time.sleep(60)" in pid]


OF_SUBMITIT = """
import os, pickle, signal, sys, time
os.environ["SUBMITIT_EXECUTOR"] = "slurm"
from src.launching import job as jobs
jobs.HydraConfig = type("C", (), {"get": lambda: type("H", (), {"job": type("J", (), {"num": 0})})})
job = pickle.loads(sys.stdin.buffer.read())
signal.signal(signal.SIGTERM, lambda *_: None)
if sys.argv[1] == "early":
    os.kill(os.getpid(), signal.SIGTERM)
print(os.getpid(), flush=True)
print(job(None))
"""


@pytest.mark.parametrize("when", ["early", "deaf", "late"])
def test_a_job_that_submitit_lets_pass_the_signal_remembers_it(tmp_path: Path, when: str) -> None:
    """Before the worker is there, before that can hear it, and then."""
    deaf = "import os; os.kill(os.getppid(), 15); os.kill(os.getpid(), 15)"
    late = "import os, time; os.kill(os.getppid(), 15); time.sleep(60)"
    code = f"open('n', 'a').write('x'); {deaf if when == 'deaf' else late}"
    pickled = pickle.dumps(replace(job(tmp_path, code), numbers=(4,)))
    done = subprocess.run(
        [sys.executable, "-c", OF_SUBMITIT, when], input=pickled, capture_output=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.decode().splitlines()[1:] == ["(-15, None)"], done.stderr.decode()
    assert (tmp_path / "n").exists() is (when != "early")
    assert when == "early" or (tmp_path / "n").read_text() == "x", "it isn't started again"


def _children() -> list[str]:
    """The command lines of those that live; other tests may have left one that has ended."""
    lines = []
    for child in psutil.Process().children():
        with suppress(psutil.ZombieProcess):
            lines.append(" ".join(child.cmdline()))
    return lines


OBEYING = """
import os, signal, sys, time
from src.launching import workers
workers.PARENT_SECONDS = 0.05
def ended(*_):
    open("ended", "w").write("x")
    os._exit(143)
signal.signal(signal.SIGTERM, ended)
workers.obey_job()
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["parent", "signal", "neither"])
def test_a_worker_ends_with_its_job(tmp_path: Path, how: str) -> None:
    """As at SIGTERM: when the process that started it is gone, and at a launcher's signal."""
    start = ("import os, subprocess, sys; os.environ['FAIRSTEP_PARENT'] = str(os.getpid()); "
             "subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()")  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {} if how == "neither" else {"FAIRSTEP_JOB": "slurm 1"}
    parent = subprocess.Popen(
        [sys.executable, "-c", start, OBEYING], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout
    worker = int(parent.stdout.readline())
    if how == "signal":
        os.kill(worker, signal.SIGUSR2)
    else:
        parent.kill()
    if how == "neither":
        time.sleep(0.3)
        os.kill(worker, signal.SIGKILL)
        assert not (tmp_path / "ended").exists(), "on this machine it ends with its trial"
    else:
        wait_for((tmp_path / "ended").exists, 20)
    parent.wait()


def test_where_a_job_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    assert whereabouts() == {"FAIRSTEP_JOB": f"process {os.getpid()}"}
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    assert whereabouts() == {"FAIRSTEP_JOB": "slurm 12", "FAIRSTEP_NODE": "n1"}
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "11")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert whereabouts()["FAIRSTEP_JOB"] == "slurm 11_0"
