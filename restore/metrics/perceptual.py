"""LPIPS, FID and KID through torchmetrics, from local weight files: nothing is ever downloaded.

They compare 8-bit images by means of networks trained on ImageNet, so unlike a protocol's columns they need weights,
and FID and KID are scores of a whole set. A score that cannot be computed is None, never a number.
"""

import logging
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from restore.checkpoints.reader import LOADING_ERRORS
from restore.io.errors import SettingError

if TYPE_CHECKING:  # slow import, not needed without weights
    import torchmetrics

log = logging.getLogger(__name__)

COLUMNS = ("lpips_alex", "fid", "kid")
FEW_IMAGES = 1000
LEAST_SIDE = 31  # pixels; for smaller images AlexNet's last pooling has no input
SUBSET = 1000  # images per subset of KID
SUBSETS = 100


class Perceptual:
    """Scores sets of restored images against their references.

    LPIPS (Zhang et al., CVPR 2018) compares AlexNet's features of each pair, with the published linear heads. FID
    (Heusel et al., NeurIPS 2017) and KID (Binkowski et al., ICLR 2018; 100 subsets of 1000, or of the whole set if it
    is smaller) compare the distributions of 2048 features of the original Inception network over both sets, with images
    resized bilinearly to 299 pixels as in that network's own code.

    Args:
        lpips: maps two (1, 3, H, W) in [-1, 1] to a distance; see :func:`open_lpips`. None: no LPIPS.
        inception: maps uint8 (N, 3, H, W) to (N, num_features); see :func:`open_inception`. None: no FID or KID.
        device: device of both networks.
    """

    def __init__(self, lpips: nn.Module | None, inception: nn.Module | None, device: torch.device) -> None:
        self.lpips = None if lpips is None else lpips.to(device)
        self.inception = None if inception is None else inception.to(device)
        self.device = device

    @classmethod
    def open(cls, lpips_weights: str | None, inception_weights: str | None, device: torch.device) -> "Perceptual":
        """Open weight files with :func:`open_lpips` and :func:`open_inception`; None omits a score."""
        lpips = None if lpips_weights is None else open_lpips(lpips_weights)
        inception = None if inception_weights is None else open_inception(inception_weights)
        return cls(lpips, inception, device)

    def __bool__(self) -> bool:
        """Whether any score can be computed."""
        return self.lpips is not None or self.inception is not None

    def missing(self) -> dict[str, str]:
        """The columns without numbers, with the reason."""
        reasons = {} if self.lpips is not None else {"lpips_alex": "lpips_weights is not set"}
        if self.inception is None:
            reasons |= dict.fromkeys(("fid", "kid"), "inception_weights is not set")
        return reasons

    @torch.inference_mode()
    def score(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float | None]:
        """Scores of one set.

        Args:
            pairs: pred and gt, each uint8 (3, H, W), of the same size.

        Returns:
            A number or None for each of ``COLUMNS``; FID and KID are None for fewer than two pairs.

        Raises:
            SettingError: an image is too small for LPIPS's network.
        """
        distances: list[float] = []
        features: list[tuple[Tensor, Tensor]] = []
        count = 0
        for pred, gt in pairs:
            count += 1
            if self.lpips is not None:
                distances.append(self._distance(pred, gt))
            if self.inception is not None:
                features.append((self._features(pred), self._features(gt)))
        scores: dict[str, float | None] = dict.fromkeys(COLUMNS)
        if distances:
            scores["lpips_alex"] = sum(distances) / count
        if self.inception is not None and count >= 2:
            if count < FEW_IMAGES:
                log.warning(
                    "FID over %d images, fewer than %d: it is biased upwards and cannot be compared with "
                    "published values; KID is unbiased, but varies widely",
                    count,
                    FEW_IMAGES,
                )
            preds, gts = (torch.cat(each) for each in zip(*features, strict=True))
            scores |= {"fid": frechet_distance(preds, gts), "kid": kernel_distance(preds, gts)}
        return scores

    def _distance(self, pred: Tensor, gt: Tensor) -> float:
        if min(pred.shape[1:]) < LEAST_SIDE:
            height, width = pred.shape[1:]
            raise SettingError(
                "lpips_weights",
                "set",
                f"images with sides of at least {LEAST_SIDE} px, which LPIPS needs; one has {width}x{height}",
                "leave lpips_weights out",
            )
        assert self.lpips is not None
        both = (image[None].to(self.device, torch.float32) / 127.5 - 1 for image in (pred, gt))
        return float(self.lpips(*both))

    def _features(self, image: Tensor) -> Tensor:
        assert self.inception is not None
        found: Tensor = self.inception(image[None].to(self.device))
        return found.cpu()


