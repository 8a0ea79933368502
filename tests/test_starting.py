"""Commands in copies of a process: what they find is what Python gives them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.config import PROJECT
from tests import starting

FACTS = """
import json, os, sys, threading
from pathlib import Path
import src.config
facts = {
    "argv": sys.argv, "orig": sys.orig_argv[1:], "cwd": os.getcwd(), "env": {**os.environ},
    "path": sys.path, "stdin": sys.stdin.read(), "name": __name__,
    "threads": threading.active_count(), "outputs": str(src.config.OUTPUTS),
    "main": sys.modules["__main__"].__dict__ is globals(),
}
Path(sys.argv[1]).write_text(json.dumps(facts))
print("said", flush=True)
print("complained", file=sys.stderr)
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else "no number")
"""


@pytest.mark.parametrize("words", [("-m", "facts"), ("facts.py",)], ids=["module", "script"])
def test_a_command_is_what_python_would_make_of_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "facts.py").write_text(FACTS)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "FAIRSTEP_OUTPUTS": "/here"}
    found = []
    for number in range(2):
        given = [*words, "told", "7"]
        if number:
            ran = starting.run(given, tmp_path, env)
        else:
            ran = subprocess.run(
                [sys.executable, *given], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
                capture_output=True, text=True,
            )  # fmt: skip
        assert (ran.returncode, ran.stdout, ran.stderr) == (7, "said\n", "complained\n")
        found.append(json.loads((tmp_path / "told").read_text()))
        found[-1]["env"].pop("LC_CTYPE", None)
        found[-1]["path"] = found[-1]["path"][:2]
    assert found[0] == found[1]
    ran = starting.run([*words, "told"], tmp_path, env)
    assert (ran.returncode, ran.stderr) == (1, "complained\nno number\n")


def test_a_command_can_be_killed_and_waited_for(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    command = starting.Command(["sleeps.py"], tmp_path, {**os.environ}, own_group=True)
    assert os.getpgid(command.pid) == command.pid or command.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        command.wait(0.01)
    assert command.poll() is None
    command.kill()
    assert command.wait(20) == -signal.SIGKILL == command.poll()
    command.send_signal(signal.SIGTERM)  # one that has ended is left alone


def test_an_error_is_told(tmp_path: Path) -> None:
    (tmp_path / "breaks.py").write_text("import atexit\natexit.register(print, 'last')\n1 / 0\n")
    ran = starting.run(["breaks.py"], tmp_path, {**os.environ})
    assert (ran.returncode, ran.stdout) == (1, "last\n")
    assert ran.stderr.endswith("ZeroDivisionError: division by zero\n")
