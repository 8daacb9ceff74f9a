"""Names of the checkpoints of a run, in its folder ``checkpoints/``."""

LAST, PREVIOUS, BEST = "last.ckpt", "last.prev.ckpt", "best.ckpt"
