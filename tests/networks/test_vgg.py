import torch
from torchvision.models import vgg

from restore.networks.vgg import LAYERS, VGG19Features


def test_maps_are_those_of_torchvisions_network() -> None:
    network = VGG19Features()
    network.draw(3)
    reference = vgg.make_layers(vgg.cfgs["E"])
    state = {name.removeprefix("features."): value for name, value in network.state_dict().items()}
    reference.load_state_dict(state, strict=False)  # the two convolutions behind relu5_2 are not ours
    picture = torch.rand(1, 3, 64, 64)
    x = (picture - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    expected = []
    for k, layer in enumerate(reference):
        x = layer(x)
        if k in {place + 1 for place in LAYERS.values()}:
            expected.append(x.clone())
    found = network(picture, list(LAYERS))
    assert [each.shape[1] for each in found] == [128, 256, 512, 512]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_names_of_layers_are_those_of_the_paper() -> None:
    blocks = vgg.cfgs["E"]
    place, block, number, found = 0, 1, 0, {}
    for entry in blocks:
        if entry == "M":
            place, block, number = place + 1, block + 1, 0
            continue
        number += 1
        found[f"relu{block}_{number}"] = place
        place += 2
    assert {name: found[name] for name in LAYERS} == LAYERS


def test_random_weights_are_a_function_of_the_seed_and_leave_the_run_alone() -> None:
    one, other, third = (VGG19Features() for _ in range(3))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one.draw(0)
    assert torch.equal(torch.get_rng_state(), before)
    other.draw(0)
    third.draw(1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(third.parameters()))
    assert not any(p.requires_grad for p in one.parameters())
