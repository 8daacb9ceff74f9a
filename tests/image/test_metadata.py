"""What a photo's file tells beside its pixels, from file to file through `restore predict`."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, IptcImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.image.metadata import Description
from restore.io.errors import SettingError
from tests.conftest import Cli, Outcome, photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:rights="mine"/></x:xmpmeta>'
RECORDS = {(2, 80): b"Somebody", (2, 120): "Über den Dächern".encode()}
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
    writing.write(tmp_path / f"b{suffix}", DecodedImage(planes[:3], alpha, icc, kept.description))
    again = reading.read(tmp_path / f"b{suffix}", metadata="keep")
    assert np.array_equal(again.pixels.numpy(), levels[:3])
    assert again.icc == icc
    read = tifffile.imread if suffix == ".tif" else imagecodecs.imread
    assert np.array_equal(read(tmp_path / f"b{suffix}").reshape(7, 9, channels), levels.transpose(1, 2, 0))
    writing.write(
        tmp_path / "c.png", DecodedImage(torch.zeros(3, 7, 9, dtype=torch.uint8), None, None, again.description)
    )
    check(tmp_path / "c.png", (9, 7))
    if suffix == ".png":
        check(tmp_path / "b.png", (9, 7))


def test_a_format_without_metadata_is_refused_only_where_there_is_some(cli: Cli, tmp_path: Path) -> None:
    source(tmp_path / "a.jpg")
    outcome = cli("predict", *BICUBIC, "input=a.jpg", "output=b.bmp", "metadata=keep")
    assert outcome.status == 1
    assert "metadata is keep, expected strip for" in " ".join(outcome.err.split())
    assert cli("predict", *BICUBIC, "input=a.jpg", "output=b.bmp").status == 0


def iptc() -> bytes:
    """IIM records of the application's part."""
    return b"".join(bytes([0x1C, *number]) + len(text).to_bytes(2, "big") + text for number, text in RECORDS.items())


def with_iptc(path: Path) -> Path:
    """A JPEG as an image editor leaves it: beside the records a block with the old preview."""
    photo(path.with_suffix(".bmp"))
    with Image.open(path.with_suffix(".bmp")) as file:
        file.save(path)
    blocks = b"".join(
        b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(4, "big") + body + b"\0" * (len(body) % 2)
        for number, body in ((0x040C, b"OLD PREVIEW"), (0x0404, iptc()))
    )
    body = b"Photoshop 3.0\0" + blocks
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xed" + (2 + len(body)).to_bytes(2, "big") + body + content[2:])
    return path


@pytest.mark.parametrize(("through", "bits"), [("jpg", 8), ("tiff", 8), ("tiff", 16)])
def test_iptc_goes_to_jpeg_and_tiff_and_back(through: str, bits: int, tmp_path: Path) -> None:
    kept = reading.read(with_iptc(tmp_path / "a.jpg"), metadata="keep")
    pixels = kept.pixels if bits == 8 else kept.pixels.to(torch.int32).mul(257).to(torch.uint16)
    writing.write(tmp_path / f"b.{through}", DecodedImage(pixels, description=kept.description))
    content = (tmp_path / f"b.{through}").read_bytes()
    assert b"OLD PREVIEW" not in content
    if bits == 8:  # Pillow's own reader
        with Image.open(tmp_path / f"b.{through}") as file:
            assert IptcImagePlugin.getiptcinfo(file) == RECORDS
    else:
        assert b"Somebody" in tifffile.TiffFile(tmp_path / f"b.{through}").pages.first.tags[33723].value
    again = reading.read(tmp_path / f"b.{through}", metadata="keep")
    assert again.description.iptc == kept.description.iptc
    writing.write(tmp_path / "c.jpg", again)
    with Image.open(tmp_path / "c.jpg") as file:
        assert IptcImagePlugin.getiptcinfo(file) == RECORDS
        file.load()  # a sound file
    assert not reading.read(tmp_path / "c.jpg").description.iptc


