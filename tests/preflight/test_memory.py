"""Available memory: the least of the limits that the system names."""

from pathlib import Path

import pytest

from restore.preflight import memory


def test_the_least_limit_of_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    own.write_text("4:memory:/elsewhere\n0::/system.slice/job_5/step_0/user\n")
    limits = {".": "max", "system.slice": "9000", "system.slice/job_5": "5000", "system.slice/job_5/step_0": "100"}
    for name, limit in limits.items():
        (groups / name).mkdir(parents=True, exist_ok=True)
        (groups / name / "memory.max").write_text(f"{limit}\n")
    assert sorted(memory._control_groups(str(groups), str(own))) == [5000, 9000]
    assert memory._control_groups(str(groups), str(tmp_path / "none")) == []
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "16(x2)")
    assert memory.available_bytes("cpu") == 16 * 2**20