class _Identity(nn.Module):
    """Returns its input features, so that both metrics share one pass through the network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(preds: Tensor, gts: Tensor) -> float:
    """FID of two sets of features, each (N, num_features), N at least 2."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    return float(_compare(FrechetInceptionDistance(feature=_Identity(preds.shape[1])), preds.double(), gts.double()))


def kernel_distance(preds: Tensor, gts: Tensor) -> float:
    """KID of two sets of features, each (N, num_features), N at least 2; every call uses the same subsets."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(SUBSET, len(preds))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message="Metric `Kernel Inception Distance`")  # about memory for features
        torch.manual_seed(0)
        metric = KernelInceptionDistance(
            feature=_Identity(preds.shape[1]), subsets=SUBSETS if len(preds) > SUBSET else 1, subset_size=size
        )
        mean, _ = _compare(metric, preds.double(), gts.double())
    return float(mean)


def _compare(metric: "torchmetrics.Metric", preds: Tensor, gts: Tensor) -> Any:
    metric.update(gts, real=True)
    metric.update(preds, real=False)
    return metric.compute()


def open_lpips(path: str) -> nn.Module:
    """LPIPS with AlexNet's weights from torchvision's file; torchmetrics contains the linear heads.

    Raises:
        SettingError, FileNotFoundError: not such a file.
    """
    from torchmetrics.functional.image.lpips import _NoTrainLpips  # the public class would download AlexNet

    expected = "torchvision's alexnet weights"
    weights = _weights(path, "lpips_weights", expected)
    network = _NoTrainLpips(net="alex", pnet_rand=True)
    # "slice2.3.weight" is torchvision's "features.3.weight"
    names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
    _refuse_others(path, "lpips_weights", expected, names.values(), weights)
    network.net.load_state_dict({name: weights[theirs] for name, theirs in names.items()})
    return network


def open_inception(path: str) -> nn.Module:
    """The Inception network of FID and KID, with the weights distributed by torch-fidelity.

    Raises:
        SettingError, FileNotFoundError: not such a file, or torch-fidelity is not installed.
    """
    from torchmetrics.image.fid import NoTrainInceptionV3

    expected = "torch-fidelity's weights-inception-2015-12-05"
    weights = _weights(path, "inception_weights", expected)  # torch-fidelity's own loading could run code
    _refuse_others(path, "inception_weights", expected, ("Conv2d_1a_3x3.conv.weight", "fc.weight"), weights)
    try:
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=path)
    except ModuleNotFoundError as error:
        raise SettingError(
            "inception_weights",
            path,
            "null, because torch-fidelity, which holds the network, is not installed",
            "install restore with the extra fid",
        ) from error
    network.use_antialias = False  # torchmetrics' default since 1.8 differs from published scores
    return network


def _weights(path: str, setting: str, expected: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{setting}: {path} is not a file, expected {expected}; set null to leave the score out"
        )
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except LOADING_ERRORS as error:
        raise SettingError(setting, path, expected, "the file is damaged or holds no weights") from error
    if not isinstance(weights, Mapping):
        raise SettingError(setting, path, expected, "the file holds no table of weights")
    return dict(weights)


def _refuse_others(path: str, setting: str, expected: str, names: Iterable[str], weights: Mapping[str, Tensor]) -> None:
    missing = [name for name in names if name not in weights]
    if missing:
        raise SettingError(setting, path, expected, f"the file lacks {missing[0]}")
