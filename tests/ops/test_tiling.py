import re
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from restore.networks.information_gain import InformationGainNetwork
from restore.ops import tiling

SIZE = st.integers(1, 24)


def counting(height: int, width: int) -> Tensor:
    return torch.arange(1.0, height * width + 1).view(1, 1, height, width)


def nearest(scale: int) -> tiling.Forward:
    return lambda image: F.interpolate(image, scale_factor=scale, mode="nearest")


def tiny(scale: int = 2) -> InformationGainNetwork:
    torch.manual_seed(0)
    network = InformationGainNetwork(
        scale=scale, groups=1, blocks=1, channels=4, attention="none", image_skip="bicubic"
    )
    return network.eval()


# --- padding ---


@settings(max_examples=100, deadline=None)
@given(height=SIZE, width=SIZE, multiple_of=st.integers(1, 9), min_size=st.integers(1, 40))
def test_padding_reaches_the_size_asked_for_and_no_more(
    height: int, width: int, multiple_of: int, min_size: int
) -> None:
    image = counting(height, width)
    padded = tiling.pad(image, multiple_of=multiple_of, min_size=min_size)
    for before, after in zip(image.shape[2:], padded.shape[2:], strict=True):
        assert after % multiple_of == 0
        assert after >= max(before, min_size)
        assert after - max(before, min_size) < multiple_of
    assert torch.equal(padded[..., :height, :width], image)
    assert set(padded.unique().tolist()) == set(image.unique().tolist())


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 4, 3, 2]),  # reflected
        ([1, 2, 3], [1, 2, 3, 2, 1, 1, 1, 1]),  # reflected as far as it goes, then repeated
        ([1], [1] * 8),
    ],
)
def test_padding_reflects_then_repeats(row: list[float], expected: list[float]) -> None:
    image = torch.tensor(row).view(1, 1, 1, -1)
    assert tiling.pad(image, multiple_of=8)[0, 0].tolist() == [expected] * 8
    assert tiling.pad(image.transpose(2, 3), min_size=8)[0, 0].tolist() == [[level] * 8 for level in expected]


