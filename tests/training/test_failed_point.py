import pickle

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf

from restore.training.sweep import Points


def test_a_failed_point_raises_its_error_without_a_line_of_hydra(capsys: pytest.CaptureFixture[str]) -> None:
    failed = JobReturn(overrides=["seed=1"], status=JobStatus.FAILED)
    failed.return_value = KeyError("lr")
    config = OmegaConf.create({"hydra": {"mode": RunMode.MULTIRUN, "job": {"config_name": "check"}}})
    Points().on_job_end(config, failed)
    for each in (failed, pickle.loads(pickle.dumps(failed))):  # a launcher's process sends it
        with pytest.raises(KeyError, match="lr"):
            _ = each.return_value
    assert capsys.readouterr().err == ""
