import pytest

from tests.conftest import Cli

SMALL = ("model=super_resolution_tiny", "runs=1", "batch_size=1", "patch_size=16", "side=8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["what=[step]", "model=translation_tiny"], "model is Translation"),
        (["runs=0"], "runs is 0"),
        (["steps=0"], "steps is 0"),
        (["batch_size=0"], "batch_size is 0"),
        (["side=-5"], "side is -5"),
        (["patch_size=7"], "patch_size is 7, expected a multiple of model.scale=2"),
        (["what=[]"], "what is []"),
        (["what=[speed]"], "what is ['speed'], expected one or more measurements of startup"),
        (["sides=[64,-3]"], "sides is [64, -3]"),
        (["budgets_gb=[0]"], "budgets_gb is [0.0]"),
        (["what=[budgets]", "image_size=[720]"], "image_size is [720]"),
        (["what=[tiles]"], "ckpt_path is null"),
    ],
)
def test_wrong_settings_are_named(cli: Cli, options: list[str], words: str) -> None:
    outcome = cli("benchmark", *options)
    assert outcome.status == 1
    assert words in outcome.err


def test_figures_stand_beside_what_they_are_compared_with(cli: Cli) -> None:
    outcome = cli("benchmark", *SMALL, "what=[data,step,inference,peak,budget,photo]", "image_size=[12,16]")
    assert outcome.status == 0, outcome.err
    lines = ["lq of 1 crops of 16 px", "share of the step", "training step, bf16", "attention", "added by 8x8", "whole"]
    lines += ["photo of 16x12 px", "all / network"]
    assert [line for line in lines if line not in outcome.out] == []
