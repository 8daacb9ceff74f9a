import torch
from efficientnet_lite_pytorch import EfficientNet

from restore.networks.efficientnet_lite import HALVINGS, EfficientNetLiteFeatures


def test_maps_are_those_of_the_published_port() -> None:
    torch.manual_seed(0)
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    for module in reference.modules():  # statistics that are not those of a network never used
        if isinstance(module, torch.nn.BatchNorm2d):
            module.load_state_dict({"running_mean": torch.rand(module.num_features)}, strict=False)
            module.load_state_dict({"running_var": 0.5 + torch.rand(module.num_features)}, strict=False)
    state = {name.removeprefix("_").replace("._", "."): value for name, value in reference.state_dict().items()}
    network = EfficientNetLiteFeatures().eval()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    image = torch.rand(1, 3, 224, 224)  # the reference's padding is of this size alone
    with torch.no_grad():
        x = reference._bn0(reference._conv_stem((image - 127 / 255) / (128 / 255))).clamp(0, 6)
        expected = {}
        for index, block in enumerate(reference._blocks):
            x = block(x)
            expected[index] = x
        found = network(image, list(HALVINGS))
    for maps, index, halvings in zip(found, (0, 2, 4, 10), HALVINGS.values(), strict=True):
        assert maps.shape[-1] == 224 >> halvings
        torch.testing.assert_close(maps, expected[index])
