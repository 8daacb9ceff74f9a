"""``restore average_frames``: makes blurred and sharp pairs from sharp high-speed video, as GoPro was made."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from restore.config.command import command
from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable
from restore.io.wording import counted

log = logging.getLogger(__name__)


def average_frames(cfg: DictConfig) -> None:
    """Average each run of neighbouring frames, and pair the result with the frame in the middle."""
    from rich.progress import track

    from restore.data.averaged_frames import check_frames, refuse_used, video_frames, write_pairs

    if cfg.frames < 3 or cfg.frames % 2 == 0:
        raise SettingError("frames", cfg.frames, "an odd number of at least 3, so that one is in the middle")
    source, target = Path(cfg.input).resolve(), Path(cfg.output).resolve()
    folder = target / source.name
    if folder == source or source in folder.parents:
        raise SettingError("output", target, f"a folder outside the input {source}", "name another folder")
    refuse_used(folder)
    files = video_frames(source, cfg.frames)
    check_frames(files)
    refuse_unwritable(folder)
    runs = [files[k : k + cfg.frames] for k in range(0, len(files) - cfg.frames + 1, cfg.frames)]
    write_pairs(track(runs, "pairs", transient=True), folder)
    left = len(files) - len(runs) * cfg.frames
    log.info("%s, %s left over at the end: %s", counted(len(runs), "pair"), counted(left, "frame"), folder)


main = command(average_frames, "average_frames")

if __name__ == "__main__":
    main()
