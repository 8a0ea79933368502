"""A process between a job and its worker, for launchers that kill what their jobs have started.

It is killed instead; the worker, whose parent is gone, has time to put its trial back. It imports
nothing of this project, so it costs a few megabytes:

    python between.py VARIABLE COMMAND...

VARIABLE gets this process's number in the command's environment.
"""

import os
import signal
import subprocess
import sys


def main() -> None:
    name, *command = sys.argv[1:]
    process = subprocess.Popen(command, env={**os.environ, name: str(os.getpid())})
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    status = process.wait()
    if status < 0:  # it was killed, by whatever signal
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(status)


if __name__ == "__main__":
    main()
