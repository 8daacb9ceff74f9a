"""Available memory: the least of the limits that the system names."""

from pathlib import Path

import pytest

from restore.preflight import memory


def test_the_least_limit_of_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/elsewhere\n0::/system.slice/job_5/step_0/user\n")
    limits = {".": "max", "system.slice": "9000", "system.slice/job_5": "5000", "system.slice/job_5/step_0": "100"}
    for name, limit in limits.items():
        (tmp_path / "groups" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name / "memory.max").write_text(f"{limit}\n")
    assert memory._control_group(tmp_path / "groups", own) == 5000
    assert memory._control_group(tmp_path / "none", own) is None
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "16(x2)")
    assert memory._slurm() == 1600 * 2**20
