"""Forms in which training images can be stored on disk: functions that write each one and read crops from it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from restore.data.datasets import decode
from restore.data.file_checks import SmallestSide
from restore.data.pack import Pack
from restore.data.pack_records import names_below
from restore.data.pair import Pair

Pixels = NDArray[np.uint8]
Read = Callable[[int, int, int], Any]  # index of the image, top, left -> its crop, (H, W, C) or (C, H, W)

SIDE, TILE = 192, 128


def png(folder: Path, images: Sequence[Pixels]) -> Read:
    """Unchanged files, decoded as a whole by Pillow."""
    for k, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{k}.png")
    return lambda k, y, x: np.asarray(Image.open(folder / f"{k}.png"))[y : y + SIDE, x : x + SIDE]


def png_spng(folder: Path, images: Sequence[Pixels]) -> Read:
    """The same, decoded by libspng."""
    import imagecodecs

    png(folder, images)
    return lambda k, y, x: imagecodecs.spng_decode((folder / f"{k}.png").read_bytes())[y : y + SIDE, x : x + SIDE]


def sub_images(folder: Path, images: Sequence[Pixels]) -> Read:
    """Squares of 480 px, cut beforehand as in BasicSR; for each crop one is decoded by libspng."""
    import imagecodecs

    cut = {
        f"{k}_{y}_{x}": image[y : y + 480, x : x + 480] for k, image in enumerate(images) for y, x in _corners(image)
    }
    names = list(cut)
    for name, pixels in cut.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")

    def read(k: int, y: int, x: int) -> Pixels:
        data = (folder / f"{names[(k + y + x) % len(names)]}.png").read_bytes()
        pixels: Pixels = imagecodecs.spng_decode(data)
        y, x = (place % max(1, side - SIDE) for place, side in zip((y, x), pixels.shape, strict=False))
        return pixels[y : y + SIDE, x : x + SIDE]

    return read


def _corners(image: Pixels) -> list[tuple[int, int]]:
    height, width = image.shape[:2]
    return [(y, x) for y in range(0, height - 479, 480) for x in range(0, width - 479, 480)]


def memory_map(folder: Path, images: Sequence[Pixels]) -> Read:
    """``data.pack``: raw planes in one file."""
    photos, pairs = folder.parent / f"{folder.name}_photos", list[Pair]()
    photos.mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image).save(photos / f"{k}.png")
        pairs.append(Pair(str(k), photos / f"{k}.png"))
    pack = Pack(folder, {}, names_below([str(photos)]))
    source = pack.fill(pairs, 1, smallest=SmallestSide(SIDE, ""), decode=decode).source

    def read(k: int, y: int, x: int) -> Any:
        crop = source.get(pairs[k], decode).gt[:, y : y + SIDE, x : x + SIDE]
        source.expect(crop)
        return crop

    return read


def tiff(folder: Path, images: Sequence[Pixels], compression: str | None = None) -> Read:
    """Tiled TIFF."""
    for k, image in enumerate(images):
        tifffile.imwrite(folder / f"{k}.tif", image, tile=(TILE, TILE), compression=compression, photometric="rgb")

    def read(k: int, top: int, left: int) -> Pixels:
        crop = np.empty((SIDE, SIDE, 3), np.uint8)
        with tifffile.TiffFile(folder / f"{k}.tif") as file:
            page = file.pages[0]
            across = -(-page.shape[1] // TILE)
            for y in range(top // TILE, (top + SIDE - 1) // TILE + 1):
                for x in range(left // TILE, (left + SIDE - 1) // TILE + 1):
                    number = y * across + x
                    file.filehandle.seek(page.dataoffsets[number])
                    data = file.filehandle.read(page.databytecounts[number])
                    tile = page.decode(data, number)[0][0]
                    rows = slice(max(top, y * TILE), min(top + SIDE, (y + 1) * TILE))
                    columns = slice(max(left, x * TILE), min(left + SIDE, (x + 1) * TILE))
                    part = tile[rows.start - y * TILE : rows.stop - y * TILE]
                    part = part[:, columns.start - x * TILE : columns.stop - x * TILE]
                    crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
        return crop

    return read


def tiff_zstd(folder: Path, images: Sequence[Pixels]) -> Read:
    """The same with compression."""
    return tiff(folder, images, "zstd")


def hdf5(folder: Path, images: Sequence[Pixels], **how: Any) -> Read:
    """One HDF5 file, a data set for each image."""
    import h5py

    with h5py.File(folder / "images.h5", "w") as file:
        for k, image in enumerate(images):
            file.create_dataset(str(k), data=image, **how)
    opened = h5py.File(folder / "images.h5", "r")
    return lambda k, y, x: opened[str(k)][y : y + SIDE, x : x + SIDE]


def hdf5_gzip(folder: Path, images: Sequence[Pixels]) -> Read:
    """The same in compressed tiles."""
    return hdf5(folder, images, chunks=(TILE, TILE, 3), compression="gzip")


def zarr(folder: Path, images: Sequence[Pixels]) -> Read:
    """A Zarr group, an array in compressed tiles (zstd, Zarr's default) for each image."""
    import zarr as library

    group = library.open_group(str(folder), mode="w")
    arrays = [
        group.create_array(str(k), shape=i.shape, chunks=(TILE, TILE, 3), dtype="uint8") for k, i in enumerate(images)
    ]
    for array, image in zip(arrays, images, strict=True):
        array[:] = image
    return lambda k, y, x: np.asarray(arrays[k][y : y + SIDE, x : x + SIDE])


def litdata(folder: Path, images: Sequence[Pixels]) -> Read:
    """Chunks of LitData, an item for each image, which is read whole."""
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for k, image in enumerate(images):
        writer[k] = {"image": image}
    writer.done()
    writer.merge(1)
    stored = StreamingDataset(str(folder))
    return lambda k, y, x: stored[k]["image"][y : y + SIDE, x : x + SIDE]


def webdataset(folder: Path, images: Sequence[Pixels]) -> Read:
    """A tar file of raw arrays, read sequentially: the next image is returned, whatever its index."""
    import webdataset as library

    with library.TarWriter(str(folder / "images.tar")) as writer:
        for k, image in enumerate(images):
            writer.write({"__key__": str(k), "image.npy": image})
    opened = iter(library.WebDataset(str(folder / "images.tar"), shardshuffle=False).decode().repeat())
    return lambda _, y, x: next(opened)["image.npy"][y : y + SIDE, x : x + SIDE]


# by name: what writes and reads it, and the package that this project would need for it
FORMS: dict[str, tuple[Callable[[Path, Sequence[Pixels]], Read], str]] = {
    "whole PNG, Pillow": (png, ""),
    "whole PNG, libspng": (png_spng, ""),
    "480 px PNG, libspng": (sub_images, ""),
    "raw, mapped (data.pack)": (memory_map, ""),
    "TIFF tiles": (tiff, ""),
    "TIFF tiles, zstd": (tiff_zstd, ""),
    "HDF5": (hdf5, "h5py"),
    "HDF5 tiles, gzip": (hdf5_gzip, "h5py"),
    "Zarr tiles, zstd": (zarr, "zarr"),
    "LitData, raw": (litdata, "litdata"),
    "webdataset, raw, in order": (webdataset, "webdataset"),
}
