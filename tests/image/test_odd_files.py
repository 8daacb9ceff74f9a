"""Files as people have them: sound pixels beside damage, colours with a meaning, samples and pages of all kinds."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.image.png_chunks import chunk
from restore.image.transparency import carry_colours
from restore.inference.baselines import Bicubic
from restore.inference.restorer import restore_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (24, 32, 3), np.uint8)
LARGE_PROFILE = struct.pack(">I", 2_000_000) + SRGB[4:] + bytes(2_000_000 - len(SRGB))


def encoded(kind: str, pixels: Any = PIXELS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def png_with(*chunks: tuple[bytes, bytes], pixels: Any = PIXELS) -> bytes:
    data = encoded("PNG", pixels) if pixels.dtype == np.uint8 else bytes(imagecodecs.png_encode(pixels))
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def wrong_checksum(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind)
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    return data[:end] + b"wron" + data[end + 4 :]


def webp_with_exif() -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Maker" * 20
    return encoded("WEBP", lossless=True, exif=exif)


def resized_webp(size: int) -> bytes:
    data = encoded("WEBP", lossless=True)
    return data[:4] + struct.pack("<I", size) + data[8:]


def jpeg_with(marker: int, body: bytes) -> bytes:
    data = encoded("JPEG", quality=95)
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body + data[2:]


COMMENT = png_with((b"tEXt", b"Comment\0hello"))
JPEG = encoded("JPEG", quality=95)

# name -> the file, whether something is lost that a warning must name
SOUND_PIXELS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "text of 2 MB": (lambda: png_with((b"zTXt", b"w\0\0" + zlib.compress(b"x" * 2_000_000))), False),
    "text, checksum": (lambda: wrong_checksum(COMMENT, b"tEXt"), True),
    "time, checksum": (lambda: wrong_checksum(png_with((b"tIME", bytes(7))), b"tIME"), True),
    "gamma, checksum": (lambda: wrong_checksum(png_with((b"gAMA", bytes(4))), b"gAMA"), True),
    "EXIF, checksum": (lambda: wrong_checksum(png_with((b"eXIf", b"MM\0*\0\0\0\x08\0\0")), b"eXIf"), True),
    "resolution too short": (lambda: png_with((b"pHYs", b"\0")), False),
    "primaries too short": (lambda: png_with((b"cHRM", b"\0")), False),
    "animation too short": (lambda: png_with((b"acTL", b"\0")), False),
    "profile, no profile": (lambda: png_with((b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))), True),
    "profile, not packed": (lambda: png_with((b"iCCP", b"x\0\0no zlib")), True),
    "profile, unknown packing": (lambda: png_with((b"iCCP", b"x\0\7" + zlib.compress(SRGB))), True),
    "no end of a PNG": (lambda: encoded("PNG")[:-12], False),
    "cut in the end of a PNG": (lambda: encoded("PNG")[:-5], False),
    "16 bit, text, checksum": (
        lambda: wrong_checksum(png_with((b"tEXt", b"C\0h"), pixels=PIXELS.astype(np.uint16) * 257), b"tEXt"),
        True,
    ),
    "JPEG, half a profile": (lambda: jpeg_with(0xE2, b"ICC_PROFILE\0\1\2" + SRGB), True),
    "JPEG, a profile's head": (lambda: jpeg_with(0xE2, b"ICC_PROFILE\0"), True),
    "JPEG, many previews": (lambda: jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"), False),
    "JPEG, editor's blocks": (lambda: jpeg_with(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4"), False),
    "WebP, EXIF cut": (lambda: webp_with_exif()[:-40], True),
    "WebP, size too large": (lambda: resized_webp(100_000), True),
}


@pytest.mark.parametrize("metadata", ["strip", "keep"])
@pytest.mark.parametrize("name", SOUND_PIXELS)
def test_damage_beside_sound_pixels_costs_at_most_a_warning(
    name: str, metadata: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, is_damaged = SOUND_PIXELS[name]
    (tmp_path / "a").write_bytes(make())
    image = reading.read(tmp_path / "a", metadata=metadata)
    expected = Image.open(io.BytesIO(JPEG)) if name.startswith("JPEG") else PIXELS
    assert np.array_equal(image.rgb8().permute(1, 2, 0).numpy(), np.array(expected))
    said = is_damaged or (name == "text of 2 MB" and metadata == "keep")
    assert len(caplog.messages) == said, caplog.messages
    assert all(str(tmp_path / "a") in message for message in caplog.messages)


def test_one_damaged_text_costs_no_other(tmp_path: Path) -> None:
    data = png_with((b"tEXt", b"Author\0Somebody"), (b"zTXt", b"Bad\0\0not packed at all"), (b"tEXt", b"Title\0This"))
    (tmp_path / "a.png").write_bytes(wrong_checksum(data, b"zTXt"))
    kept = reading.read(tmp_path / "a.png", metadata="keep")
    assert kept.description.texts == (("Author", "Somebody"), ("Title", "This"))


def test_a_large_profile_of_a_png_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_bytes(png_with((b"iCCP", b"x\0\0" + zlib.compress(LARGE_PROFILE))))
    assert reading.read(tmp_path / "a.png").icc == LARGE_PROFILE
    assert caplog.messages == []


def test_a_cmyk_image_with_a_profile_that_is_none_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.tif", icc_profile=b"no profile")
    assert reading.read(tmp_path / "a.tif").pixels[:, 0, 0].tolist() == [255, 0, 0]
    assert len(caplog.messages) == 1


# --- a JPEG without its end ---

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "halved colours": {"subsampling": "4:2:0"},
}


def jpeg(kind: str, grey: bool) -> bytes:
    pixels = RANDOM.integers(0, 256, (45, 53) if grey else (45, 53, 3), np.uint8)
    return encoded("JPEG", pixels, quality=90, **KINDS[kind])


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_without_its_end_marker_is_read_and_one_without_pixels_is_not(
    kind: str, grey: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = jpeg(kind, grey)
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    for end in (1, 2):  # half of the marker, all of it
        (tmp_path / "a.jpg").write_bytes(data[:-end])
        caplog.clear()
        assert np.array_equal(reading.read(tmp_path / "a.jpg").rgb8().permute(1, 2, 0).numpy(), expected)
        assert len(caplog.messages) == 1
    scan = data.rindex(b"\xff\xda")
    for end in (6, 10, 40, 200, len(data) - scan - 14, len(data) - scan, len(data) - scan + 3):
        (tmp_path / "a.jpg").write_bytes(data[:-end])
        with pytest.raises(ValueError, match=r"a\.jpg: "):
            reading.read(tmp_path / "a.jpg")


def test_a_jpeg_cut_between_two_scans_is_not_whole(tmp_path: Path) -> None:
    data = jpeg("progressive", grey=False)
    (tmp_path / "a.jpg").write_bytes(data[: data.rindex(b"\xff\xda")])
    with pytest.raises(ValueError, match="damaged or truncated"):
        reading.read(tmp_path / "a.jpg")


# --- transparency ---


def disc(colour: tuple[int, int, int], under: tuple[int, int, int], bits: int) -> DecodedImage:
    y, x = np.mgrid[:48, :48]
    cover = np.clip(16.5 - np.hypot(y - 23.5, x - 23.5), 0, 1)
    planes = np.where(cover > 0, np.array(colour)[:, None, None], np.array(under)[:, None, None])
    levels = np.concatenate([planes, (cover * 255).round()[None]]) * (1 if bits == 8 else 257)
    stored = torch.from_numpy(levels.astype(np.uint8 if bits == 8 else np.uint16))
    return DecodedImage(stored[:3], stored[3:])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("colour", "under"), [((255, 255, 255), (0, 0, 0)), ((0, 40, 200), (255, 255, 0))])
@pytest.mark.parametrize("scale", [2, 4])
def test_no_fringe_at_a_transparent_edge(scale: int, colour: Any, under: Any, bits: int) -> None:
    got = restore_image(Bicubic(scale), disc(colour, under, bits))
    assert got.alpha is not None
    share = got.alpha.float() / got.peak
    on_same = got.pixels.float() * share + torch.tensor(colour).view(3, 1, 1) * (got.peak // 255) * (1 - share)
    assert (on_same / (got.peak // 255) - torch.tensor(colour).view(3, 1, 1)).abs().max() <= 1


def test_carried_colours_leave_what_is_visible() -> None:
    image = DecodedImage(torch.from_numpy(RANDOM.integers(0, 65536, (3, 17, 9), np.uint16)))
    alpha = torch.from_numpy(RANDOM.integers(0, 2, (1, 17, 9), np.uint16))
    got = carry_colours(image.pixels, alpha).to(torch.int32)
    seen = alpha.to(torch.int32).bool().expand(3, -1, -1)
    assert torch.equal(got[seen], image.pixels.to(torch.int32)[seen])
    for nothing in (None, torch.zeros_like(alpha), torch.full_like(alpha, 3)):
        assert carry_colours(image.pixels, nothing) is image.pixels


# --- samples of a TIFF ---


def tiff(path: Path, pixels: Any, colours: int | None = None, **options: Any) -> Path:
    is_grey = colours == 1 or pixels.ndim == 2 or pixels.shape[-1] < 3
    photometric = "minisblack" if is_grey else "rgb"
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig="contig", metadata=None, **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("colours", [1, 3])
def test_premultiplied_colours_are_divided(colours: int, dtype: Any, compression: str | None, tmp_path: Path) -> None:
    straight = RANDOM.random((24, 32, colours))
    alpha = RANDOM.uniform(0.3, 1, (24, 32, 1))
    alpha[:3] = 0
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    stored = np.dstack([straight * alpha, alpha]) * peak
    stored = stored.astype(dtype) if dtype == np.float32 else stored.round().astype(dtype)
    path = tiff(tmp_path / "a.tif", stored, extrasamples=["assocalpha"], compression=compression)
    got = reading.read(path)
    assert got.alpha is not None
    assert got.is_grey == (colours == 1)
    assert got.peak == (255 if dtype == np.uint8 else 65535)
    wrong = (got.pixels.double() / got.peak).permute(1, 2, 0).numpy() - straight
    assert np.abs(wrong[3:]).max() < (0.015 if dtype == np.uint8 else 0.0001)
    assert torch.equal(got.pixels[:, :3].to(torch.int32), torch.zeros_like(got.pixels[:, :3], dtype=torch.int32))


def test_premultiplied_levels_of_the_issue(tmp_path: Path) -> None:
    stored = np.full((4, 4, 4), 25728, np.uint16)
    stored[..., 3] = 32896
    got = reading.read(tiff(tmp_path / "a.tif", stored, extrasamples=["assocalpha"]))
    assert got.pixels.to(torch.int32).unique().tolist() == [51255]  # 25728 / 32896 of white


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("extra", [["unspecified"], ["unassalpha", "unspecified"], ["unspecified", "unassalpha"]])
def test_only_what_the_file_calls_transparency_is_it(
    extra: list[str], colours: int, dtype: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = RANDOM.integers(0, np.iinfo(dtype).max, (9, 7, colours + len(extra)), dtype)
    path = tiff(tmp_path / "a.tif", pixels, colours, extrasamples=extra)
    if colours == 1 and len(extra) > 1:
        with pytest.raises(ValueError, match="expected grey or RGB"):
            reading.read(path)
        return
    got = reading.read(path)
    assert np.array_equal(got.pixels.permute(1, 2, 0).numpy(), pixels[..., :colours])
    assert (got.alpha is None) == ("unassalpha" not in extra)
    if got.alpha is not None:
        assert np.array_equal(got.alpha[0].numpy(), pixels[..., colours + extra.index("unassalpha")])
    assert len(caplog.messages) == 1
    assert "1 more samples" in caplog.messages[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_further_pages_are_named_but_for_previews(dtype: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for k in range(3):
            pixels = np.full((8, 8, 3), k, dtype) if dtype != np.float32 else np.full((8, 8, 3), k / 4, dtype)
            file.write(pixels, photometric="rgb", metadata=None, subfiletype=1 if k == 2 else 0)
    assert int(reading.read(tmp_path / "a.tif").pixels.to(torch.int32).max()) == 0
    assert len(caplog.messages) == 1
    assert "2 frames" in caplog.messages[0]


def test_frames_of_an_animated_png_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Image.fromarray(PIXELS)
    first.save(tmp_path / "a.png", save_all=True, append_images=[Image.new("RGB", first.size)])
    assert np.array_equal(reading.read(tmp_path / "a.png").pixels.permute(1, 2, 0).numpy(), PIXELS)
    assert "2 frames" in caplog.text


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (5, 6, 4)])
def test_floating_point_levels_from_0_to_1_become_16_bit(shape: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    values = RANDOM.random(shape).astype(dtype)
    values.flat[:2] = 0, 1
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if shape[-1] == 4 else {}
    got = reading.read(tiff(tmp_path / "a.tif", values, **options))
    planes = got.pixels if got.alpha is None else torch.cat([got.pixels, got.alpha])
    expected = np.floor(values.astype(np.float64) * 65535 + 0.5).reshape(5, 6, -1)
    assert np.array_equal(planes.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf, 255])
def test_other_floating_point_levels_are_refused(value: float, tmp_path: Path) -> None:
    values = np.full((5, 6, 3), 0.5, np.float32)
    values[2, 3, 1] = value
    with pytest.raises(ValueError, match=r"a\.tif.*floating-point.*expected 0 to 1"):
        reading.read(tiff(tmp_path / "a.tif", values))


@pytest.mark.parametrize(
    ("dtype", "words"), [(np.int16, "16-bit signed"), (np.uint32, "32-bit unsigned"), (np.complex64, "complex")]
)
def test_other_samples_are_named(dtype: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"a\.tif.*{words}.*save it as"):
        reading.read(tiff(tmp_path / "a.tif", np.zeros((5, 6, 3), dtype)))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\0\x20ftypisom", "video"),
        (b"8BPS", "Photoshop"),
        (b"<svg", "SVG"),
    ],
)
def test_another_format_is_named(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content + bytes(40))
    with pytest.raises(ValueError, match=rf"a\.jpg: not a PNG.*, but an? {name}"):
        reading.read(tmp_path / "a.jpg")


# --- what the colours mean, and the resolution ---

LINEAR = (b"gAMA", struct.pack(">I", 100_000))
WIDE = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
HDR = (b"cICP", bytes([9, 16, 0, 1]))
USUAL = ((b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0"))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colours", [(LINEAR,), (LINEAR, WIDE), (HDR,), USUAL])
def test_the_meaning_of_a_pngs_levels_stays_or_its_loss_is_said(
    colours: tuple[tuple[bytes, bytes], ...], bits: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = PIXELS if bits == 8 else PIXELS.astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(png_with(*colours, pixels=pixels))
    restored = restore_image(Bicubic(2), reading.read(tmp_path / "a.png"))
    writing.write(tmp_path / "b.png", restored)
    data = (tmp_path / "b.png").read_bytes()
    for kind, body in colours:
        assert data.count(chunk(kind, body)) == 1
        assert data.index(kind) < data.index(b"IDAT")
    assert caplog.messages == []
    writing.write(tmp_path / "b.webp", restored)
    said = [message for message in caplog.messages if "meaning of the levels" in message]
    assert len(said) == (colours is not USUAL)


@pytest.mark.parametrize("metadata", ["strip", "keep"])
@pytest.mark.parametrize("outer", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("inner", ["png", "jpg", "tif", "bmp", "16.tif", "16.png", "exif"])
def test_the_resolution_stays(inner: str, outer: str, metadata: Any, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if inner == "exif" else f"a.{inner}")
    if inner == "16.tif":
        tifffile.imwrite(path, PIXELS.astype(np.uint16), photometric="rgb", resolution=(300, 150), resolutionunit=2)
    elif inner == "16.png":
        path.write_bytes(png_with((b"pHYs", struct.pack(">IIB", 11811, 5906, 1)), pixels=PIXELS.astype(np.uint16)))
    elif inner == "exif":
        exif = Image.Exif()
        exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = 300.0, 150.0, 2
        Image.fromarray(PIXELS).save(path, exif=exif)
    else:
        Image.fromarray(PIXELS).save(path, dpi=(300, 150))
    image = reading.read(path, metadata="strip" if outer == "bmp" else metadata)
    writing.write(tmp_path / f"b.{outer}", image)
    with Image.open(tmp_path / f"b.{outer}") as file:
        assert [float(each) for each in file.info["dpi"]] == pytest.approx([300, 150], abs=0.02)


@pytest.mark.parametrize("dpi", [(0, 0), (1e9, 1e9)])
def test_a_resolution_that_no_photo_has_is_left_out(dpi: tuple[float, float], tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", dpi=dpi)
    assert reading.read(tmp_path / "a.tif").dpi is None


def test_adobe_rgb_that_only_exif_says_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.ColorSpace] = 2
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    reading.read(tmp_path / "a.jpg")
    assert ["Adobe RGB" in message for message in caplog.messages] == [True]
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif, icc_profile=SRGB)
    reading.read(tmp_path / "a.jpg")
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp"])
def test_16_bit_into_8_is_said(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writing.write(tmp_path / f"a.{suffix}", DecodedImage(torch.zeros(3, 4, 4, dtype=torch.uint16)))
    assert ["8 bit" in message for message in caplog.messages] == [True]
    writing.write(tmp_path / f"b.{suffix}", DecodedImage(torch.zeros(3, 4, 4, dtype=torch.uint8)))
    assert len(caplog.messages) == 1
