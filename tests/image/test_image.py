import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from restore.image import label_maps, writing
from restore.image.decoded_image import DecodedImage, to_float
from restore.image.reading import read, read_rgb8
from restore.io.errors import SettingError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DTYPES = {8: torch.uint8, 16: torch.uint16}
ORIENTATION = 0x0112


def noise(*shape: int, bits: int = 8, seed: int = 0) -> np.ndarray[Any, Any]:
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, shape, dtype=dtype)


def smooth(height: int, width: int, channels: int) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[:height, :width]
    planes = [120 + 90 * np.sin(rows / (7 + c)) * np.cos(columns / (9 - c)) for c in range(channels)]
    return np.stack(planes, 2).round().astype(np.uint8)


def made(bits: int, channels: int, alpha: bool, icc: bytes | None = None) -> DecodedImage:
    pixels = torch.from_numpy(noise(channels, 9, 13, bits=bits))
    return DecodedImage(pixels, torch.from_numpy(noise(1, 9, 13, bits=bits, seed=1)) if alpha else None, icc)


def hwc(pixels: torch.Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))


def png(header: tuple[int, ...], chunks: list[tuple[bytes, bytes]], rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    middle = b"".join(chunk(kind, body) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- writing and reading back ---


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_png_and_tiff_keep_everything(suffix: str, bits: int, channels: int, alpha: bool, tmp_path: Path) -> None:
    picture = made(bits, channels, alpha, SRGB if channels == 3 else None)
    writing.write(tmp_path / f"a{suffix}", picture)
    back = read(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == DTYPES[bits]
    assert torch.equal(back.pixels, picture.pixels)
    assert back.is_grey == (channels == 1)
    assert back.icc == picture.icc
    if picture.alpha is None:
        assert back.alpha is None
    else:
        assert back.alpha is not None
        assert back.alpha.dtype == DTYPES[bits]
        assert torch.equal(back.alpha, picture.alpha)


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_webp_keeps_8_bit_levels_and_profile(channels: int, alpha: bool, tmp_path: Path) -> None:
    picture = made(8, channels, alpha, SRGB)
    if picture.alpha is not None:
        picture.alpha.clamp_(min=1)  # an invisible pixel's colour is not stored
    writing.write(tmp_path / "a.webp", picture)
    back = read(tmp_path / "a.webp")
    assert torch.equal(back.pixels, picture.pixels.expand(3, -1, -1))  # the format knows no grey
    assert back.icc == SRGB
    assert (back.alpha is None) == (picture.alpha is None)
    if back.alpha is not None and picture.alpha is not None:
        assert torch.equal(back.alpha, picture.alpha)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_bmp_keeps_8_bit_levels_and_greyness(channels: int, tmp_path: Path) -> None:
    picture = made(8, channels, alpha=False)
    writing.write(tmp_path / "a.bmp", picture)
    assert torch.equal(read(tmp_path / "a.bmp").pixels, picture.pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_jpeg_keeps_greyness_and_profile_and_comes_close(channels: int, suffix: str, tmp_path: Path) -> None:
    pixels = torch.from_numpy(smooth(40, 56, channels)).permute(2, 0, 1)
    writing.write(tmp_path / f"a{suffix}", DecodedImage(pixels, icc=SRGB if channels == 3 else None))
    back = read(tmp_path / f"a{suffix}")
    assert back.icc == (SRGB if channels == 3 else None)
    assert back.pixels.shape == pixels.shape
    assert (back.pixels.double() - pixels.double()).abs().mean() < 2


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_16_bit_is_rounded_to_8_where_the_format_has_no_more(channels: int, suffix: str, tmp_path: Path) -> None:
    levels = [0, 128, 129, 257 * 77 + 128, 257 * 77 + 129, 65535]  # halfway is 257 k + 128.5
    expected = [0, 0, 1, 77, 78, 255]
    for level, rounded in zip(levels, expected, strict=True):
        flat = torch.full((channels, 16, 16), level, dtype=torch.int32).to(torch.uint16)
        writing.write(tmp_path / f"a{suffix}", DecodedImage(flat))
        back = read(tmp_path / f"a{suffix}").pixels
        assert back.dtype == torch.uint8
        assert (back.int() - rounded).abs().max() <= (1 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".bmp"])
def test_transparency_is_refused_where_the_format_has_none(suffix: str, bits: int, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as error:
        writing.write(tmp_path / f"a{suffix}", made(bits, 3, alpha=True))
    assert (error.value.key, error.value.got) == ("output", tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.exe"])
def test_unknown_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as error:
        writing.write(tmp_path / name, made(8, 3, alpha=False))
    assert (error.value.key, error.value.got) == ("output", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_suffix_may_be_in_capitals_and_the_folder_new(tmp_path: Path) -> None:
    picture = made(16, 3, alpha=True)
    writing.write(tmp_path / "new" / "deep" / "A.PNG", picture)
    assert torch.equal(read(tmp_path / "new" / "deep" / "A.PNG").pixels, picture.pixels)


# --- other people's readers understand what we write ---


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_files_are_read_alike_by_another_decoder(suffix: str, channels: int, tmp_path: Path) -> None:
    picture = made(16, 3 if channels == 4 else channels, channels == 4, SRGB)
    writing.write(tmp_path / f"a{suffix}", picture)
    data = (tmp_path / f"a{suffix}").read_bytes()
    other = np.asarray(imagecodecs.png_decode(data) if suffix == ".png" else tifffile.imread(io.BytesIO(data)))
    other = other if other.ndim == 3 else other[..., None]
    planes = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha])
    assert np.array_equal(other, hwc(planes))
    if suffix == ".png":
        with Image.open(io.BytesIO(data)) as file:
            assert file.info["icc_profile"] == SRGB  # Pillow checks the chunk's checksum


# --- atomic writing ---


@pytest.mark.parametrize("bits", [8, 16])
def test_a_failing_move_leaves_the_old_file_alone(bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"the old file")

    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        writing.write(path, made(bits, 3, alpha=False))
    assert path.read_bytes() == b"the old file"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_an_image_that_cannot_be_encoded_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"the old file")
    with pytest.raises((TypeError, ValueError)):
        writing.write(path, DecodedImage(torch.zeros(5, 4, 4, dtype=torch.uint8)))
    assert path.read_bytes() == b"the old file"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_writing_leaves_one_file_and_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"the old file")
    writing.write(path, made(8, 3, alpha=False))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert torch.equal(read(path).pixels, made(8, 3, alpha=False).pixels)


# --- orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied(suffix: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(smooth(20, 33, 3)).save(path, exif=exif, **options)
    with Image.open(path) as file:
        expected = np.array(ImageOps.exif_transpose(file))
    got = hwc(read(path).pixels)
    assert got.shape == expected.shape
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_of_16_bit_files_is_applied(suffix: str, orientation: int, tmp_path: Path) -> None:
    pixels = noise(6, 9, bits=16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, pixels, extratags=[(ORIENTATION, "H", 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(pixels).save(path, exif=exif)
    small = Image.fromarray((pixels >> 8).astype(np.uint8))
    exif = small.getexif()
    exif[ORIENTATION] = orientation
    expected = np.array(ImageOps.exif_transpose(small))
    got = read(path).pixels
    assert got.dtype == torch.uint16
    assert np.array_equal(got[0].numpy() >> 8, expected)


def test_orientation_outside_1_to_8_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 77
    pixels = noise(5, 7, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(hwc(read(tmp_path / "a.png").pixels), pixels)


def test_transparency_turns_with_the_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    pixels = noise(5, 7, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    picture = read(tmp_path / "a.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy(), np.rot90(pixels[..., 3], -1))


def test_a_written_image_is_not_turned_twice(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(noise(5, 7, 3)).save(tmp_path / "a.png", exif=exif)
    upright = read(tmp_path / "a.png")
    writing.write(tmp_path / "b.png", upright)
    assert torch.equal(read(tmp_path / "b.png").pixels, upright.pixels)


# --- kinds of pixels ---


def palette_picture() -> Image.Image:
    picture = Image.fromarray(noise(6, 8) % 5, "P")
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200, 255, 255, 255])
    return picture


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    palette_picture().save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert picture.alpha is None
    assert np.array_equal(hwc(picture.pixels), np.array(palette_picture().convert("RGB")))


def test_palette_with_transparency_becomes_rgb_and_alpha(tmp_path: Path) -> None:
    source = palette_picture()
    source.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    picture = read(tmp_path / "a.png")
    indices = np.array(source)
    assert np.array_equal(hwc(picture.pixels), np.array(source.convert("RGB")))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy(), np.array([0, 128, 255, 255, 255])[indices])


def test_one_transparent_colour_becomes_alpha(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1:3] = (1, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=(1, 2, 3))
    picture = read(tmp_path / "a.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy(), np.where((pixels == (1, 2, 3)).all(2), 0, 255))


def test_one_transparent_grey_stays_grey(tmp_path: Path) -> None:
    pixels = noise(4, 4) % 3
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=1)
    picture = read(tmp_path / "a.png")
    assert picture.is_grey
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy(), np.where(pixels == 1, 0, 255))


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_black_and_white_becomes_grey_of_0_and_255(suffix: str, tmp_path: Path) -> None:
    bits = noise(5, 11) > 127
    Image.fromarray(bits).save(tmp_path / f"a.{suffix}")
    picture = read(tmp_path / f"a.{suffix}")
    assert picture.is_grey
    assert np.array_equal(picture.pixels[0].numpy(), np.where(bits, 255, 0))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(suffix: str, tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"a.{suffix}")
    picture = read(tmp_path / f"a.{suffix}")
    red = torch.tensor([255, 0, 0]).view(3, 1, 1)
    assert picture.pixels.shape == (3, 16, 16)
    assert (picture.pixels.int() - red).abs().max() <= 3


def test_cmyk_with_a_profile_of_another_colour_space_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, icc_profile=SRGB)
    try:
        picture = read(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert picture.pixels.shape == (3, 16, 16)
        assert picture.icc is None


@pytest.mark.parametrize("mode", ["I", "LAB"])
def test_an_unsupported_pixel_mode_is_refused_by_name(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif.*{mode}"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("layout", ["grey", "contig", "separate"])
def test_16_bit_tiff_of_other_software(layout: str, byteorder: Any, compression: str | None, tmp_path: Path) -> None:
    pixels = noise(7, 10, bits=16) if layout == "grey" else noise(7, 10, 3, bits=16)
    stored = pixels.transpose(2, 0, 1) if layout == "separate" else pixels
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        byteorder=byteorder,
        compression=compression,
        predictor=compression is not None,
        photometric="minisblack" if layout == "grey" else "rgb",
        planarconfig=None if layout == "grey" else layout,
        iccprofile=SRGB,
        metadata=None,
    )
    picture = read(tmp_path / "a.tif")
    assert picture.pixels.dtype == torch.uint16
    assert np.array_equal(hwc(picture.pixels), pixels.reshape(7, 10, -1))
    assert picture.alpha is None
    assert picture.icc == SRGB


def test_16_bit_planar_tiff_with_alpha(tmp_path: Path) -> None:
    pixels = noise(4, 7, 10, bits=16)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"]
    )
    picture = read(tmp_path / "a.tif")
    assert picture.alpha is not None
    assert np.array_equal(torch.cat([picture.pixels, picture.alpha]).numpy(), pixels)


def test_16_bit_tiff_with_white_as_zero_is_turned_over(tmp_path: Path) -> None:
    pixels = noise(7, 10, bits=16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert np.array_equal(read(tmp_path / "a.tif").pixels[0].numpy(), 65535 - pixels)


def test_16_bit_tiff_with_white_as_zero_keeps_its_alpha(tmp_path: Path) -> None:
    pixels = noise(7, 10, 2, bits=16)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"]
    )
    picture = read(tmp_path / "a.tif")
    assert np.array_equal(picture.pixels[0].numpy(), 65535 - pixels[..., 0])
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy(), pixels[..., 1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_of_another_encoder_keeps_its_low_bytes(channels: int, tmp_path: Path) -> None:
    pixels = noise(7, 10, channels, bits=16)
    pixels[..., 0] = np.arange(70).reshape(7, 10) + 256  # differs in what a cut to 8 bit would lose
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels.squeeze()))
    picture = read(tmp_path / "a.png")
    planes = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha])
    assert picture.pixels.dtype == torch.uint16
    assert picture.is_grey == (channels < 3)
    assert (picture.alpha is not None) == (channels in (2, 4))
    assert np.array_equal(hwc(planes), pixels)


def test_16_bit_png_written_byte_by_byte(tmp_path: Path) -> None:
    pixels = np.array([[[1, 258, 65535], [4, 772, 0]]], dtype=">u2")
    data = png((2, 1, 16, 2, 0, 0, 0), [(b"iCCP", b"x\0\0" + zlib.compress(SRGB))], b"\0" + pixels.tobytes())
    (tmp_path / "a.png").write_bytes(data)
    picture = read(tmp_path / "a.png")
    assert np.array_equal(hwc(picture.pixels), pixels)
    assert picture.icc == SRGB


def test_animation_gives_its_first_frame_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Image.fromarray(noise(6, 8, 3)), Image.fromarray(noise(6, 8, 3, seed=1))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    picture = read(tmp_path / "a.tif")
    assert np.array_equal(hwc(picture.pixels), np.array(first))
    assert "2 frames" in caplog.text


# --- training data and labels ---


def test_read_rgb8_triples_grey_drops_alpha_and_rounds_16_bit(tmp_path: Path) -> None:
    levels = np.array([[0, 128, 129, 65535]], np.uint16)
    (tmp_path / "grey.png").write_bytes(imagecodecs.png_encode(levels))
    got = read_rgb8(tmp_path / "grey.png")
    assert got.dtype == torch.uint8
    assert got.tolist() == [[[0, 0, 1, 255]]] * 3
    writing.write(tmp_path / "alpha.png", made(8, 3, alpha=True))
    assert torch.equal(read_rgb8(tmp_path / "alpha.png"), made(8, 3, alpha=True).pixels)


def test_labels_are_indices_and_not_colours(tmp_path: Path) -> None:
    source = palette_picture()
    source.save(tmp_path / "palette.png")
    labels = label_maps.read_labels(tmp_path / "palette.png")
    assert labels.dtype == torch.uint8
    assert labels.shape == (1, 6, 8)
    assert np.array_equal(labels[0].numpy(), np.array(source))
    grey = noise(5, 7) % 12
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(label_maps.read_labels(tmp_path / "grey.png")[0].numpy(), grey)


def test_labels_of_a_colour_image_are_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(5, 7, 3)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png.*RGB.*palette"):
        label_maps.read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_label_map_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png"):
        label_maps.read_labels(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        label_maps.read_labels(tmp_path / "b.png")


def test_a_label_bomb_is_refused_as_a_value_error(tmp_path: Path) -> None:
    header = (40_000, 40_000, 1, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(png(header, [], b"\0"))
    with pytest.raises(ValueError, match=r"bomb\.png"):
        label_maps.read_labels(tmp_path / "bomb.png")


# --- refusals ---


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_image_above_the_pixel_limit_is_refused(bits: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    writing.write(path, made(bits, 3, alpha=False))  # 13 x 9 = 117 px
    assert read(path, max_pixels=117).pixels.shape == (3, 9, 13)
    with pytest.raises(ValueError, match=rf"a\.{suffix}.*13x9.*116"):
        read(path, max_pixels=116)


@pytest.mark.parametrize("size", [12_300, 40_000])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(bits: int, size: int, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png((size, size, bits, 2, 0, 0, 0), [], b"\0"))
    with pytest.raises(ValueError, match=r"bomb\.png.*shrink or split"):
        read(tmp_path / "bomb.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read(tmp_path / "nowhere.png")
    with pytest.raises(FileNotFoundError):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"a letter, not a picture", b"GIF89a\1\0\1\0\0\0\0;", b"%PDF-1.4"])
def test_what_is_no_image_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg.*not a PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC"):
        read(tmp_path / "a.jpg")


def samples() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    options: dict[str, Any]
    for suffix in ("png", "jpg", "tif", "webp", "bmp"):
        buffer = io.BytesIO()
        options = {} if suffix == "bmp" else {"icc_profile": SRGB}
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
        Image.fromarray(noise(12, 17, 3)).save(buffer, kind, **options)
        found[suffix] = buffer.getvalue()
    sixteen: dict[str, dict[str, Any]] = {
        "16.tif": {"compression": "zlib", "iccprofile": SRGB},
        "planar.tif": {"compression": "lzw", "planarconfig": "separate"},
        "raw.tif": {"rowsperstrip": 4},
    }
    for name, options in sixteen.items():
        buffer = io.BytesIO()
        pixels = noise(12, 17, 3, bits=16)
        stored = pixels.transpose(2, 0, 1) if name == "planar.tif" else pixels
        tifffile.imwrite(buffer, stored, photometric="rgb", **options)
        found[name] = buffer.getvalue()
    for name, mode in {"lzw.tif": "RGB", "cmyk.tif": "CMYK", "palette.png": "P", "cmyk.jpg": "CMYK"}.items():
        buffer = io.BytesIO()
        options = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
        kind = {"tif": "tiff", "jpg": "jpeg", "png": "png"}[name.split(".")[1]]
        Image.fromarray(noise(12, 17, 3)).convert(mode).save(buffer, kind, **options)
        found[name] = buffer.getvalue()
    found["16.png"] = bytes(imagecodecs.png_encode(noise(12, 17, 3, bits=16)))
    return found


SAMPLES = samples()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_truncated_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    data = SAMPLES[name]
    path = tmp_path / name
    path.write_bytes(data)
    assert read(path).pixels.shape == (3, 12, 17)
    for kept in (1, 4, 9, 30, len(data) // 4, len(data) // 2, 3 * len(data) // 4):
        path.write_bytes(data[:kept])
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the path is looked for below
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "tag", "value"),
    [
        ("16.tif", "ImageLength", 0),
        ("16.tif", "ImageWidth", 0),
        ("16.tif", "RowsPerStrip", 0),
        ("planar.tif", "SamplesPerPixel", 128),
        ("planar.tif", "SamplesPerPixel", 2),
        ("planar.tif", "PlanarConfiguration", 0),
        ("planar.tif", "PhotometricInterpretation", 3),
    ],
)
def test_a_16_bit_tiff_that_contradicts_itself_is_refused_by_name(
    name: str, tag: str, value: int, tmp_path: Path
) -> None:
    content = bytearray(SAMPLES[name])
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        where = tiff.pages.first.tags[tag].valueoffset
    content[where : where + 2] = struct.pack("<H", value)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read(tmp_path / name)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_give_an_image_or_a_value_error(name: str, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(SAMPLES[name])
    # structure sits at both ends, so half of the flips go there
    near = st.integers(0, min(300, len(content) - 1))
    place = st.one_of(near, near.map(lambda k: len(content) - 1 - k), st.integers(0, len(content) - 1))
    for where, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)):
        content[where] = value
    path = tmp_path / name
    path.write_bytes(content)
    try:
        picture = read(path, max_pixels=1_000_000)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert picture.pixels.shape[0] in (1, 3)
        assert picture.pixels.dtype in (torch.uint8, torch.uint16)
        assert picture.alpha is None or picture.alpha.shape[1:] == picture.pixels.shape[1:]


# --- images in memory ---


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_like_keeps_kind_and_undoes_rgb(channels: int, bits: int) -> None:
    picture = made(bits, channels, alpha=True, icc=SRGB)
    assert picture.alpha is not None
    rgb = picture.rgb()
    assert rgb.shape == (3, 9, 13)
    assert rgb.dtype == torch.float32
    assert 0 <= float(rgb.min()) <= float(rgb.max()) <= 1
    back = picture.like(rgb, to_float(picture.alpha))
    assert torch.equal(back.pixels, picture.pixels)
    assert back.alpha is not None
    assert torch.equal(back.alpha, picture.alpha)
    assert back.icc == SRGB
    assert picture.like(rgb, None).alpha is None


def test_like_makes_grey_from_the_mean_and_clamps() -> None:
    grey = made(8, 1, alpha=False)
    rgb = torch.tensor([0.0, 0.3, 0.9]).view(3, 1, 1).expand(3, 2, 5)
    assert grey.like(rgb, None).pixels.tolist() == [[[102] * 5] * 2]  # 0.4 of 255
    colour = made(16, 3, alpha=False).like(torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1), None)
    assert colour.pixels.flatten().tolist() == [0, 32768, 65535]


