"""Damage to the parquet files: rows, episodes, tasks; each read, noted or refused by name."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl.api import InputError
from tests.plugins.lerobot_format.sets import edit_table, expected_levels, levels, read, replaced

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
CAMERA = "observation.images.top"


def refusal(root) -> str:
    with pytest.raises(InputError) as caught:
        read(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(root, reference) -> bool:
    """Whether all columns and pictures are those of the set before."""
    one, other = read(root), read(reference)
    every = np.arange(other.table.count)
    names = [n for n, f in other.info.features.items() if f.kind != "image"]
    mine, theirs = one.rows(every, names), other.rows(every, names)
    cameras = [n for n, f in other.info.features.items() if f.kind == "image"]
    return all(np.array_equal(mine[n], theirs[n]) for n in names) and all(
        np.array_equal(one.frames(c, every), other.frames(c, every)) for c in cameras
    )


@pytest.fixture
def reference(shared):
    return shared / "golden" / "dataset_v30" / "dataset"


# --- episodes


def test_a_missing_episodes_folder_is_refused(tiny):
    shutil.rmtree(tiny / "meta" / "episodes")
    assert "meta/episodes" in refusal(tiny)


@pytest.mark.parametrize("size", [0, 4, 100])
def test_a_cut_episodes_file_is_refused_by_name(tiny, size):
    data = (tiny / EPISODES).read_bytes()
    (tiny / EPISODES).write_bytes(data[:size])
    assert EPISODES in refusal(tiny)


def test_episode_rows_in_any_order_are_read_by_their_number(golden, reference):
    edit_table(golden / EPISODES, lambda table: table.take([2, 0, 3, 1]))
    assert same(golden, reference)
    assert [e.length for e in read(golden).info.episodes] == [23, 40, 17, 31]
    assert any("not in order" in note for note in read(golden).info.notes)


def test_episode_rows_in_several_files_with_other_column_order_are_read(golden, reference):
    table = pq.read_table(golden / EPISODES)
    pq.write_table(table.slice(0, 1), golden / EPISODES)
    rest = table.slice(1)
    pq.write_table(rest.select(list(reversed(rest.column_names))), golden / "meta/episodes/chunk-000/file-001.parquet")
    assert same(golden, reference)


def test_a_gap_in_the_numbers_keeps_the_numbers(tiny):
    (tiny / "meta/episodes/chunk-000/file-001.parquet").unlink()
    reader = read(tiny)
    assert [e.index for e in reader.info.episodes] == [0, 2]
    assert reader.table.count == 12
    assert np.abs(levels(reader) - np.delete(expected_levels(), slice(7, 16))).max() < 3
    assert any("missing" in note for note in reader.info.notes)


def test_an_episode_listed_twice_is_used_once(golden, reference):
    edit_table(golden / EPISODES, lambda table: pa.concat_tables([table, table.slice(1, 1)]))
    assert same(golden, reference)
    assert any("twice" in note for note in read(golden).info.notes)


def test_scrambled_row_ranges_are_recomputed(golden, reference):
    def change(table):
        table = replaced(table, "dataset_from_index", [50, 0, 3, 7])
        return replaced(table, "dataset_to_index", [51, 1, 4, 10**9])

    edit_table(golden / EPISODES, change)
    assert same(golden, reference)
    assert [(e.start, e.length) for e in read(golden).info.episodes] == [(0, 23), (23, 40), (63, 17), (80, 31)]


def test_the_rows_count_and_not_the_length(golden, reference):
    edit_table(golden / EPISODES, lambda table: replaced(table, "length", [22, 40, 10**12, 31]))
    assert same(golden, reference)
    assert any("length of 2 episodes" in note for note in read(golden).info.notes)


def test_stale_data_file_numbers_do_not_hide_rows(golden, reference):
    edit_table(golden / EPISODES, lambda table: replaced(table, "data/file_index", [0, 0, 0, 0]))
    assert same(golden, reference)
    assert any("no episode names it" in note for note in read(golden).info.notes)


def test_episode_integers_may_be_doubles_and_optional_columns_absent(golden, reference):
    def change(table):
        names = [n for n in table.column_names if not n.startswith(("stats/", "meta/")) and n != "tasks"]
        table = table.select(names)
        for name in ("episode_index", "length", "data/file_index"):
            table = replaced(table, name, [float(v) for v in table.column(name).to_pylist()], pa.float64())
        return table

    edit_table(golden / EPISODES, change)
    assert same(golden, reference)
    assert read(golden).episode_statistics(0) == {}


def test_absent_video_columns_are_named(golden):
    edit_table(golden / EPISODES, lambda t: t.drop_columns(["videos/observation.images.wrist/from_timestamp"]))
    assert "videos/observation.images.wrist/from_timestamp" in refusal(golden)


@pytest.mark.parametrize("value", [-1, 10**15])
def test_absurd_file_numbers_are_refused(golden, value):
    edit_table(golden / EPISODES, lambda t: replaced(t, "data/file_index", [0, value, 0, 1]))
    assert "file_index" in refusal(golden)


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf")])
def test_absurd_video_times_are_refused_with_their_row(golden, value):
    name = "videos/observation.images.top/from_timestamp"
    edit_table(golden / EPISODES, lambda t: replaced(t, name, [0.0, value, 0.0, 0.0]))
    assert f"column {name}, row 1" in refusal(golden)


# --- tasks


def test_without_a_task_table_the_episodes_tell_the_text(tiny):
    (tiny / "meta" / "tasks.parquet").unlink()
    reader = read(tiny)
    assert reader.info.tasks == {0: "push", 1: "pull"}
    assert any("tasks.parquet is missing" in note for note in reader.info.notes)


def test_tasks_in_json_lines_are_read(tiny):
    (tiny / "meta" / "tasks.parquet").unlink()
    lines = [json.dumps({"task_index": i, "task": t}) for i, t in ((1, "pull"), (0, "push"))]
    (tiny / "meta" / "tasks.jsonl").write_text("\n".join(lines))
    assert read(tiny).info.tasks == {0: "push", 1: "pull"}


@pytest.mark.parametrize("column", ["task", "__index_level_0__", "text"])
def test_task_texts_are_found_by_number_whatever_the_order_and_name(tiny, column):
    table = pa.table({column: ["pull", "push"], "task_index": pa.array([1, 0], pa.int32())})
    pq.write_table(table, tiny / "meta" / "tasks.parquet")
    assert read(tiny).info.tasks == {0: "push", 1: "pull"}


def test_a_task_number_without_text_and_a_null_text_are_empty(tiny):
    table = pa.table({"task": pa.array([None], pa.string()), "task_index": [0]})
    pq.write_table(table, tiny / "meta" / "tasks.parquet")
    edit_table(tiny / "meta/episodes/chunk-000/file-001.parquet", lambda t: replaced(t, "tasks", [[]]))
    reader = read(tiny)
    assert reader.info.tasks == {0: "", 1: ""}
    assert any("task_index 1 has no text" in note for note in reader.info.notes)


# --- data


@pytest.mark.parametrize("size", [0, 4, 1500, -9])
def test_a_cut_data_file_is_refused_by_name(tiny, size):
    data = (tiny / DATA).read_bytes()
    (tiny / DATA).write_bytes(data[:size])
    assert DATA in refusal(tiny)


def test_a_data_file_with_damaged_pages_is_refused_by_name(tiny):
    data = bytearray((tiny / DATA).read_bytes())
    data[4:600] = b"\xff" * 596
    (tiny / DATA).write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"file-000\.parquet"):
        read(tiny).rows(np.arange(7), ["observation.state", "action"])


def test_an_absent_data_file_is_refused_by_name(tiny):
    (tiny / "data/chunk-000/file-001.parquet").unlink()
    assert "data/chunk-000/file-001.parquet: is missing" in refusal(tiny)


def test_leftovers_that_no_episode_names_are_ignored_and_said(tiny):
    (tiny / "data/chunk-000/.half.parquet").write_bytes(b"PAR1 then nothing")
    shutil.copy(tiny / DATA, tiny / "data/chunk-000/file-900.parquet")
    reader = read(tiny)
    assert reader.table.count == 21
    assert sum("ignored" in note for note in reader.info.notes) == 2


def test_lists_instead_of_fixed_lists_and_lists_of_one_are_read(tiny):
    def change(table):
        table = replaced(table, "action", table.column("action").to_pylist(), pa.list_(pa.float64()))
        table = replaced(table, "index", [[v] for v in table.column("index").to_pylist()], pa.list_(pa.int64()))
        return table.select(list(reversed(table.column_names))).replace_schema_metadata(None)

    before = read(tiny).rows(np.arange(21), ["action", "index"])
    edit_table(tiny / DATA, change)
    after = read(tiny).rows(np.arange(21), ["action", "index"])
    assert after["action"].dtype == np.float32
    assert np.array_equal(after["action"], before["action"])
    assert np.array_equal(after["index"], before["index"])


def test_rows_of_other_sizes_are_refused_with_their_number(tiny):
    ragged = [[1.0, 2.0, 3.0]] * 4 + [[1.0, 2.0]] + [[1.0, 2.0, 3.0]] * 2
    edit_table(tiny / DATA, lambda t: replaced(t, "action", ragged, pa.list_(pa.float32())))
    with pytest.raises(InputError, match="column action, row 4: has 2 elements, other rows have 3"):
        read(tiny).rows(np.arange(1), ["action"])


@pytest.mark.parametrize("value", [[[1.0, 2.0, 3.0]] * 3 + [None] * 4, [[1.0, None, 3.0]] * 7])
def test_a_null_is_refused_with_its_row(tiny, value):
    edit_table(tiny / DATA, lambda t: replaced(t, "action", value, pa.list_(pa.float32())))
    with pytest.raises(InputError, match=r"column action, row \d: is null"):
        read(tiny).rows(np.arange(1), ["action"])


def test_text_where_numbers_are_declared_is_refused(tiny):
    edit_table(tiny / DATA, lambda t: replaced(t, "rl.capture_ns", ["x"] * 7, pa.string()))
    with pytest.raises(InputError, match=r"column rl.capture_ns: holds string"):
        read(tiny).rows(np.arange(1), ["rl.capture_ns"])


def test_rows_in_any_order_are_sorted(golden, reference):
    rng = np.random.default_rng(0)
    edit_table(golden / DATA, lambda table: table.take(rng.permutation(table.num_rows)))
    assert same(golden, reference)
    assert any("sorted" in note for note in read(golden).info.notes)


def test_an_index_that_restarts_is_replaced_by_the_row_order(golden, reference):
    edit_table(golden / DATA, lambda table: replaced(table, "index", table.column("frame_index").to_pylist()))
    assert same(golden, reference)
    assert any("column index" in note for note in read(golden).info.notes)


def test_rows_missing_inside_an_episode_keep_their_pictures(golden, reference):
    edit_table(golden / DATA, lambda table: table.take([i for i in range(80) if i not in (5, 6, 30)]))
    reader, whole = read(golden), read(reference)
    kept = np.array([i for i in range(111) if i not in (5, 6, 30)])
    got = reader.frames(CAMERA, np.arange(108))
    assert np.array_equal(got, whole.frames(CAMERA, kept))
    assert any("rows may be missing" in note for note in reader.info.notes)


def test_a_footer_that_promises_more_rows_than_the_file_can_hold_is_refused(tiny, monkeypatch):
    from rl.plugins.lerobot_format import tables

    monkeypatch.setattr(tables, "_ROWS_PER_BYTE", 1e-6)
    assert "promises" in refusal(tiny)


def test_a_link_out_of_the_set_is_refused(tiny, tmp_path):
    shutil.move(tiny / DATA, tmp_path / "elsewhere.parquet")
    (tiny / DATA).symlink_to(tmp_path / "elsewhere.parquet")
    assert "leaves the set" in refusal(tiny)


def test_a_loop_of_links_is_refused(tiny):
    (tiny / DATA).unlink()
    (tiny / DATA).symlink_to(tiny / DATA)
    assert "file-000.parquet" in refusal(tiny)


def test_a_frame_index_that_stands_refuses_the_episode(tiny):
    edit_table(tiny / DATA, lambda t: replaced(t, "frame_index", [0] * 7))
    assert [e.index for e in read(tiny).info.episodes if e.refused] == [0]


def test_a_row_that_is_not_there_is_refused(tiny):
    with pytest.raises(InputError, match="row 21"):
        read(tiny).rows(np.array([21]), ["index"])
    with pytest.raises(InputError, match="is not in the set"):
        read(tiny).rows(np.array([0]), ["nothing"])
