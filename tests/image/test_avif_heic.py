"""The formats of phones: AVIF through Pillow, HEIC through its plugin."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageCms
from PIL.ExifTags import Base

from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.image.formats import format_of
from restore.io.errors import SettingError
from tests.conftest import Cli, photo

SUFFIXES = pytest.mark.parametrize("suffix", [".avif", ".heic"])


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # made once: it holds the time


def image(height: int = 48, width: int = 64) -> DecodedImage:
    """A slope with transparency on its left and a colour profile."""
    pixels = torch.linspace(0, 255, width).to(torch.uint8).expand(3, height, width).clone()
    pixels[0, :, width // 2 :], pixels[1, height // 2 :] = 200, 30
    alpha = torch.full((1, height, width), 255, dtype=torch.uint8)
    alpha[..., : width // 4] = 0
    return DecodedImage(pixels, alpha, PROFILE)


@SUFFIXES
def test_pixels_transparency_and_profile_come_back(suffix: str, tmp_path: Path) -> None:
    writing.write(tmp_path / f"a{suffix}", image())
    found = reading.read(tmp_path / f"a{suffix}")
    assert found.kind == "colour with transparency, 8 bit"
    assert (found.pixels.float() - image().pixels.float()).abs().mean() < 2
    assert found.alpha is not None
    assert found.alpha[..., :12].max() < 3 < 252 < found.alpha[..., 20:].min()
    assert found.icc == image().icc
    writing.write(tmp_path / f"grey{suffix}", DecodedImage(image().pixels[:1]))
    assert reading.read(tmp_path / f"grey{suffix}").is_grey


@SUFFIXES
def test_a_photo_is_turned_upright_and_keeps_its_exif_on_request(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make] = 6, "Maker"
    writing.write(tmp_path / f"first{suffix}", image())  # registers the plugin
    stored = Image.fromarray(image().pixels.permute(1, 2, 0).numpy())
    stored.save(tmp_path / f"a{suffix}", exif=exif.tobytes(), quality=95)
    found = reading.read(tmp_path / f"a{suffix}", metadata="keep")
    assert found.pixels.shape == (3, 64, 48)
    turned = image().pixels.flip(1).transpose(1, 2).float()
    assert (found.pixels.float() - turned).abs().mean() < 6
    writing.write(tmp_path / f"b{suffix}", found)
    again = reading.read(tmp_path / f"b{suffix}", metadata="keep")
    assert again.pixels.shape == found.pixels.shape
    assert again.description.exif == found.description.exif
    assert b"Maker" in (found.description.exif or b"")


@SUFFIXES
def test_more_quality_is_closer_and_larger(suffix: str, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 64, 64)
    original = reading.read(tmp_path / "a.png")
    sizes, errors = [], []
    for quality in (30, 95):
        writing.write(tmp_path / f"a{suffix}", original, quality=quality)
        sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        errors.append(float((reading.read(tmp_path / f"a{suffix}").pixels.float() - original.pixels).abs().mean()))
    assert sizes[0] < sizes[1]
    assert errors[0] > errors[1]


@SUFFIXES
def test_a_file_is_told_by_its_brand_and_a_cut_one_is_named(suffix: str, tmp_path: Path) -> None:
    writing.write(tmp_path / f"a{suffix}", image())
    data = (tmp_path / f"a{suffix}").read_bytes()
    kind = suffix[1:].upper()
    assert format_of(data) == format_of(data[:8] + b"mif1" + data[12:]) == kind
    assert reading.read(Path("a.jpg"), data=data).pixels.shape == (3, 48, 64)
    for end in (20, len(data) // 2, len(data) - 5):
        with pytest.raises(ValueError, match=r"a\.jpg: damaged or truncated"):
            reading.read(Path("a.jpg"), data=data[:end])


def test_without_the_plugin_reading_and_writing_heic_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing.write(tmp_path / "a.heic", image())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"a\.heic.*pip install 'restore\[heic\]'"):
        reading.read(tmp_path / "a.heic")
    with pytest.raises(SettingError) as error:
        writing.check_target(tmp_path / "b.heic", image())
    assert error.value.key == "output"


def test_predict_takes_and_gives_both(cli: Cli, tmp_path: Path) -> None:
    writing.write(tmp_path / "a.heic", image())
    outcome = cli("predict", "input=a.heic", "output=b.avif", "ckpt_path=bicubic", "scale=2", "quality=80")
    assert outcome.status == 0, outcome.err
    assert reading.read(tmp_path / "b.avif").pixels.shape == (3, 96, 128)
