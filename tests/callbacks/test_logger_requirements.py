import pytest

from restore.callbacks.logger_requirements import refuse_unusable
from restore.io.errors import SettingError


@pytest.mark.parametrize("project", ["a/b", "a:b", "50%", "what?", "p" * 129])
def test_a_project_that_its_server_refuses_is_refused_before_any_work(project: str) -> None:
    node = {"_target_": "lightning.pytorch.loggers.WandbLogger", "project": project, "offline": True}
    with pytest.raises(SettingError) as refused:
        refuse_unusable({"wandb": node}, artifacts=False)
    assert refused.value.key == "logger.wandb.project"