@pytest.mark.parametrize("bits", [8, 16])
def test_texts_of_a_png_go_to_png_alone(bits: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from PIL.PngImagePlugin import PngImageFile, PngInfo

    info = PngInfo()
    info.add_text("Author", "Somebody", zip=True)
    info.add_itxt("Title", "Über den Dächern, 屋根", lang="de")
    info.add_text("Raw profile type exif", "OLD PREVIEW")
    photo(tmp_path / "a.bmp")
    with Image.open(tmp_path / "a.bmp") as file:
        file.save(tmp_path / "a.png", pnginfo=info)
    kept = reading.read(tmp_path / "a.png", metadata="keep")
    pixels = kept.pixels if bits == 8 else kept.pixels.to(torch.int32).mul(257).to(torch.uint16)
    writing.write(tmp_path / "b.png", DecodedImage(pixels, description=kept.description))
    with Image.open(tmp_path / "b.png") as file:
        file.load()
        assert isinstance(file, PngImageFile)
        assert dict(file.text) == {"Author": "Somebody", "Title": "Über den Dächern, 屋根"}
    again = reading.read(tmp_path / "b.png", metadata="keep")
    assert again.description == kept.description
    assert not caplog.messages
    writing.write(tmp_path / "c.jpg", again)
    assert caplog.messages[:1] == [f"{tmp_path / 'c.jpg'}: jpg cannot hold a PNG's texts, which is left out"]
    assert len(caplog.messages) == (1 if bits == 8 else 2)  # that 16 bit is rounded


def test_strip_takes_nothing_and_says_nothing(cli: Cli, tmp_path: Path) -> None:
    with_iptc(tmp_path / "a.jpg")
    outcome = cli("predict", *BICUBIC, "input=a.jpg", "format=jpg")
    assert outcome.status == 0
    assert b"Somebody" not in (tmp_path / "a_x2.jpg").read_bytes()
    assert "IPTC" not in outcome.out + outcome.err
    outcome = cli("predict", *BICUBIC, "input=a.jpg", "metadata=keep")
    assert outcome.status == 0
    assert "png cannot hold IPTC" in " ".join(outcome.out.split() + outcome.err.split())


@pytest.mark.parametrize("metadata", ["strip", "keep"])
@pytest.mark.parametrize(("suffix", "place"), [(".jpg", 8), (".jpg", 40), (".png", 8), (".webp", 20), (".tif", 160)])
def test_of_exif_that_points_behind_its_end_one_warning_is_said(
    suffix: str, place: int, metadata: str, cli: Cli, tmp_path: Path
) -> None:
    content = bytearray(source(tmp_path / f"a{suffix}").read_bytes())
    begin = 0 if suffix == ".tif" else content.index(b"MM\0*")
    content[begin + place : begin + place + 12] = b"\xff" * 12
    if suffix == ".png":  # whose chunk is sound, but for what it says
        (length,) = struct.unpack_from(">I", content, begin - 8)
        content[begin + length : begin + length + 4] = struct.pack(
            ">I", zlib.crc32(content[begin - 4 : begin + length])
        )
    (tmp_path / f"a{suffix}").write_bytes(content)
    outcome = cli("predict", *BICUBIC, f"input=a{suffix}", "output=b.png", f"metadata={metadata}")
    assert outcome.status == 0, outcome.err
    assert f"a{suffix}: partly damaged, and read as far as possible" in said_once(outcome)


def said_once(outcome: Outcome) -> str:
    said = " ".join((outcome.out + outcome.err).split())
    assert said.count("damaged") == 1
    assert not [noise for noise in ("UserWarning", "warnings.warn", "TiffTag") if noise in said.split("(")[0]]
    return said


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        (b"Exif\0\0MM\0*", b"Exif\0\0\xff\xff\xff\xff"),
        # three fractions under the tag of a text, which can be read and not be written
        (b"\0\1\0\2\0\5\0\0\0\3", b"\0\1\0\x15\0\5\0\0\0\3"),
    ],
    ids=["head", "tag"],
)
def test_damage_costs_the_metadata_and_not_the_image(whole: bytes, damaged: bytes, cli: Cli, tmp_path: Path) -> None:
    content = source(tmp_path / "a.jpg").read_bytes()
    assert content.count(whole) == 1
    (tmp_path / "a.jpg").write_bytes(content.replace(whole, damaged))
    outcome = cli("predict", *BICUBIC, "input=a.jpg", "output=b.png", "metadata=keep")
    assert outcome.status == 0, outcome.err
    assert "a.jpg: its EXIF or other metadata is damaged and is left out" in said_once(outcome)
    with Image.open(tmp_path / "b.png") as file:
        assert file.size in ((100, 80), (80, 100))  # without its head nobody knows which side was up
        assert not len(file.getexif())


@pytest.mark.parametrize(
    ("name", "told", "most"),
    [("EXIF", {"exif": 70_000}, 65533), ("XMP", {"xmp": 65_510}, 65504), ("IPTC", {"iptc": 65_510}, 65506)],
    ids=["exif", "xmp", "iptc"],
)
def test_too_much_for_a_jpeg_is_said_before_the_work(
    name: str, told: dict[str, int], most: int, tmp_path: Path
) -> None:
    pixels = torch.zeros(3, 7, 9, dtype=torch.uint8)
    note = Image.Exif()
    note[Base.ImageDescription] = "n" * told.get("exif", 1)
    xmp = b"x" * told["xmp"] if "xmp" in told else None
    iptc = b"i" * told["iptc"] if "iptc" in told else None
    picture = DecodedImage(pixels, description=Description(note.tobytes(), xmp, iptc))
    with pytest.raises(SettingError) as error:
        writing.check_target(tmp_path / "a.jpg", picture)
    assert error.value.key == "metadata"
    assert name in error.value.expected
    writing.write(tmp_path / "a.png", picture)
    if xmp is not None:  # the limit is where the encoder has it
        writing.write(tmp_path / "a.jpg", DecodedImage(pixels, description=Description(xmp=xmp[:most])))
    if iptc is not None:
        writing.write(tmp_path / "a.jpg", DecodedImage(pixels, description=Description(iptc=iptc[:most])))


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
    kept = reading.read(tmp_path / "a.jpg", metadata="keep").description
    assert kept.exif is not None
    assert kept.xmp is not None
    assert b"PREVIEW" not in kept.exif + kept.xmp
    assert b"2024:05:06" in kept.exif
    assert kept.xmp.endswith(b'dc:rights="mine"/></x:xmpmeta>')
