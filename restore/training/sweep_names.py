"""Names the run folders of a sweep's points by the settings that are swept, if those tell the points apart."""

from collections.abc import Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, read_write

from restore.training.sweep_records import PointRecord

Setting = tuple[str, str]  # key and value, as Hydra writes them


def name_by_swept(config: DictConfig, records: Sequence[PointRecord]) -> None:
    """Leave the settings that all points share out of their folders' names.

    A second sweep in the same folder with other shared settings keeps the long names, because its points would
    otherwise find the folders of the first sweep. A sweep whose folders already have long names keeps them. One point
    of a sweep, started again alone, finds its folder.

    Args:
        config: configuration of the sweep; an override is added, which Hydra passes to every point.
        records: records of the points in the folder.
    """
    swept, common = _split(config.hydra.overrides.task)
    swept |= {str(key) for key in config.hydra.sweeper.get("params") or ()}
    swept = swept or _named_by(records, common)
    common = {(key, value) for key, value in common if key not in swept}  # of a key given twice, the swept value holds
    if not common or not swept:
        return
    earlier = [record for record in records if _is_of(record, swept, common)]
    if any(_is_long(record, common) for record in earlier) or (records and not earlier):
        return
    keys = ",".join(f"'{key.lstrip('+~')}'" for key, _ in sorted(common))
    with read_write(config.hydra.overrides):
        config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")


def _split(words: Iterable[str]) -> tuple[set[str], set[Setting]]:
    """The swept keys, and the settings that all points share."""
    swept, common = set(), set()
    for override in OverridesParser.create().parse_overrides(list(words)):
        key = override.get_key_element()
        if override.is_sweep_override():
            swept.add(key)
        else:
            common.add((key, override.get_value_element_as_str()))
    return swept, common


def _named_by(records: Iterable[PointRecord], settings: set[Setting]) -> set[str]:
    """Keys in the folder name of the point with these settings; empty without such a point."""
    same = next((record for record in records if _split(record.overrides)[1] == settings), None)
    named = set() if same is None else {part.partition("=")[0] for part in same.folder.split(",")}
    return {key for key, _ in settings if key.replace("/", "_") in named}


def _is_of(record: PointRecord, swept: set[str], common: set[Setting]) -> bool:
    """Whether the point belongs to a sweep over the same keys, with the same shared settings."""
    _, settings = _split(record.overrides)
    return common <= settings and {key for key, _ in settings - common} == swept


def _is_long(record: PointRecord, common: set[Setting]) -> bool:
    named = {part.partition("=")[0] for part in record.folder.split(",")}
    return any(key.replace("/", "_") in named for key, _ in common)
