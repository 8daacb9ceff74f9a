"""Put what a wheel declares to need, and nothing else, into an environment, as hard links to the files of this one.

    .venv/bin/python .ci/link_declared.py dist/restore-*.whl <site-packages of the other>

An install from the index would unpack some gigabytes once more, and prove the same: a package that is imported but not
declared is missing there.
"""

import email
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement


def declared(wheel: Path) -> list[str]:
    """The requirements of a wheel, as its metadata has them."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []


def needed(requirements: list[str]) -> list[Distribution]:
    """The distributions that these requirements and their own ask for, without extras that nobody asks for."""
    found: dict[str, Distribution] = {}
    done, waiting = set[tuple[str, str]](), [(each, "") for each in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        parsed = Requirement(requirement)
        if (requirement, extra) in done or (parsed.marker is not None and not parsed.marker.evaluate({"extra": extra})):
            continue
        done.add((requirement, extra))
        one = found.setdefault(parsed.name, distribution(parsed.name))
        waiting += [(each, wanted) for each in one.requires or () for wanted in ("", *parsed.extras)]
    return list(found.values())


def files_of(one: Distribution) -> Iterator[Path]:
    """The files of a distribution below site-packages, with the byte code beside them; its scripts are left out."""
    for file in one.files or ():
        if file.parts[0] == "..":
            continue
        yield Path(file)
        compiled = Path(cache_from_source(str(file))) if file.suffix == ".py" else None
        if compiled is not None and Path(str(one.locate_file(compiled))).is_file():
            yield compiled


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the two lie on different disks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # byte code that is listed, too
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def main(wheel: Path, site_packages: Path) -> None:
    """Link all of it."""
    for one in needed(declared(wheel)):
        for file in files_of(one):
            link(Path(str(one.locate_file(file))), site_packages / file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