def test_image_rounds_half_up_and_clamps() -> None:
    rgb = torch.tensor([-0.1, 0.5, 1.1]).view(3, 1, 1)
    got = DecodedImage.of(rgb)
    assert got.pixels.flatten().tolist() == [0, 128, 255]
    assert (got.alpha, got.icc, got.peak, got.is_grey) == (None, None, 255, False)


def test_colours_under_full_transparency_survive_in_webp(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (3, 9, 7), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    writing.write(tmp_path / "a.webp", DecodedImage(pixels, torch.zeros(1, 9, 7, dtype=torch.uint8)))
    assert torch.equal(read(tmp_path / "a.webp").pixels, pixels)


@pytest.mark.parametrize(("suffix", "most"), [("webp", 16383), ("jpg", 65500)])
def test_sides_too_long_for_the_format_are_refused_before_the_work(suffix: str, most: int, tmp_path: Path) -> None:
    half = DecodedImage(torch.zeros(1, 1, most // 2 + 1, dtype=torch.uint8))
    target = tmp_path / f"a.{suffix}"
    with pytest.raises(SettingError) as error:
        writing.check_target(target, half, scale=2)
    assert (error.value.key, error.value.remedy) == ("output", "write .png or .tif")
    writing.check_target(target, half, scale=1.99)
    whole = DecodedImage(torch.zeros(1, 1, most, dtype=torch.uint8))
    writing.write(target, whole)  # the limit is where the encoder has it
    assert read(target).pixels.shape[1:] == (1, most)


@pytest.mark.parametrize(
    ("quality", "factors"), [(None, (1, 1)), (100, (1, 1)), (90, (1, 1)), (89, (2, 2)), (50, (2, 2))]
)
def test_jpeg_has_whole_colours_from_quality_90_on(
    quality: int | None, factors: tuple[int, int], tmp_path: Path
) -> None:
    for channels in (1, 3):
        pixels = torch.from_numpy(smooth(40, 56, channels)).permute(2, 0, 1)
        writing.write(tmp_path / f"{channels}.jpg", DecodedImage(pixels), quality=quality)
    with Image.open(tmp_path / "3.jpg") as file:
        assert isinstance(file, JpegImageFile)
        assert [layer[1:3] for layer in file.layer] == [factors, (1, 1), (1, 1)]
    with Image.open(tmp_path / "1.jpg") as file:
        assert file.mode == "L"
        assert file.size == (56, 40)


def test_a_thin_red_line_survives_in_a_jpeg_of_the_default_quality(tmp_path: Path) -> None:
    pixels = torch.full((3, 16, 16), 128, dtype=torch.uint8)
    pixels[:, :, 7] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None]
    writing.write(tmp_path / "a.jpg", DecodedImage(pixels))
    red, green, blue = read(tmp_path / "a.jpg").pixels[:, 8, 7].tolist()
    assert red > 235
    assert max(green, blue) < 20


@pytest.mark.parametrize(("content", "said"), [(b"", "the file is empty"), (b"\x89PNG\r\n\x1a\n", "truncated PNG")])
def test_a_file_of_nothing_and_one_of_a_signature_are_not_called_other_formats(
    content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png: .*{said}"):
        read(tmp_path / "a.png")


def test_a_folder_is_not_called_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a regular file"):
        read(tmp_path)
