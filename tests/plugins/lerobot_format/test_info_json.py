"""meta/info.json as others wrote it, broke it, or made it to do harm."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from rl.api import InputError
from rl.plugins.lerobot_format import sniff
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.reader import LeRobotReader
from tests.plugins.lerobot_format.sets import edit_info, edit_table, expected_levels, levels, read, replaced

DATA = "data/chunk-000/file-000.parquet"


def refusal(root) -> str:
    with pytest.raises(InputError) as caught:
        read(root)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_info_json_is_named(tiny):
    (tiny / "meta" / "info.json").unlink()
    assert "meta/info.json: is missing" in refusal(tiny)
    assert sniff(tiny)


@pytest.mark.parametrize("text", ["", '{"fps": 30', "[1, 2]", '{"fps": NaN}', "[" * 100_000, "\x00\xff"])
def test_what_is_not_a_json_object_is_refused_with_its_name(tiny, text):
    (tiny / "meta" / "info.json").write_bytes(text.encode("latin-1"))
    assert "meta/info.json" in refusal(tiny)
    assert sniff(tiny) in (True, False)


def test_an_oversized_info_json_is_not_read(tiny):
    with (tiny / "meta" / "info.json").open("ab") as file:
        file.truncate(1 << 30)
    assert "bytes, more than" in refusal(tiny)


@pytest.mark.parametrize("totals", [{"total_episodes": 10**12, "total_frames": 10**15}, {"total_episodes": 1}])
def test_totals_are_counted_and_never_believed(tiny, totals):
    edit_info(tiny, lambda info: info.update(totals))
    reader = read(tiny)
    assert len(reader.info.episodes) == 3
    assert reader.table.count == 21
    assert any("total_episodes" in note for note in reader.info.notes)


def test_absurd_counts_become_a_note(tiny):
    edit_info(tiny, lambda info: info.update(total_frames="many", chunks_size=-1))
    assert sum("not a count" in note for note in read(tiny).info.notes) == 2


@pytest.mark.parametrize("rate", [0, -30, True, "30", None, [30]])
def test_a_rate_that_is_none_is_refused(tiny, rate):
    edit_info(tiny, lambda info: info.update(fps=rate))
    assert "fps" in refusal(tiny)


def test_a_float_rate_is_read_without_a_word(tiny):
    edit_info(tiny, lambda info: info.update(fps=10.0))
    assert read(tiny).info.notes == ()


def test_unknown_keys_and_absent_optional_ones_are_no_matter(tiny):
    def change(info):
        info.update(total_videos=4, new_thing={"a": [1]}, robot_type=None, splits=None)
        for key in ("chunks_size", "data_path", "video_path", "data_files_size_in_mb", "total_tasks"):
            info.pop(key)

    edit_info(tiny, change)
    reader = read(tiny)
    assert reader.info.notes == ()
    assert np.abs(levels(reader) - expected_levels()).max() < 3


@pytest.mark.parametrize("version", ["v2.1", "v2.0", "v1.6"])
def test_an_older_version_is_refused_by_its_number(tiny, version):
    edit_info(tiny, lambda info: info.update(codebase_version=version))
    shutil.rmtree(tiny / "meta" / "episodes")
    assert version in refusal(tiny)


def test_a_wrong_label_on_the_layout_of_v3_is_read_with_a_note(tiny):
    edit_info(tiny, lambda info: info.update(codebase_version="v2.1"))
    assert any("v2.1" in note for note in read(tiny).info.notes)


def test_a_newer_major_version_needs_to_be_asked_for(tiny):
    edit_info(tiny, lambda info: info.update(codebase_version="v4.0"))
    assert "v4.0" in refusal(tiny)
    assert LeRobotReader(tiny, LeRobotConfig(allow_newer=True)).table.count == 21


def test_the_real_v21_set_is_refused_in_one_line(shared):
    assert "v2.1" in refusal(shared / "data" / "so101-bimanual-v21")


def test_an_empty_shape_is_a_scalar_column(tiny):
    edit_info(tiny, lambda info: info["features"]["rl.capture_ns"].update(shape=[]))
    values = read(tiny).rows(np.arange(2), ["rl.capture_ns"])["rl.capture_ns"]
    assert values.tolist() == [[10**18], [10**18 + 1]]


def test_a_declared_size_that_is_not_stored_names_both(tiny):
    edit_info(tiny, lambda info: info["features"]["action"].update(shape=[4], names=None))
    reader = read(tiny)
    with pytest.raises(InputError, match=r"file-000.parquet, column action: has 3 elements a row, .* declares 4"):
        reader.rows(np.arange(1), ["action"])


def test_a_declared_size_beyond_memory_costs_nothing(tiny):
    edit_info(tiny, lambda info: info["features"]["action"].update(shape=[2**30, 2**30], names=None))
    with pytest.raises(InputError, match="declares"):
        read(tiny).rows(np.arange(1), ["action"])


def test_values_are_cast_to_the_declared_type(tiny):
    edit_info(tiny, lambda info: info["features"]["action"].update(dtype="float64"))
    assert read(tiny).rows(np.arange(3), ["action"])["action"].dtype == np.float64


@pytest.mark.parametrize(
    ("names", "want"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ([["a", "b", "c"]], ("a", "b", "c")),
        (None, ()),
        ({"a": 0, "b": 1, "c": 2}, ()),
        (["a", "b"], ("action_0", "action_1", "action_2")),
    ],
)
def test_element_names_are_flattened_and_counted(tiny, names, want):
    edit_info(tiny, lambda info: info["features"]["action"].update(names=names))
    assert read(tiny).info.features["action"].names == want


@pytest.mark.parametrize("names", [["channels", "height", "width"], ["channel", "height", "width"], None])
def test_pictures_declared_channels_first_are_read_as_they_are(tiny, names):
    edit_info(tiny, lambda info: info["features"]["observation.images.top"].update(shape=[3, 48, 64], names=names))
    reader = read(tiny)
    assert reader.info.features["observation.images.top"].shape == (48, 64, 3)
    assert np.abs(levels(reader) - expected_levels()).max() < 3


def test_the_size_of_the_video_counts(tiny):
    edit_info(tiny, lambda info: info["features"]["observation.images.top"].update(shape=[480, 640, 3]))
    reader = read(tiny)
    assert reader.info.features["observation.images.top"].shape == (48, 64, 3)
    assert any("(480, 640)" in note for note in reader.info.notes)


def test_the_older_key_video_info_and_a_wrong_codec_are_read(tiny):
    def change(info):
        feature = info["features"]["observation.images.top"]
        feature["video_info"] = {**feature.pop("info"), "video.codec": "av1"}

    edit_info(tiny, change)
    assert np.abs(levels(read(tiny)) - expected_levels()).max() < 3


def test_default_columns_that_are_not_declared_are_added(tiny):
    def change(info):
        for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
            info["features"].pop(name)

    edit_info(tiny, change)
    reader = read(tiny)
    assert reader.rows(np.array([8]), ["index", "frame_index"])["frame_index"].tolist() == [1]
    assert len(reader.info.notes) == 5


def test_default_columns_that_are_not_stored_are_derived(tiny):
    for number in range(3):
        path = tiny / f"data/chunk-000/file-00{number}.parquet"
        edit_table(path, lambda t: t.drop_columns(["timestamp", "frame_index", "index", "task_index", "episode_index"]))
    reader = read(tiny)
    rows = reader.rows(np.array([0, 8, 20]), ["timestamp", "frame_index", "index", "task_index", "episode_index"])
    assert rows["episode_index"].tolist() == [0, 1, 2]
    assert rows["index"].tolist() == [0, 8, 20]
    assert rows["frame_index"].tolist() == [0, 1, 4]
    assert rows["timestamp"].tolist() == pytest.approx([0, 0.1, 0.4])
    assert [reader.info.tasks[t] for t in rows["task_index"].tolist()] == ["push", "pull", "push"]
    assert np.abs(levels(reader) - expected_levels()).max() < 3


def test_another_declared_column_that_is_absent_is_refused_by_name(tiny):
    edit_table(tiny / DATA, lambda table: table.drop_columns(["action"]))
    assert "file-000.parquet: lacks the column 'action'" in refusal(tiny)


def test_a_column_that_is_not_declared_is_left_out_and_said(tiny):
    edit_info(tiny, lambda info: info["features"].pop("rl.capture_ns"))
    reader = read(tiny)
    assert "rl.capture_ns" not in reader.info.features
    assert any("rl.capture_ns" in note for note in reader.info.notes)


def test_pictures_stored_as_numbers_are_pictures(tiny):
    edit_info(tiny, lambda info: info["features"].update(mask={"dtype": "uint8", "shape": [4, 6, 3], "names": None}))
    for number in range(3):
        path = tiny / f"data/chunk-000/file-00{number}.parquet"
        edit_table(path, lambda t: t.append_column("mask", [np.arange(t.num_rows * 72).reshape(-1, 4, 6, 3).tolist()]))
    reader = read(tiny)
    image = reader.frames("mask", np.array([1]))
    assert image.reshape(-1).tolist() == list(range(72, 144))
    with pytest.raises(InputError, match="levels"):
        reader.frames("mask", np.array([5]))


@pytest.mark.parametrize(
    "template",
    [
        "/etc/{file_index}.mp4",
        "../{video_key}/{file_index}.mp4",
        "videos/{video_key.__class__}/{file_index}.mp4",
        "videos/{video_key!r}/{file_index}.mp4",
        "videos/{secret}/{file_index}.mp4",
        "videos/{0}/{file_index}.mp4",
        "videos/{file_index:>99999999d}.mp4",
        "C:\\videos\\{file_index}.mp4",
        7,
    ],
)
def test_a_path_template_that_is_more_than_plain_fields_is_refused(tiny, template):
    edit_info(tiny, lambda info: info.update(video_path=template))
    assert "video_path" in refusal(tiny)


def test_a_malicious_data_path_is_refused(tiny):
    edit_info(tiny, lambda info: info.update(data_path="/etc/passwd"))
    assert "data_path" in refusal(tiny)


def test_videos_without_a_video_path_are_refused(tiny):
    edit_info(tiny, lambda info: info.update(video_path=None))
    assert "video_path is null" in refusal(tiny)


@pytest.mark.parametrize("name", ["a/b", "..", "x\ny", "<script>", "n" * 300, "", "\x9b31m", "\ud800"])
def test_a_feature_name_that_no_path_can_hold_is_refused(tiny, name):
    edit_info(tiny, lambda info: info["features"].update({name: {"dtype": "float32", "shape": [1], "names": None}}))
    assert "name" in refusal(tiny)


@pytest.mark.parametrize("shape", [[0], [-1], ["3"], 3, [1] * 9, [2**40], None])
def test_a_shape_that_is_none_is_refused(tiny, shape):
    edit_info(tiny, lambda info: info["features"]["action"].update(shape=shape))
    assert "shape" in refusal(tiny)


def test_text_that_steers_a_terminal_is_stripped(tiny):
    edit_info(tiny, lambda info: info.update(robot_type="so101\x1b[2J\n" + "x" * 500))
    assert read(tiny).info.robot.startswith("so101[2Jx")
    assert len(read(tiny).info.robot) <= 200


def test_an_integer_that_does_not_fit_its_declared_type_is_warned_of(tiny):
    edit_info(tiny, lambda info: info["features"]["rl.capture_ns"].update(dtype="int32"))
    with pytest.warns(UserWarning, match=r"rl\.capture_ns: stored as int64, declared int32"):
        read(tiny).rows(np.arange(1), ["rl.capture_ns"])


def test_an_unknown_dtype_is_refused(tiny):
    edit_info(tiny, lambda info: info["features"]["action"].update(dtype="complex64"))
    assert "complex64" in refusal(tiny)


def test_kinds_follow_the_names_that_the_field_uses(tiny):
    names = {"observation.state": "state", "action": "actions"}

    def change(info):
        info["features"] = {names.get(name, name): feature for name, feature in info["features"].items()}

    edit_info(tiny, change)
    for number in range(3):
        path = tiny / f"data/chunk-000/file-00{number}.parquet"
        edit_table(path, lambda t: t.rename_columns([names.get(n, n) for n in t.column_names]))
    found = read(tiny).info.features
    assert found["state"].kind == "state"
    assert found["actions"].kind == "action"
    assert found["observation.images.top"].kind == "image"
    assert found["timestamp"].kind == "index"


def test_a_lossy_integer_is_refused_where_a_number_must_be_whole(tiny):
    edit_table(tiny / DATA, lambda t: replaced(t, "episode_index", [0.5] * 7, pa.float64()))
    assert "0.5, not a whole number" in refusal(tiny)