@settings(max_examples=50, deadline=None)
@given(height=SIZE, width=SIZE, bottom=st.integers(0, 30), right=st.integers(0, 30))
def test_padding_is_torchs_where_torch_reflects(height: int, width: int, bottom: int, right: int) -> None:
    image = counting(height, width)
    bottom, right = min(bottom, height - 1), min(right, width - 1)
    rows, columns = tiling.padded_rows(height, height + bottom), tiling.padded_rows(width, width + right)
    expected = F.pad(image, (0, right, 0, bottom), mode="reflect")
    assert torch.equal(image[:, :, rows][..., columns], expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_levels_of_a_file_are_padded_as_floats_are(dtype: torch.dtype) -> None:
    image = counting(5, 3)
    padded = tiling.pad(image.to(dtype), multiple_of=4, min_size=8)
    assert padded.dtype == dtype
    assert torch.equal(padded.float(), tiling.pad(image, multiple_of=4, min_size=8))


def test_an_image_that_fits_is_not_touched() -> None:
    image = counting(8, 12)
    assert torch.equal(tiling.pad(image, multiple_of=4, min_size=8), image)


@settings(max_examples=50, deadline=None)
@given(
    height=SIZE,
    width=SIZE,
    multiple_of=st.integers(1, 8),
    min_size=st.integers(1, 20),
    scale=st.sampled_from([1, 2, 3]),
)
def test_whole_pads_for_the_network_and_cuts_the_padding_off(
    height: int, width: int, multiple_of: int, min_size: int, scale: int
) -> None:
    def forward(image: Tensor) -> Tensor:
        assert all(side % multiple_of == 0 and side >= min_size for side in image.shape[2:])
        return nearest(scale)(image)

    image = counting(height, width)
    pred = tiling.whole(forward, image, scale=scale, multiple_of=multiple_of, min_size=min_size)
    assert torch.equal(pred, nearest(scale)(image))


# --- tiles ---


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 80),
    tile=st.integers(1, 40),
    halo=st.integers(0, 20),
    scale=st.sampled_from([1, 2, 3, 4]),
    blend=st.booleans(),
)
def test_weights_sum_to_one_everywhere(length: int, tile: int, halo: int, scale: int, blend: bool) -> None:
    total = torch.zeros(length * scale)
    for piece in tiling.pieces(length, tile=tile, halo=halo, scale=scale, blend=blend):
        assert 0 <= piece.start < piece.stop <= length
        assert piece.weight.shape == ((piece.stop - piece.start) * scale,)
        assert (piece.weight >= 0).all()
        total[piece.start * scale : piece.stop * scale] += piece.weight
    assert (total - 1).abs().max() < 1e-5


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 80), tile=st.integers(1, 40), halo=st.integers(1, 20), scale=st.sampled_from([1, 2, 4]))
def test_without_blending_only_pixels_a_halo_away_from_a_cut_count(
    length: int, tile: int, halo: int, scale: int
) -> None:
    for piece in tiling.pieces(length, tile=tile, halo=halo, scale=scale, blend=False):
        used = piece.weight.nonzero().flatten()
        assert set(piece.weight[used].tolist()) == {1.0}
        assert piece.start == 0 or int(used[0]) == halo * scale
        assert piece.stop == length or len(piece.weight) - 1 - int(used[-1]) >= halo * scale


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    tile=st.integers(3, 20),
    halo=st.integers(0, 8),
    multiple_of=st.integers(1, 6),
    min_size=st.integers(1, 20),
    blend=st.booleans(),
    fits=st.booleans(),
)
def test_a_network_only_sees_sizes_and_places_it_takes(
    size: tuple[int, int], tile: int, halo: int, multiple_of: int, min_size: int, blend: bool, fits: bool
) -> None:
    if fits:  # without padding every pixel says where it comes from
        height, width = (-(-max(side, min_size) // multiple_of) * multiple_of for side in size)
        size = (height, width)
    image = counting(*size)
    seen: list[Tensor] = []

    def forward(part: Tensor) -> Tensor:
        seen.append(part)
        return nearest(2)(part)

    steps: list[tuple[int, int]] = []
    pred = tiling.tiled(
        forward,
        image,
        scale=2,
        tile=tile,
        halo=halo,
        multiple_of=multiple_of,
        min_size=min_size,
        blend=blend,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert pred.shape == (1, 1, 2 * size[0], 2 * size[1])
    assert (pred - nearest(2)(image)).abs().max() < 1e-3  # levels go up to 576
    assert steps == [(k + 1, len(seen)) for k in range(len(seen))]
    for part in seen:
        top, left = divmod(int(part[0, 0, 0, 0]) - 1, size[1])
        assert not fits or top % multiple_of == left % multiple_of == 0
        assert all(side % multiple_of == 0 and side >= min_size for side in part.shape[2:])


def test_tiles_cover_the_image_once_in_reading_order() -> None:
    corners: list[tuple[int, int]] = []

    def forward(part: Tensor) -> Tensor:
        corners.append(divmod(int(part[0, 0, 0, 0]) - 1, 20))
        return part

    tiling.tiled(forward, counting(12, 20), scale=1, tile=7, halo=0, multiple_of=4)  # 7 is rounded up to 8
    assert corners == [(0, 0), (0, 8), (0, 16), (8, 0), (8, 8), (8, 16)]


def test_progress_may_stop_a_tiled_run() -> None:
    calls = []

    def forward(part: Tensor) -> Tensor:
        calls.append(part.shape)
        return part

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiling.tiled(forward, counting(9, 9), scale=1, tile=3, halo=0, progress=stop)
    assert len(calls) == 2


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)), tile=st.integers(1, 24), scale=st.sampled_from([2, 3, 4])
)
def test_tiled_equals_whole_for_a_finite_receptive_field(size: tuple[int, int], tile: int, scale: int) -> None:
    assume(size[0] * size[1] / tile**2 < 12)
    network = tiny(scale)
    assert network.halo is not None
    image = torch.rand(1, 3, *size)
    with torch.inference_mode():
        whole = tiling.whole(network, image, scale=scale)
        tiled = tiling.tiled(network, image, scale=scale, tile=tile, halo=network.halo)
    assert (tiled - whole).abs().max() < 1e-5


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("image_skip", ["bicubic", "none"])
def test_the_published_halo_is_the_receptive_radius(
    scale: int, blocks: int, image_skip: Literal["bicubic", "none"]
) -> None:
    network = InformationGainNetwork(
        scale=scale, groups=1, blocks=blocks, channels=4, attention="none", image_skip=image_skip
    ).double()
    assert network.halo is not None
    with torch.no_grad():
        for parameter in network.parameters():  # all positive: every path is open and nothing cancels
            parameter.abs_().add_(0.01)
    centre = network.halo + 2
    image = (torch.rand(1, 3, 2 * centre + 1, 2 * centre + 1, dtype=torch.float64) + 1).requires_grad_()
    pred = network(image)
    block = pred[..., centre * scale : (centre + 1) * scale, centre * scale : (centre + 1) * scale]
    (gradient,) = torch.autograd.grad(block.sum(), image)
    reached = gradient.abs().sum((0, 1)) > 0
    rows, columns = reached.any(1).nonzero().flatten(), reached.any(0).nonzero().flatten()
    for line in (rows, columns):
        assert (int(line[0]), int(line[-1])) == (centre - network.halo, centre + network.halo)


