"""What goes wrong when weights are loaded that somebody else may have written, cut short or changed."""

import pickle

# what torch.load, and a look into its result, were seen to raise on other files and on flipped or missing bytes
LOADING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)
