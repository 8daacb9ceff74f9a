"""Line drawings as a person makes them on a canvas: black strokes on white that shake a little, 512 px."""

import numpy as np
from PIL import Image, ImageDraw

Stroke = list[tuple[float, float]]
SIDE, WIDTH, SHAKE = 512, 10, 1.2  # pixels


def arc(x: float, y: float, across: float, down: float, begin: float = 0, end: float = 360) -> Stroke:
    """A part of an ellipse around (x, y), between two angles in degrees, clockwise from the right."""
    angles = np.deg2rad(np.linspace(begin, end, 24))
    return [(float(x + across * np.cos(angle)), float(y + down * np.sin(angle))) for angle in angles]


DRAWINGS: dict[str, list[Stroke]] = {
    "smile": [arc(256, 256, 200, 200), arc(190, 200, 20, 32), arc(322, 200, 20, 32), arc(256, 270, 110, 90, 15, 165)],
    "cat": [
        arc(256, 280, 170, 140),
        [(110, 210), (110, 90), (190, 155)],
        [(400, 210), (400, 90), (320, 155)],
        arc(195, 260, 16, 24),
        arc(317, 260, 16, 24),
        [(240, 310), (272, 310), (256, 330), (240, 310)],
        arc(228, 335, 28, 20, 0, 180),
        arc(284, 335, 28, 20, 0, 180),
    ],
    "heart": [
        [(256, 430), (120, 290), (80, 210), (110, 130), (180, 110), (256, 180)],
        [(256, 180), (332, 110), (402, 130), (432, 210), (392, 290), (256, 430)],
    ],
    "house": [
        [(110, 250), (110, 430), (400, 430), (400, 250)],
        [(70, 260), (255, 90), (440, 260), (70, 260)],
        [(220, 430), (220, 320), (290, 320), (290, 430)],
        [(320, 290), (370, 290), (370, 340), (320, 340), (320, 290)],
    ],
    "fish": [arc(230, 256, 150, 90), [(370, 230), (450, 160), (440, 350), (370, 285)], arc(140, 235, 12, 12)],
    "mug": [[(120, 150), (140, 420), (330, 420), (350, 150), (120, 150)], arc(355, 270, 70, 80, -90, 90)],
}


def draw(name: str) -> Image.Image:
    """One of them, the same each time."""
    random = np.random.default_rng(0)
    image = Image.new("L", (SIDE, SIDE), 255)
    for stroke in DRAWINGS[name]:
        corners = np.array(stroke)
        places = np.linspace(0, len(corners) - 1, 8 * (len(corners) - 1) + 1)
        points = np.stack([np.interp(places, np.arange(len(corners)), axis) for axis in corners.T], 1)
        shaken = points + random.normal(0, SHAKE, points.shape)
        ImageDraw.Draw(image).line([tuple(each) for each in shaken], fill=0, width=WIDTH, joint="curve")
    return image
