import inspect
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
import torchmetrics.functional.image.lpips
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.io.errors import SettingError
from restore.metrics import perceptual
from restore.metrics.perceptual import Perceptual, frechet_distance, kernel_distance, open_inception, open_lpips
from tests.conftest import required

Array = NDArray[Any]
CPU = torch.device("cpu")


class Means(nn.Module):
    """Stands in for Inception: 12 features, the means of a grid."""

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)


def pictures(count: int, *, shift: int = 0, side: int = 40, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    made = torch.Generator().manual_seed(seed)
    gts = [torch.randint(0, 200, (3, side, side), generator=made, dtype=torch.uint8) for _ in range(count)]
    return [(gt + shift, gt) for gt in gts]


def features(count: int, width: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize(("count", "width"), [(50, 5), (30, 12), (8, 12)])
def test_fid_is_the_frechet_distance_of_two_gaussians(count: int, width: int) -> None:
    a, b = features(count, width, 0), features(count, width, 1, 0.3)
    means, covs = [x.mean(0).numpy() for x in (a, b)], [np.cov(x.numpy(), rowvar=False) for x in (a, b)]
    root: Array = np.asarray(scipy.linalg.sqrtm(covs[0] @ covs[1])).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covs[0] + covs[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-4)


def test_kid_is_the_unbiased_squared_mmd_of_a_cubic_kernel() -> None:
    a, b = features(20, 6, 0).numpy(), features(20, 6, 1, 0.5).numpy()

    def kernel(x: Array, y: Array) -> Array:
        return np.asarray((x @ y.T / 6 + 1) ** 3)

    def within(x: Array) -> float:
        return float((kernel(x, x).sum() - np.trace(kernel(x, x))) / (20 * 19))

    expected = within(a) + within(b) - 2 * kernel(a, b).mean()
    assert kernel_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, abs=1e-9)


def test_kid_of_a_large_set_draws_the_same_subsets_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "SUBSET", 10)
    a, b = features(25, 4, 0), features(25, 4, 1)
    before = torch.get_rng_state()
    assert kernel_distance(a, b) == kernel_distance(a, b)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_set_of_images_is_scored_by_its_features(caplog: pytest.LogCaptureFixture) -> None:
    scorer = Perceptual(None, Means(), CPU)
    scores = scorer.score(pictures(6, shift=30))
    preds, gts = (torch.stack([Means()(pair[k][None])[0] for pair in pictures(6, shift=30)]) for k in (0, 1))
    assert scores == {
        "lpips_alex": None,
        "fid": pytest.approx(frechet_distance(preds, gts)),
        "kid": pytest.approx(kernel_distance(preds, gts)),
    }
    assert "FID over 6 images, fewer than 1000" in caplog.text
    same = scorer.score(pictures(6))
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    assert scorer.score(pictures(1)) == {"lpips_alex": None, "fid": None, "kid": None}


def test_without_weights_there_is_no_number_and_a_reason() -> None:
    nothing = Perceptual(None, None, CPU)
    assert not nothing
    assert nothing.score(pictures(3)) == {"lpips_alex": None, "fid": None, "kid": None}
    assert list(nothing.missing()) == ["lpips_alex", "fid", "kid"]
    assert nothing.missing()["fid"] == "inception_weights is not set"
    assert list(Perceptual(None, Means(), CPU).missing()) == ["lpips_alex"]


# --- LPIPS ---