def test_a_halo_one_short_is_not_exact() -> None:
    network = tiny()
    assert network.halo is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.01)
    image = torch.rand(1, 3, 40, 40)
    with torch.inference_mode():
        whole = network(image)
        exact, short = (
            tiling.tiled(network, image, scale=2, tile=10, halo=halo) for halo in (network.halo, network.halo - 1)
        )
    assert torch.allclose(exact, whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(short, whole, rtol=1e-5, atol=1e-5)


def test_blending_two_pieces_that_disagree_is_a_ramp() -> None:
    values = iter([0.0, 1.0])

    def forward(part: Tensor) -> Tensor:
        return torch.full_like(part, next(values))

    row = tiling.tiled(forward, torch.zeros(1, 1, 1, 32), scale=1, tile=16, halo=4, blend=True)[0, 0, 0]
    assert row[:12].tolist() == [0] * 12
    assert row[20:].tolist() == [1] * 12
    assert (row[12:21].diff() > 0).all()
    assert row[11:21].diff().max() < 0.25


def test_tiles_work_on_batches_and_keep_the_type() -> None:
    image = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    pred = tiling.tiled(nearest(2), image, scale=2, tile=4, halo=1)
    assert pred.dtype == torch.float64
    assert torch.allclose(pred, nearest(2)(image))


# --- budget ---


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    bytes_per_pixel=st.integers(1, 40_000),
    memory_gb=st.floats(0.001, 8),
    halo=st.integers(0, 200),
    multiple_of=st.sampled_from([1, 2, 8, 32]),
)
def test_the_largest_tile_fits_the_budget_and_nothing_larger_does(
    size: tuple[int, int], bytes_per_pixel: int, memory_gb: float, halo: int, multiple_of: int
) -> None:
    budget = memory_gb * 2**30

    def cost(tile: int) -> int:
        context = -(-halo // multiple_of) * multiple_of
        return (tile + 2 * context) ** 2 * bytes_per_pixel

    def largest(gigabytes: float) -> int | None:
        return tiling.largest_tile(
            size, bytes_per_pixel=bytes_per_pixel, memory_gb=gigabytes, halo=halo, multiple_of=multiple_of
        )

    try:
        tile = largest(memory_gb)
    except ValueError as error:
        advised = re.search(r"memory_gb to at least ([\d.]+)", str(error))
        assert advised is not None
        assert f"memory_gb={memory_gb:g}" in str(error)
        assert cost(-(-16 // multiple_of) * multiple_of) > budget
        largest(float(advised[1]))  # following the advice works
        return
    if tile is None:
        assert size[0] * size[1] * bytes_per_pixel <= budget
    else:
        assert size[0] * size[1] * bytes_per_pixel > budget
        assert tile >= 16
        assert tile % multiple_of == 0
        assert cost(tile) <= budget < cost(tile + multiple_of)


def test_a_budget_for_the_whole_image_needs_no_tile() -> None:
    assert tiling.largest_tile((1024, 1024), bytes_per_pixel=1024, memory_gb=1, halo=10) is None
    tile = tiling.largest_tile((1024, 1025), bytes_per_pixel=1024, memory_gb=1, halo=10)
    assert tile == 1024 - 20


# --- flips and turns ---


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (1, 3)])
def test_self_ensemble_of_an_equivariant_function_is_that_function(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    assert torch.allclose(tiling.self_ensemble(nearest(3), image), nearest(3)(image), atol=1e-15)


def test_self_ensemble_shows_all_eight_views_and_averages_their_answers() -> None:
    image = torch.rand(1, 1, 3, 5, dtype=torch.float64)
    views: list[Tensor] = []

    def forward(view: Tensor) -> Tensor:
        views.append(view)
        height, width = view.shape[2:]
        return view * torch.linspace(0, 1, height * width, dtype=view.dtype).view(height, width) ** 2

    got = tiling.self_ensemble(forward, image)
    # the eight symmetries of a square written as index permutations, without rot90 and flip
    pixels, expected, originals = image[0, 0], torch.zeros(3, 5, dtype=torch.float64), []
    for swap in (False, True):
        for up in (False, True):
            for left in (False, True):
                rows, columns = range(3), range(5)
                view = pixels[list(rows[::-1]) if up else list(rows)][:, list(columns[::-1]) if left else list(columns)]
                view = view.T if swap else view
                originals.append(view)
                answer = forward(view[None, None])[0, 0]
                answer = answer.T if swap else answer
                expected += answer[list(rows[::-1]) if up else list(rows)][
                    :, list(columns[::-1]) if left else list(columns)
                ]
    shown = views[:8]
    for original in originals:
        assert sum(v.shape[2:] == original.shape and torch.equal(v[0, 0], original) for v in shown) == 1
    assert torch.allclose(got[0, 0], expected / 8, atol=1e-15)
