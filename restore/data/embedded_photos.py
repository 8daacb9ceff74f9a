"""The embedded default data: natural colour photos from the scikit-image wheel, so that nothing is downloaded.

The library's other images are grey, artificial or fetched from the network. The two motorcycle images are the two
views of one stereo photo, so both are on the same side of the split.
"""

from importlib.util import find_spec
from pathlib import Path

EMBEDDED = {
    "photos_train": ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg"),
    "photos_held_out": ("chelsea.png", "coffee.png"),
}


def embedded(name: str) -> list[Path]:
    """The files of an embedded set; ``name`` is a key of ``EMBEDDED``.

    Raises:
        FileNotFoundError: scikit-image is not installed.
    """
    spec = find_spec("skimage")  # located without importing it
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{name}: the package scikit-image is missing; pip install scikit-image")
    return [Path(spec.origin).parent / "data" / file for file in EMBEDDED[name]]
