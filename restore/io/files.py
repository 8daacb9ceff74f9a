"""Writes files atomically, locks folders, reads files with one clear error if damaged, and prints their names."""

import errno
import glob
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from restore.io.bounded_yaml import load_yaml
from restore.io.errors import SettingError
from restore.io.temporaries import hold, sweep_files, temporary_name

FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or the user's quota, is full
Content = bytes | bytearray | memoryview
MOST_BYTES = 500_000_000  # of a file of settings or results; an untrusted one may be huge and empty


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write strict JSON, see :func:`json_text` and :func:`write_text`."""
    write_text(path, json_text(content, indent=indent) + "\n")


def json_text(content: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """The content as strict JSON; infinite numbers and NaN become strings.

    Args:
        ascii_only: escape other characters, as needed in an HTTP header.

    >>> json_text({"psnr_y": float("inf"), "scale": 2})
    '{"psnr_y": "inf", "scale": 2}'
    """
    text = json.dumps(as_json(content), indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    # undecodable bytes of file names are lone surrogates, whose escapes are valid in JSON
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_json(content: Any) -> Any:
    """The content as it would be read back from JSON: infinite numbers and NaN as strings, tuples as lists."""
    if isinstance(content, dict):
        return {key: as_json(each) for key, each in content.items()}
    if isinstance(content, list | tuple):
        return [as_json(each) for each in content]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content


def write_bytes(path: Path, content: Content, *, before_move: Callable[[], None] | None = None) -> None:
    """Write a file under a temporary name in its folder, fsync it, then rename it: readers never see a partial file.

    The temporary name contains the process id, so that two commands writing the same file do not mix their bytes.

    Args:
        path: its folder is created.
        before_move: called once the content is on disk; its :class:`OSError` is handled like one of writing.

    Raises:
        OSError: names the path and the remedy; the earlier content of ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(shortened(path.name, 200)))  # too long a name would be invalid
    try:
        with open(temporary, "wb") as file:
            hold(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if before_move is not None:
            before_move()
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        is_full = error.errno in FULL
        remedy = "free disk space, then start the same command again" if is_full else "write to another folder"
        reason = error.strerror or error
        raise OSError(f"{path} could not be written ({reason}); the previous content is unchanged; {remedy}") from error
    finally:
        temporary.unlink(missing_ok=True)


def move_into_place(written: Path, target: Path) -> None:
    """Flush a complete file to disk, then rename it, so that ``target`` is never seen incomplete.

    Args:
        written: a file on the same disk as ``target``.

    Raises:
        OSError: the file cannot be renamed.
    """
    with open(written, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(written, target)
    _sync_folder(target.parent)


def shortened(name: str, most: int) -> str:
    """The name, or its start and a checksum if it has more than ``most`` bytes.

    >>> shortened("a" * 300, 20)
    'aaaaaaaaaaa~9835fa6b'
    """
    raw = os.fsencode(name)
    return name if len(raw) <= most else f"{raw[: most - 9].decode(errors='ignore')}~{sha256(raw).hexdigest()[:8]}"


def remove_temporaries(path: Path) -> None:
    """Remove leftovers of killed writers of ``path``; only call this while no other process can be writing."""
    for temporary in path.parent.glob(f".{glob.escape(shortened(path.name, 200))}.*.tmp"):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the renaming to disk as well."""
    if os.name == "nt":  # folders cannot be opened there
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def refuse_unwritable(folder: Path, names: Iterable[str] = (), *, setting: str = "output") -> None:
    """Create the folder named by a setting, and raise, before long work, if files cannot be written there.

    Leftovers of killed writers in it are removed.

    Args:
        folder: the folder to write to. names: names of the files, to check their length.
        setting: name of the setting, for the error.

    Raises:
        SettingError: gives the system's reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_files(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for name in names:
            with suppress(FileNotFoundError):
                os.lstat(folder / name)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            got = folder if error.filename is None else encodable(str(error.filename))
            raise SettingError(
                setting, got, "a shorter name, because the file system limits its length", "name a file"
            ) from error
        expected = f"a folder where files can be written ({error.strerror})"
        raise SettingError(setting, folder, expected, "name another folder") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder; the lock is released with this process, however it ends.

    Leftovers of killed processes in the folder and its subfolders are removed.

    Raises:
        SettingError: another process is using the folder.
    """
    try:
        with FileLock(folder / "lock", timeout=0):
            sweep_files(folder, below=True)
            yield
    except Timeout as error:
        expected = f"another run, because another process is training in {folder}"
        raise SettingError("run_id", folder.name, expected, "wait for it, or use another run_id") from error


def is_locked(folder: Path) -> bool:
    """Whether a process is using the folder."""
    if not (folder / "lock").exists():
        return False
    try:
        with FileLock(folder / "lock", timeout=0):
            return False
    except Timeout:
        return True


def read_mapping(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON or YAML file that holds a mapping with at least ``keys``.

    Raises:
        ValueError: the file is damaged, missing, or holds something else.
    """
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > MOST_BYTES):
            raise ValueError("a pipe or a device, or too large")
        text = path.read_text(encoding="utf-8")
        # JSON is not read as YAML, because in YAML 1.1 the number 1e-06 is text
        content = json.loads(text) if path.suffix == ".json" else load_yaml(text)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or missing ({type(error).__name__}); remove it and start again") from error
    if not isinstance(content, dict) or not all(key in content for key in keys):
        raise ValueError(f"{path} is damaged: it lacks expected entries; remove it and start again")
    return content


def encodable(text: str) -> str:
    r"""Make text encodable: bytes of a file name that are not UTF-8 become ``\xff`` and the like.

    >>> encodable(os.fsdecode(b"photos/caf\xe9.png: damaged"))
    'photos/caf\\xe9.png: damaged'
    >>> encodable("half a pair \ud800")
    'half a pair \\ud800'
    """
    try:
        raw = text.encode("utf-8", "surrogateescape")  # Python represents such a byte by a lone surrogate
    except UnicodeEncodeError:  # another lone surrogate, which represents no byte
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def listed(names: Sequence[object], most: int = 5) -> str:
    """Names as part of a sentence; only the first ``most`` of them are given.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    shown = ", ".join(map(str, names[:most])) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def printable(name: str | Path) -> str:
    r"""A name as encodable text on one line.

    >>> printable(os.fsdecode(b"caf\xe9\n.png"))
    'caf\\xe9\\n.png'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in encodable(str(name)))
