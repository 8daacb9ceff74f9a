from pathlib import Path

from restore.inference.batch import SHOWN, Outcome, Record, summary
from restore.inference.output_paths import RECORD
from tests.conftest import photo


def test_a_record_knows_a_result_of_the_same_input_and_settings(tmp_path: Path) -> None:
    source, target = photo(tmp_path / "a.png"), tmp_path / "out" / "a_x2.png"
    record = Record({"scale": 2})
    assert not record.holds(source, target)
    photo(target)
    record.add(source, target, {"note": "bicubic"}, fell_back=True)
    record.save()
    assert (target.parent / RECORD).is_file()
    assert Record({"scale": 2}).holds(source, target)
    assert Record({"scale": 2}).fell_back(target)
    assert not Record({"scale": 3}).holds(source, target)
    photo(source, 41, 50)
    assert not Record({"scale": 2}).holds(source, target)
    target.unlink()
    assert not record.holds(source, target)


def test_a_summary_of_many_files_has_those_with_something_to_say_and_a_total() -> None:
    sizes = ((3, 4), (6, 8))
    fine = [(Path(f"{k}.png"), Outcome(sizes=sizes, seconds=0.5)) for k in range(SHOWN)]
    assert len(summary(fine).rows) == SHOWN
    assert summary(fine).rows[0] == ["0.png", "4x3", "8x6", "0.5", ""]
    others = [(Path("bad.png"), Outcome("damaged")), (Path("noted.png"), Outcome(notes={"kernel": "flat"}))]
    rows = summary([*fine, *others]).rows
    assert [(row[0], row[-1]) for row in rows] == [
        ("bad.png", "failed"),
        ("noted.png", "kernel: flat"),
        (f"all {SHOWN + 2}", ""),
    ]
    assert rows[-1][3] == "10.0"
    assert summary([(Path("a.png"), Outcome(interrupted=True))]).rows[0][-1] == "interrupted"
