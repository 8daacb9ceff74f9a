"""restore benchmark refuses what it cannot measure."""

import pytest

from tests.conftest import Cli


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["what=[step]", "model=translation_tiny"], "model is Translation, expected one with kinds of attention"),
        (["runs=0"], "runs is 0, expected how often each thing is timed, at least 1"),
        (["batch_size=0"], "batch_size is 0, expected at least 1"),
        (["side=-5"], "side is -5, expected at least 1"),
        (["patch_size=7"], "patch_size is 7, expected a multiple of model.scale=2"),
        (["what=[]"], "what is [], expected one or more measurements"),
        (["sides=[64,-3]"], "sides is [64, -3], expected one or more pixels, above 0"),
        (["budgets_gb=[0]"], "budgets_gb is [0.0], expected one or more GiB, above 0"),
        (["what=[budgets]", "picture=[720]"], "picture is [720], expected height and width"),
    ],
)
def test_benchmark_says_what_it_cannot_do(cli: Cli, options: list[str], words: str) -> None:
    outcome = cli("benchmark", *options)
    assert outcome.status == 1
    assert words in outcome.err
