"""What a photo's file tells beside its pixels, from file to file through `restore predict`."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from restore.image import reading, writing
from restore.image.picture import Picture
from tests.conftest import Cli, photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:rights="mine"/></x:xmpmeta>'
BICUBIC = ("ckpt_path=bicubic", "scale=2")


def exif() -> Image.Exif:
    found = Image.Exif()
    found[Base.Make] = "Maker"
    found[Base.Orientation] = 6
    inside = found.get_ifd(IFD.Exif)
    inside[Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    inside[Base.ExposureTime] = IFDRational(1, 50)
    inside[Base.ExifImageWidth], inside[Base.ExifImageHeight] = 50, 40
    found.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (52.0, 31.0, 12.5)
    return found


def source(path: Path) -> Path:
    """A photo on its side, 50x40 px as stored."""
    photo(path.with_suffix(".bmp"))
    with Image.open(path.with_suffix(".bmp")) as file:
        if path.suffix == ".png":
            from PIL.PngImagePlugin import PngInfo

            info = PngInfo()
            info.add_itxt("XML:com.adobe.xmp", XMP.decode())
            file.save(path, exif=exif(), icc_profile=SRGB, pnginfo=info)
        elif path.suffix == ".tif":
            found = exif()
            found[700] = XMP
            file.save(path, exif=found.tobytes(), icc_profile=SRGB)
        else:
            file.save(path, exif=exif(), icc_profile=SRGB, xmp=XMP)
    return path


def told(path: Path) -> tuple[Image.Exif, Any]:
    """As Pillow reads it, which is not who wrote the 16-bit files."""
    with Image.open(path) as file:
        file.load()
        found = file.getexif()
        for part in (IFD.Exif, IFD.GPSInfo):
            found.get_ifd(part)
        return found, file.info.get("xmp")


def check(path: Path, size: tuple[int, int]) -> None:
    found, xmp = told(path)
    assert found[Base.Make] == "Maker"
    assert found.get(Base.Orientation, 1) == 1
    inside = found.get_ifd(IFD.Exif)
    assert inside[Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert float(inside[Base.ExposureTime]) == pytest.approx(1 / 50)
    assert (inside[Base.ExifImageWidth], inside[Base.ExifImageHeight]) == size
    assert [float(each) for each in found.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude]] == [52.0, 31.0, 12.5]
    assert xmp is not None
    assert b'tiff:Orientation="1" dc:rights="mine"' in (xmp.encode() if isinstance(xmp, str) else xmp)


@pytest.mark.parametrize("inner", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("outer", ["jpg", "png", "tiff", "webp"])
def test_kept_from_format_to_format_but_for_the_orientation_and_the_size(
    inner: str, outer: str, cli: Cli, tmp_path: Path
) -> None:
    source(tmp_path / f"a{inner}")
    outcome = cli("predict", *BICUBIC, f"input=a{inner}", f"format={outer}", "metadata=keep")
    assert outcome.status == 0, outcome.err
    check(tmp_path / f"a_x2.{outer}", (80, 100))  # the stored 50x40 px stand upright as 40x50
    with Image.open(tmp_path / f"a_x2.{outer}") as file:
        assert file.size == (80, 100)
        assert file.info["icc_profile"] == SRGB


@pytest.mark.parametrize("outer", ["jpg", "png", "tiff", "webp"])
def test_stripped_unless_asked_for_but_for_the_colour_profile(outer: str, cli: Cli, tmp_path: Path) -> None:
    source(tmp_path / "a.jpg")
    assert cli("predict", *BICUBIC, "input=a.jpg", f"format={outer}").status == 0
    found, xmp = told(tmp_path / f"a_x2.{outer}")
    assert Base.Make not in found
    assert not found.get_ifd(IFD.Exif)
    assert not found.get_ifd(IFD.GPSInfo)
    assert xmp is None
    content = (tmp_path / f"a_x2.{outer}").read_bytes()
    assert b"Maker" not in content
    with Image.open(tmp_path / f"a_x2.{outer}") as file:
        assert file.info["icc_profile"] == SRGB


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_files_keep_theirs_too(channels: int, suffix: str, tmp_path: Path) -> None:
    kept = reading.read(source(tmp_path / "a.jpg"), metadata="keep")
    levels = np.random.default_rng(0).integers(0, 65536, (channels, 7, 9)).astype(np.uint16)
    planes = torch.from_numpy(levels)
    alpha = planes[3:] if channels == 4 else None
    icc = None if channels == 1 else SRGB
    writing.write(tmp_path / f"b{suffix}", Picture(planes[:3], alpha, icc, kept.exif, kept.xmp))
    again = reading.read(tmp_path / f"b{suffix}", metadata="keep")
    assert np.array_equal(again.pixels.numpy(), levels[:3])
    assert again.icc == icc
    read = tifffile.imread if suffix == ".tif" else imagecodecs.imread
    assert np.array_equal(read(tmp_path / f"b{suffix}").reshape(7, 9, channels), levels.transpose(1, 2, 0))
    writing.write(
        tmp_path / "c.png", Picture(torch.zeros(3, 7, 9, dtype=torch.uint8), None, None, again.exif, again.xmp)
    )
    check(tmp_path / "c.png", (9, 7))
    if suffix == ".png":
        check(tmp_path / "b.png", (9, 7))


def test_a_format_without_metadata_is_refused_only_where_there_is_some(cli: Cli, tmp_path: Path) -> None:
    source(tmp_path / "a.jpg")
    outcome = cli("predict", *BICUBIC, "input=a.jpg", "output=b.bmp", "metadata=keep")
    assert outcome.status == 1
    assert "bmp cannot hold the picture's EXIF and XMP; set metadata=strip" in " ".join(outcome.err.split())
    assert cli("predict", *BICUBIC, "input=a.jpg", "output=b.bmp").status == 0


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        (b"Exif\0\0MM\0*", b"Exif\0\0\xff\xff\xff\xff"),
        # three fractions under the tag of a text, which can be read and not be written
        (b"\0\1\0\2\0\5\0\0\0\3", b"\0\1\0\x15\0\5\0\0\0\3"),
    ],
    ids=["head", "tag"],
)
def test_damage_costs_the_metadata_and_not_the_picture(whole: bytes, damaged: bytes, cli: Cli, tmp_path: Path) -> None:
    content = source(tmp_path / "a.jpg").read_bytes()
    assert content.count(whole) == 1
    (tmp_path / "a.jpg").write_bytes(content.replace(whole, damaged))
    outcome = cli("predict", *BICUBIC, "input=a.jpg", "output=b.png", "metadata=keep")
    assert outcome.status == 0, outcome.err
    assert "a.jpg: its EXIF or XMP is damaged and is left out" in " ".join((outcome.out + outcome.err).split())
    with Image.open(tmp_path / "b.png") as file:
        assert file.size in ((100, 80), (80, 100))  # without its head nobody knows which side was up
        assert not len(file.getexif())


@pytest.mark.parametrize(
    ("name", "told", "most"), [("EXIF", {"exif": 70_000}, 65533), ("XMP", {"xmp": 65_510}, 65504)], ids=["exif", "xmp"]
)
def test_too_much_for_a_jpeg_is_said_before_the_work(
    name: str, told: dict[str, int], most: int, tmp_path: Path
) -> None:
    pixels = torch.zeros(3, 7, 9, dtype=torch.uint8)
    note = Image.Exif()
    note[Base.ImageDescription] = "n" * told.get("exif", 1)
    xmp = b"x" * told["xmp"] if "xmp" in told else None
    picture = Picture(pixels, None, None, note.tobytes(), xmp)
    with pytest.raises(ValueError, match=rf"bytes of {name}, of which jpg holds {most}; set metadata=strip"):
        writing.refuse_unwritable(tmp_path / "a.jpg", picture)
    writing.write(tmp_path / "a.png", picture)
    if xmp is not None:  # the limit is where the encoder has it
        writing.write(tmp_path / "a.jpg", Picture(pixels, None, None, None, xmp[:most]))


def test_no_preview_is_taken_along(tmp_path: Path) -> None:
    found = exif()
    found.get_ifd(IFD.Exif)[IFD.MakerNote] = b"OWN PREVIEW"
    xmp = XMP.replace(b"</x:xmpmeta>", b"<xmp:Thumbnails><rdf:Alt>OLD PREVIEW</rdf:Alt></xmp:Thumbnails></x:xmpmeta>")
    photo(tmp_path / "a.bmp")
    with Image.open(tmp_path / "a.bmp") as file:
        file.save(tmp_path / "a.jpg", exif=found, xmp=xmp)
    content = (tmp_path / "a.jpg").read_bytes()
    assert b"OWN PREVIEW" in content
    assert b"OLD PREVIEW" in content
    kept = reading.read(tmp_path / "a.jpg", metadata="keep")
    assert kept.exif is not None
    assert kept.xmp is not None
    assert b"PREVIEW" not in kept.exif + kept.xmp
    assert b"2024:05:06" in kept.exif
    assert kept.xmp.endswith(b'dc:rights="mine"/></x:xmpmeta>')
