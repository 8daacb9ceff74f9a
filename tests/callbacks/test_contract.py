import pytest

from restore.callbacks.contract import CoarseToFine, HasFeatures, Staged, TrainedModel
from restore.models.base import RestorationModel
from restore.models.deblur import Deblur
from restore.models.super_resolution import SuperResolution
from restore.models.translation.model import Translation
from restore.models.zero_shot.model import ZeroShotSuperResolution

MODELS: dict[type[RestorationModel], bool] = {  # whether it is trained from coarse to fine
    Deblur: False,
    SuperResolution: False,
    Translation: True,
    ZeroShotSuperResolution: False,
}


def as_callbacks_see_it(model: RestorationModel) -> TrainedModel:
    """Checked by mypy: every model has what callbacks ask of it."""
    return model


def as_it_is_trained(model: Translation) -> CoarseToFine:
    """Checked by mypy: not only the names agree."""
    return model


def as_it_is_enlarged(model: ZeroShotSuperResolution) -> Staged:
    """As above."""
    return model


@pytest.mark.parametrize(("kind", "is_coarse_to_fine"), MODELS.items())
def test_callbacks_know_which_models_are_trained_from_coarse_to_fine(
    kind: type[RestorationModel], is_coarse_to_fine: bool
) -> None:
    model = kind()
    assert isinstance(as_callbacks_see_it(model), CoarseToFine) is is_coarse_to_fine
    assert isinstance(model, Staged) is (is_coarse_to_fine or kind is ZeroShotSuperResolution)


def test_one_network_gives_its_feature_maps() -> None:
    assert isinstance(SuperResolution().network, HasFeatures)
    assert not any(isinstance(kind().network, HasFeatures) for kind in (Deblur, Translation))
