"""Inference and evaluation read data without the training stack, whose import takes seconds."""

import subprocess
import sys

PLAIN = (
    "ab_folders",
    "blur_sharp_folders",
    "cache",
    "datasets",
    "embedded_photos",
    "file_checks",
    "hr_lr_folders",
    "image_folders",
    "internal_pairs",
    "known_sets",
    "labels",
    "pack",
    "pack_records",
    "packing",
    "pair",
    "pair_reader",
    "sampling",
    "setting_bounds",
    "translation_dataset",
)


def test_plain_data_sets_load_no_lightning_and_no_kornia() -> None:
    imports = "\n".join(f"import restore.data.{name}" for name in PLAIN)
    heavy = "print(*sorted({'lightning', 'torchmetrics', 'kornia', 'matplotlib'} & sys.modules.keys()))"
    code = f"import sys\n{imports}\n{heavy}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