@pytest.fixture(scope="session")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as torchvision saves them, but random."""
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    return path


def lpips_by_hand(path: Path, pred: Tensor, gt: Tensor) -> float:
    """Zhang et al., CVPR 2018, eq. 1, with the heads that torchmetrics ships."""
    network = torchvision.models.alexnet(weights=None)
    network.load_state_dict(torch.load(path))
    folder = Path(inspect.getfile(torchmetrics.functional.image.lpips)).parent / "lpips_models"
    heads = [torch.load(folder / "alex.pth", map_location="cpu")[f"lin{k}.model.1.weight"] for k in range(5)]
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    both = [((x / 127.5 - 1) - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for x in (pred, gt)]
    x, y, total = both[0][None], both[1][None], 0.0
    for k, layer in enumerate(network.features[:12]):
        x, y = layer(x), layer(y)
        if k in (1, 4, 7, 9, 11):
            unit = [z / (z.square().sum(1, keepdim=True) + 1e-8).sqrt() for z in (x, y)]
            total += float(F.conv2d((unit[0] - unit[1]).square(), heads.pop(0)).mean())
    return total


def test_lpips_is_the_published_formula_on_the_given_weights(alexnet_file: Path) -> None:
    network = open_lpips(str(alexnet_file))
    pairs = [*pictures(1, shift=40, side=64), *pictures(1, shift=5, side=33, seed=1)]
    with torch.no_grad():
        expected = [lpips_by_hand(alexnet_file, *pair) for pair in pairs]
    found = [Perceptual(network, None, CPU).score([pair])["lpips_alex"] for pair in pairs]
    assert found == pytest.approx(expected, rel=1e-4)
    assert Perceptual(network, None, CPU).score(pairs)["lpips_alex"] == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert Perceptual(network, None, CPU).score(pictures(2))["lpips_alex"] == 0


@pytest.mark.parametrize("side", [30, 31])
def test_images_too_small_for_lpips_are_refused(alexnet_file: Path, side: int) -> None:
    scorer = Perceptual(open_lpips(str(alexnet_file)), None, CPU)
    if side >= perceptual.LEAST_SIDE:
        assert math.isfinite(scorer.score(pictures(1, side=side))["lpips_alex"] or 0.0)
        return
    with pytest.raises(SettingError) as error:
        scorer.score(pictures(1, side=side))
    assert error.value.key == "lpips_weights"
    assert "30x30" in error.value.expected


# --- files ---


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save(torch.zeros(1), tmp_path / "tensor.pth")
    (tmp_path / "damaged.pth").write_bytes(b"no weights")
    torch.save(nn.Linear(1, 1), tmp_path / "code.pth")  # a pickle of code, which is never run
    for name in ("other.pth", "tensor.pth", "damaged.pth", "code.pth"):
        for opener, setting in ((open_lpips, "lpips_weights"), (open_inception, "inception_weights")):
            with pytest.raises(SettingError) as error:
                opener(str(tmp_path / name))
            assert (error.value.key, error.value.got) == (setting, str(tmp_path / name))
    with pytest.raises(
        FileNotFoundError, match=r"lpips_weights: .*gone.pth is not a file.*set null to leave the score out"
    ):
        open_lpips(str(tmp_path / "gone.pth"))


def test_without_torch_fidelity_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmetrics.image.fid._TORCH_FIDELITY_AVAILABLE", False)
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, tmp_path / "i.pth")
    with pytest.raises(SettingError) as error:
        open_inception(str(tmp_path / "i.pth"))
    assert error.value.key == "inception_weights"
    assert "extra fid" in error.value.remedy


def test_inception_is_opened_from_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    required("fid", find_spec("torch_fidelity") is not None)
    module: Any = __import__("torch_fidelity.feature_extractor_inceptionv3", fromlist=["x"])
    network = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched, torch.random.fork_rng():
        torch.manual_seed(0)
        patched.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(network, "load_state_dict", lambda *_: None)
        torch.save(network("inception-v3-compat", ["2048"]).state_dict(), tmp_path / "inception.pth")
    opened = open_inception(str(tmp_path / "inception.pth"))
    found = opened(torch.stack([pred for pred, _ in pictures(2, side=20)]))
    assert found.shape == (2, 2048)
    scores = Perceptual(None, opened, CPU).score(pictures(3, shift=50, side=20))
    assert scores["fid"] is not None
    assert scores["kid"] is not None
    assert math.isfinite(scores["fid"])
