"""The purpose of a served method, in a sentence for visitors."""

from collections.abc import Mapping
from typing import Any


def purpose(entry: Mapping[str, Any]) -> str:
    """The purpose from the method's card, or one made from its facts.

    Args:
        entry: an entry of the menu: ``name``, ``scale``, ``input_kind``, ``protocol``, ``card``, and ``max_steps`` if
            the method trains on the image.

    >>> purpose({"name": "a", "scale": 2.0, "input_kind": "rgb", "protocol": "sr_y", "card": {"format": 1}})
    'Makes a photo 2 times as wide and high, with detail from a trained network.'
    """
    size = f"{entry['scale']:g} times as wide and high"
    if "max_steps" in entry:
        return "Enlarges an image by any factor with a network that is first trained on that image; takes longer."
    if entry["name"] == "auto":
        return f"Makes a photo {size}; measures noise, blur and JPEG artefacts, and chooses the weights by them."
    if entry["name"] == "bicubic":
        return "Enlarges by any factor by interpolation, without a network: the baseline for the other methods."
    if entry["card"].get("purpose"):
        return str(entry["card"]["purpose"])
    if entry["input_kind"] == "labels":
        return "Makes an image from a label map."
    if str(entry["protocol"]).startswith("deblur"):
        return "Removes motion blur; the size stays the same."
    if str(entry["protocol"]).startswith("translation"):
        return "Translates an image into another kind of image."
    if not entry["card"] and entry["scale"] != 1:
        return f"Makes an image {size}, with weights of another project."
    if entry["scale"] == 1:
        return "Restores an image; the size stays the same."
    return f"Makes a photo {size}, with detail from a trained network."
