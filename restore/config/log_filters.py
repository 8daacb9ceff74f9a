"""Keeps irrelevant advice of Lightning out of our logs."""

import logging
import warnings


def filter_lightning_logs() -> None:
    """Silence advice that does not apply to these runs."""
    for message in (
        ".*does not have many workers.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # our runs resume exactly
        ".*`srun` command is available.*",  # one task of a job may train alone
        ".*smaller than the logging interval.*",
        ".*recommended to use .self.log.*sync_dist=True.*",  # the logged values are already equal in every process
        ".*`broadcast_buffers` is deprecated.*",  # its successor needs a newer torch than we require
        ".*method of metric .* was called before the .update.*",  # happens with fewer images than processes
        ".*Trying to infer the `batch_size`.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # our handler is at the root; with both, every line would appear twice
        logging.getLogger(name).setLevel(logging.WARNING)
