"""A two-node Slurm and a two-node Ray on loopback; each node a process namespace of its own.

To kill a node's first process kills all that run on it, as a power cut does.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NODE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; none twice."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(holds: Callable[[], object], seconds: float, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.3)


class Cluster:
    """Processes that end with the cluster, and a folder for their files."""

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"fairstep-{name}-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment: dict[str, str] = {}  # for whoever talks to it

    def start(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def call(self, *command: str) -> str:
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout + done.stderr

    def begin(self) -> None:
        """Return when all nodes are up; a failure leaves what `stop` ends."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End all jobs that outlive those who sent them; there may be none."""

    def stop(self) -> None:
        for name in reversed([*self.processes]):
            process = self.processes[name]
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        files = [*self.folder.glob("*.out"), *self.folder.glob("*.log")]
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in files)


CONF = """
ClusterName=fairstep
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=20
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdTimeout=10
KillWait=20
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=main Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=15
PartitionName=urgent Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF
"""


class Slurm(Cluster):
    """Nodes n1 and n2 with two processors each; partition `urgent` preempts `main`.

    A requeued job waits as long as a credential lasts, two minutes if nothing is said.
    """

    PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "unshare")

    def __init__(self) -> None:
        super().__init__("slurm")
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        text = CONF.format(host=socket.gethostname(), ports=free_ports(3), folder=self.folder)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "munge.key").write_bytes(os.urandom(64))
        (self.folder / "munge.key").chmod(0o600)
        self.folder.chmod(0o755)
        kinds = {"socket": "socket", "key-file": "key", "pid-file": "pid",
                 "log-file": "log", "seed-file": "seed"}  # fmt: skip
        self.files = [f"--{flag}={self.folder}/munge.{end}" for flag, end in kinds.items()]

    def begin(self) -> None:
        self.start("munged", "munged", "--foreground", "--force", *self.files)
        wait_for((self.folder / "munge.socket").exists, 30, "munged")
        self.start("slurmctld", "slurmctld", "-D")
        for node in ("n1", "n2"):
            self.start_node(node)
        wait_for(lambda: self.idle() == 2, 60, f"two nodes\n{self.logs()}")

    def start_node(self, node: str) -> None:
        self.start(node, *NODE, "slurmd", "-D", "-N", node)

    @contextmanager
    def having(self, setting: str) -> Iterator[None]:
        """Another line of the configuration, for a while."""
        before = (self.folder / "slurm.conf").read_text()
        self._configure(f"{before}{setting}\n")
        try:
            yield
        finally:
            self._configure(before)

    def _configure(self, text: str) -> None:
        (self.folder / "slurm.conf").write_text(text)
        self.call("scontrol", "reconfigure")

    def restarts(self, job: str) -> int:
        """How often a job was requeued and began anew."""
        told = self.call("scontrol", "show", "job", job)
        return int(told.partition("Restarts=")[2].split()[0])

    def idle(self) -> int:
        return self.call("sinfo", "-h", "-p", "main", "-N", "-t", "idle", "-o", "%N").count("n")

    def jobs(self) -> list[str]:
        return self.call("squeue", "-h", "-r", "-o", "%i").split()

    def cancel(self) -> None:
        self.call("scancel", "--user", str(os.getuid()))
        wait_for(lambda: not self.jobs(), 60, "jobs are cancelled")


class Ray(Cluster):
    """A head and another node, with two processors each."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.port = free_ports(1)[0]
        self.environment = {
            "RAY_AUTH_MODE": "disabled", "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3",
        }  # fmt: skip

    def begin(self) -> None:
        head = ("--head", f"--port={self.port}", "--include-dashboard=false",
                f"--temp-dir={self.folder}")  # fmt: skip
        self._start_ray("head", "127.0.0.1", *head)
        wait_for(lambda: self.nodes() >= 1, 120, f"Ray's head\n{self.logs()}")
        self.start_node()
        wait_for(lambda: self.nodes() == 2, 120, f"Ray's second node\n{self.logs()}")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start_node(self) -> None:
        self._start_ray("other", "127.0.0.2", f"--address={self.address}")

    def _start_ray(self, name: str, ip: str, *flags: str) -> None:
        common = ("--num-cpus=2", f"--node-ip-address={ip}", "--disable-usage-stats", "--block",
                  "--object-store-memory=80000000")  # fmt: skip
        ray = (sys.executable, "-m", "ray.scripts.scripts", "start")
        self.start(name, *NODE, *ray, *flags, *common)

    def nodes(self) -> int:
        """How many nodes are alive."""
        code = (
            "import ray; from ray._raylet import GcsClient\n"
            f"nodes = GcsClient(address='{self.address}').get_all_node_info()\n"
            "print(sum(node.state == 0 for node in nodes.values()))"
        )
        told = self.call(sys.executable, "-c", code).strip().splitlines()
        return int(told[-1]) if told and told[-1].isdecimal() else 0
