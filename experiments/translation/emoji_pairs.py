"""Draws pairs of contours and glyph from a free colour font of emoji, for `experiment=translation_emoji`.

    python -m experiments.translation.emoji_pairs $RESTORE_DATA/emoji

The font is Noto Color Emoji (Google, SIL Open Font License 1.1), Debian's package `fonts-noto-color-emoji`. Written are
`<folder>/{train,test}/{A,B}/*.png` of 128 px: A black contours on white, B the glyph on white. A training glyph is
drawn several times, turned, scaled and bent, with contours of several widths; a test glyph once and upright. Glyphs
that differ in colour, sex, age or hands of a clock alone are on the same side of the split.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rich.progress import track
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from restore.degradations.basic import Canny

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
STRIKE = 109  # the only size that the font holds; its glyphs are 136x128 px
SIDE, WIDTH = 128, 112  # of the image, of the glyph in it
CODE_POINTS = (range(0x2000, 0x3300), range(0x1F000, 0x1FB00))
SKIN_TONES = range(0x1F3FB, 0x1F400)  # plain squares when they stand alone
# one shape in several colours, sexes, ages or states
FAMILIES = [
    [0x2764, 0x1F5A4, 0x1F90D, 0x1F90E, 0x1F9E1, *range(0x1F493, 0x1F4A0)],  # hearts
    [0x26AA, 0x26AB, 0x1F534, 0x1F535, *range(0x1F7E0, 0x1F7E6)],  # discs
    [0x2B1B, 0x2B1C, *range(0x25AA, 0x25AC), *range(0x25FB, 0x25FF), *range(0x1F7E5, 0x1F7EC), 0x1F532, 0x1F533],
    [*range(0x1F536, 0x1F53C)],  # lozenges, triangles
    [0x1F4D3, 0x1F4D4, *range(0x1F4D5, 0x1F4DB)],  # books
    [*range(0x1F550, 0x1F568)],  # clocks
    [*range(0x1F311, 0x1F31F)],  # phases of the moon
    [0x1F466, 0x1F467, 0x1F9D2],  # children
    [0x1F468, 0x1F469, 0x1F9D1, 0x1F471],
    [0x1F474, 0x1F475, 0x1F9D3],
    [0x1F46B, 0x1F46C, 0x1F46D],  # couples
    [0x1F934, 0x1F478, 0x1FAC5],
    [0x1F385, 0x1F936],
    [0x1F930, 0x1FAC3, 0x1FAC4],
    [0x1F4EA, 0x1F4EB, 0x1F4EC, 0x1F4ED],  # mailboxes
    [*range(0x2648, 0x2654), 0x26CE],  # zodiac
    [*range(0x1F22F, 0x1F252), 0x1F201, 0x1F202, 0x1F21A, 0x3297, 0x3299],  # characters on squares
    [0x2660, 0x2663, 0x2665, 0x2666],
    [0x1F7F0, 0x2795, 0x2796, 0x2797, 0x2716],
    [0x1F436, 0x1F415],
    [0x2B50, 0x1F31F],
]


def main() -> None:
    """Draw all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--variants", type=int, default=4, help="of each training glyph")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the glyphs that are for testing")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not given.font.is_file():
        sys.exit(f"--font: {given.font} is not a file, expected Noto Color Emoji; apt install fonts-noto-color-emoji")
    if given.folder.exists():
        sys.exit(f"folder: {given.folder} exists, expected a new folder; name another or remove it")
    font = ImageFont.truetype(str(given.font), STRIKE)
    glyphs = {code: glyph for each in CODE_POINTS for code in each if (glyph := draw(font, code)) is not None}
    tests = held_out(list(glyphs), given.held_out, given.seed)
    for code, glyph in track(glyphs.items(), "pairs"):
        random = np.random.default_rng([given.seed, code])
        is_test = code in tests
        for k in range(1 if is_test else given.variants):
            image = place(glyph) if k == 0 else bent(place(glyph), random)
            lines = contours(image, None if k == 0 else random)
            write(given.folder / ("test" if is_test else "train"), f"{code:05x}_{k}", lines, image)
    print(f"{len(glyphs) - len(tests)} glyphs to train on, {len(tests)} held out: {given.folder}")


def draw(font: ImageFont.FreeTypeFont, code: int) -> Image.Image | None:
    """A glyph on white, or None where the font has no image for this code point."""
    glyph = Image.new("RGBA", (136, 128))
    ImageDraw.Draw(glyph).text((0, 0), chr(code), font=font, embedded_color=True)
    if glyph.getbbox() is None or code in SKIN_TONES:
        return None
    white = Image.new("RGBA", glyph.size, "white")
    return Image.alpha_composite(white, glyph).convert("RGB")


def held_out(codes: list[int], share: float, seed: int) -> set[int]:
    """The glyphs to test on: whole families, in random order, until their share is reached."""
    family = {code: min(each) for each in FAMILIES for code in each}
    groups: dict[int, list[int]] = {}
    for code in codes:
        groups.setdefault(family.get(code, code), []).append(code)
    names = list(groups)
    np.random.default_rng(seed).shuffle(names)
    taken: set[int] = set()
    for name in names:
        if len(taken) + len(groups[name]) <= share * len(codes):
            taken.update(groups[name])
    return taken


def place(glyph: Image.Image) -> Tensor:
    """The glyph in the middle of a white square, float (3, h, w) in [0, 1]."""
    small = glyph.resize((WIDTH, round(WIDTH * glyph.height / glyph.width)), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255


def bent(image: Tensor, random: np.random.Generator) -> Tensor:
    """Turned by up to 15 degrees, scaled by 0.75 to 1.1, shifted by up to 5 px and bent by some 2 px."""
    angle, scale = np.deg2rad(random.uniform(-15, 15)), 1 / random.uniform(0.75, 1.1)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = random.uniform(-5, 5, (2, 1)) * 2 / SIDE
    matrix = torch.from_numpy(np.concatenate([turn, shift], 1)).float()
    coarse = torch.from_numpy(random.normal(0, 2 * 2 / SIDE, (1, 2, 5, 5))).float()
    bend = interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = affine_grid(matrix[None], [1, 3, SIDE, SIDE], align_corners=False) + bend
    # inverted, because outside the image there are zeros
    return 1 - grid_sample(1 - image[None], grid, mode="bicubic", align_corners=False)[0].clamp(0, 1)


def contours(image: Tensor, random: np.random.Generator | None) -> Image.Image:
    """Black contours on white: those of `restore contours` by default, or drawn at random."""
    if random is None:
        return to_file(DEFAULT(image, np.random.default_rng())[0])
    high = float(np.exp(random.uniform(np.log(0.15), np.log(0.45))))
    find = Canny(
        sigma=float(random.uniform(0.8, 2)), low=high / 2, high=high, thickness=int(random.integers(1, 5)), dark=True
    )
    lines = to_file(find(image, random)[0])
    return lines.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 0.9))))


DEFAULT = Canny(sigma=1.0, low=0.15, high=0.3, thickness=2, dark=True)


def to_file(image: Tensor) -> Image.Image:
    """Float (3, h, w) in [0, 1] as an image of 8 bit."""
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def write(folder: Path, name: str, lines: Image.Image, glyph: Tensor) -> None:
    """A pair."""
    for part, image in (("A", lines.convert("L")), ("B", to_file(glyph))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        image.save(folder / part / f"{name}.png")


if __name__ == "__main__":
    main()
