"""Keeps Lightning's advice out of our logs."""

import logging
import warnings


def filter_lightning_logs() -> None:
    """Silence advice that does not fit how these runs work."""
    for message in (
        ".*does not have many workers.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # ours resume exactly
        ".*`srun` command is available.*",  # one task of a job may train by itself
        ".*smaller than the logging interval.*",
        ".*recommended to use .self.log.*sync_dist=True.*",  # what is logged is the same in every process already
        ".*`broadcast_buffers` is deprecated.*",  # its successor is younger than the torch asked for
        ".*method of metric .* was called before the .update.*",  # fewer images than processes
        ".*Trying to infer the `batch_size`.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # ours are at the root; with both, every line came twice
        logging.getLogger(name).setLevel(logging.WARNING)
