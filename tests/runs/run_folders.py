"""What trainings and evaluations leave, as far as tables read it."""

import json
from pathlib import Path

import yaml

Scores = dict[str, float]


def run_folder(folder: Path, *, value: float | None = 30.0, **settings: object) -> Path:
    """What a training leaves, as far as a table reads it."""
    folder.mkdir(parents=True)
    config = {"model": {"width": 8}, "data": {"root": "a"}, "trainer": {"max_steps": 4}, "run_id": folder.name}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | settings))
    if value is not None:
        result = {"monitor": "best/psnr_y", "value": value, "protocol": "sr_y", "steps": 4, "seconds": 12.34}
        (folder / "result.json").write_text(json.dumps(result | {"metrics": {"test/Set5/psnr_y": value, "step": 4.0}}))
    return folder


def results_csv(file: Path, scores: Scores, *, column: str = "psnr_y", benchmark: str = "Set5") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{benchmark},{image},2,sr_y,{value:.6f}" for image, value in scores.items()]
    file.write_text("\n".join([f"benchmark,image,scale,protocol,{column}", *rows]) + "\n")
