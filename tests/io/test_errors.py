import pickle

from restore.io.errors import SettingError


def test_the_parts_and_the_sentence() -> None:
    error = SettingError("data.batch_size", 3, "a multiple of 2", "set data.batch_size=4")
    assert (error.key, error.got, error.expected, error.remedy) == (
        "data.batch_size",
        3,
        "a multiple of 2",
        "set data.batch_size=4",
    )
    assert str(error) == "data.batch_size is 3, expected a multiple of 2; set data.batch_size=4"
    assert str(SettingError("scale", None, "a number")) == "scale is null, expected a number"


def test_it_comes_whole_out_of_another_process() -> None:
    error = pickle.loads(pickle.dumps(SettingError("scale", 0, "at least 1", "leave it out")))
    assert (type(error), error.key, str(error)) == (
        SettingError,
        "scale",
        "scale is 0, expected at least 1; leave it out",
    )
