import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.data.pair_reader import labels_to_side, to_side


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50), side=st.integers(1, 70), level=st.integers(0, 255))
def test_the_shorter_side_is_what_was_asked_for(height: int, width: int, side: int, level: int) -> None:
    flat = torch.full((3, height, width), level, dtype=torch.uint8)
    resized = to_side(flat, side)
    assert min(resized.shape[1:]) == side
    assert abs(max(resized.shape[1:]) - max(height, width) * side / min(height, width)) <= 1
    assert (resized == level).all()
    assert to_side(flat, None) is flat


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 60))
def test_labels_are_resized_without_new_classes_and_as_images_are(height: int, width: int, side: int) -> None:
    classes = torch.from_numpy(np.random.default_rng(0).integers(0, 7, (1, height, width), dtype=np.uint8))
    resized = labels_to_side(classes, side)
    assert min(resized.shape[1:]) == side
    assert set(resized.flatten().tolist()) <= set(classes.flatten().tolist())
    if side >= min(height, width):  # enlarging loses none
        assert set(resized.flatten().tolist()) == set(classes.flatten().tolist())
