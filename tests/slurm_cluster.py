"""A real Slurm of one node for the tests, from Debian's slurmctld, slurmd, slurm-client and munge; needs root."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged")
CONFIG = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
MpiDefault=none
JobRequeue=1
KillWait=5
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GPUS = 4  # plain files that Slurm counts as such: jobs may ask for them, and are trained on the CPU


def is_possible() -> bool:
    """Whether the programs are there and this process may start them."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return os.geteuid() == 0 and all(shutil.which(name, path=path) for name in PROGRAMS)


class Cluster:
    """Started by the constructor, ended by :meth:`stop`.

    Args:
        folder: for its state and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        # two jobs of two tasks may run side by side, whatever the machine has
        cpus = max(4, os.cpu_count() or 1)
        config = CONFIG.format(host=host, ports=_free_ports(2), folder=folder, cpus=cpus, gpus=GPUS)
        (folder / "slurm.conf").write_text(config)
        for k in range(GPUS):
            (folder / f"gpu{k}").touch()
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        _start_munge(self.environment)
        try:
            for daemon in ("slurmctld", "slurmd"):
                self.run(daemon, "-c")
            self.wait(lambda: "idle" in self.run("sinfo", "-h", "-o", "%t"), "the node is idle")
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> str:
        """What a Slurm command prints."""
        environment = self.environment | environment
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def submit(self, script: str, *, cwd: Path, options: Sequence[str] = ()) -> str:
        """Hand a batch script in; the job's number. Its output goes to ``<number>.out``."""
        (cwd / "job.sh").write_text(script)
        found = re.search(r"\d+", self.run("sbatch", *options, "--output=%j.out", "job.sh", cwd=cwd))
        assert found
        return found[0]

    def state(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETED, FAILED and so on."""
        found = re.search(r"JobState=(\w+)", self.run("scontrol", "show", "job", job))
        assert found
        return found[1]

    def wait(
        self,
        is_so: Callable[[], object],
        what: str,
        seconds: float = 300,
        is_in_vain: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until something is so, unless it can no longer be."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"waited {seconds:.0f} s in vain: {what}\n{self.logs()}"
            assert not is_in_vain(), f"will not come: {what}\n{self.logs()}"
            time.sleep(0.2)

    def is_over(self, job: str) -> bool:
        """Whether a job has ended and is not queued again."""
        return self.state(job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

    def wait_for_end(self, job: str) -> str:
        """The state a job ended in."""
        self.wait(lambda: self.is_over(job), f"the end of job {job}")
        return self.state(job)

    def logs(self) -> str:
        """The newest lines of both daemons."""
        files = [self.folder / f"{name}.log" for name in ("slurmctld", "slurmd")]
        return "\n".join(line for file in files if file.exists() for line in file.read_text().splitlines()[-8:])

    def stop(self) -> None:
        """End the jobs and both daemons."""
        with suppress(AssertionError):
            self.run("scancel", "--full", "--signal=KILL", f"--user={os.environ.get('USER', 'root')}")
        for name in ("slurmd", "slurmctld"):
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGTERM)


def _start_munge(environment: dict[str, str]) -> None:
    """Munge signs Slurm's messages; one for the machine, which stays."""
    if subprocess.run(["pgrep", "-x", "munged"], capture_output=True, check=False).returncode == 0:
        return
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
    Path("/run/munge").mkdir(exist_ok=True)
    for path in (key, Path("/run/munge"), key.parent):
        shutil.chown(path, "munge", "munge")
    key.chmod(0o400)
    subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged"], env=environment, check=True, timeout=30)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
