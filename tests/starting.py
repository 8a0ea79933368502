"""Commands of Python that start at once, in copies of a process with the libraries imported.

To import torch and the others takes seconds of each command. Here one process has done that, and
nothing else: it has nothing of the project, and one thread. A copy of it gets the command's words,
environment and folder, and does what Python does with them. What is not tried so: that a module
imports all the libraries that it uses, and that nothing depends on the order of sets, which all
copies share. So what a user does first is started for real.

    python tests/starting.py NUMBER    such a process, which is asked on socket NUMBER
"""

import atexit
import importlib
import os
import pickle
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

HEAVY = (
    "torch", "hydra", "omegaconf", "optuna", "pydantic", "rich.progress", "pandas",
    "scipy.stats", "statsmodels.stats.multitest", "sklearn.datasets", "jinja2", "sqlalchemy",
    "pyarrow.parquet", "filelock", "psutil", "alembic.command", "optuna.storages",
    "optuna.importance", "sklearn.ensemble", "sqlalchemy.dialects.sqlite",
)  # fmt: skip
LARGEST = 1 << 17  # bytes of a question


class Command:
    """A process; as a `subprocess.Popen` with text.

    Args:
        words: `-m`, a module, and what it is given; or a script's path and that.
        own_group: whether it has a process group of its own.
    """

    def __init__(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], *, own_group: bool = False
    ) -> None:
        self.args, self.returncode = [sys.executable, *words], None
        self.out, self.err = (tempfile.TemporaryFile("w+") for _ in "12")  # noqa: SIM115
        self.answers, theirs = os.pipe()
        question = pickle.dumps(([*words], str(cwd), {**env}, own_group))
        assert len(question) < LARGEST
        files = [self.out.fileno(), self.err.fileno(), theirs]
        socket.send_fds(_server(), [question], files)
        os.close(theirs)
        self.pid = int(self._answer())

    def _answer(self) -> bytes:
        answer = os.read(self.answers, 20)
        assert answer, "the process that starts commands has ended"
        return answer

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.answers], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._end()
        return self.returncode

    def _end(self) -> None:
        self.returncode = int(self._answer())
        os.close(self.answers)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read())
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`, with what it prints."""
    command = Command(words, cwd, env)
    try:
        out, err = command.communicate(timeout)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    return subprocess.CompletedProcess(command.args, command.returncode or 0, out, err)


@cache
def _server() -> socket.socket:
    """Started when the first command is; it ends with this process, if not before."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    others = ("PYTHONPATH", "PYTEST_CURRENT_TEST")
    env = {name: value for name, value in os.environ.items() if name not in others}
    command = [sys.executable, "-P", __file__, str(theirs.fileno())]
    process = subprocess.Popen(
        command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=env
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(process.kill)  # it comes first, and waits for no fork that has `ours` too
    return ours


def serve(asked: socket.socket) -> None:
    """Start what is asked for and tell what has ended, until nobody is there to ask."""
    for name in HEAVY:
        importlib.import_module(name)
    _compose_nothing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for those who ask
    noticed, ended = os.pipe()
    os.set_blocking(ended, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ended)
    started: dict[int, int] = {}
    while True:
        ready = select.select([asked, noticed], [], [])[0]
        if noticed in ready:
            os.read(noticed, 1000)
        _tell(started)
        if asked not in ready:
            continue
        question, files, _, _ = socket.recv_fds(asked, LARGEST, 3)
        if not question:
            return
        pid = os.fork()
        if not pid:
            _be(*pickle.loads(question), *files)
        for file in files[:2]:
            os.close(file)
        started[pid] = files[2]
        os.write(files[2], str(pid).encode().ljust(20))


def _compose_nothing() -> None:
    """So that Hydra has looked for its plugins, and its grammars have met the usual words."""
    import hydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    words = ["+a=1e-3", "+b=[c,1]", "+d={e: x/y.z}", "++f.g='h i'", "hydra.run.dir=/a"]
    with hydra.initialize_config_dir("/"):
        hydra.compose(overrides=words)
    OverridesParser.create().parse_overrides(["a=tag(log,interval(0.1,1))", "b=choice(c,d)", "~e"])


def _tell(started: dict[int, int]) -> None:
    """How those have ended that have."""
    while started:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        os.write(started[pid], str(os.waitstatus_to_exitcode(status)).encode().ljust(20))
        os.close(started.pop(pid))


def _be(
    words: list[str], cwd: str, env: dict[str, str], own_group: bool, out: int, err: int, kept: int
) -> None:
    """Be that command, to its end."""
    status = 1
    try:
        os.close(kept)
        _as_new(cwd, env, own_group, out, err)
        sys.orig_argv[1:] = words
        if words[0] == "-m":
            sys.argv[:] = ["-m", *words[2:]]  # as the package sees it while it is imported
            sys.path.insert(0, cwd)
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = words
            sys.path.insert(0, str(Path(words[0]).absolute().parent))
            runpy.run_path(words[0], run_name="__main__")
        status = 0
    except SystemExit as leaving:
        status = _status(leaving.code)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _status(code: Any) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _as_new(cwd: str, env: dict[str, str], own_group: bool, out: int, err: int) -> None:
    """What Python finds when it starts."""
    if own_group:
        os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(cwd)
    _measured(env)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    importlib.invalidate_caches()
    sys.modules["numpy"].random.seed()  # type: ignore[attr-defined]


def _measured(env: Mapping[str, str]) -> None:
    """Under `make coverage`, whose test it is that runs these lines."""
    if coverage := sys.modules.get("coverage"):
        measured = coverage.Coverage.current()
        if measured and "PYTEST_CURRENT_TEST" in env:
            measured.switch_context(env["PYTEST_CURRENT_TEST"])


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
