"""Recording: what was saved is whole, readable by others, and survives a kill at any step."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from rl.api import Feature, InputError, RlError
from rl.data.statistics import compute
from rl.plugins.lerobot_format import durable
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.encoder import CameraEncoder
from rl.plugins.lerobot_format.writer import LeRobotWriter
from tests.plugins.lerobot_format.sets import (
    FPS,
    JOINTS,
    LENGTHS,
    edit_info,
    expected_levels,
    features,
    levels,
    picture,
    read,
    record,
    row,
)

TOP = "observation.images.top"


def test_what_was_recorded_is_read_back(recorded):
    reader = read(recorded)
    assert [e.length for e in reader.info.episodes] == list(LENGTHS)
    assert [e.tasks for e in reader.info.episodes] == [("push",), ("pull",), ("push",)]
    assert reader.info.notes == ()
    values = reader.rows(np.array([0, 8, 20]), ["action", "rl.capture_ns", "index", "timestamp", "task_index"])
    assert values["action"].tolist() == [[0.5, 0.5, 0.5], [1.5, 1.5, 11.5], [2.5, 4.5, 24.5]]
    assert values["rl.capture_ns"].tolist() == [[10**18], [10**18 + 1], [10**18 + 4]]
    assert values["index"].tolist() == [0, 8, 20]
    assert values["task_index"].tolist() == [0, 1, 0]
    assert np.abs(levels(reader) - expected_levels()).max() < 3


def test_units_and_joint_names_come_back(recorded):
    action = read(recorded).info.features["action"]
    assert action.names == JOINTS
    assert action.unit == ("degrees", "degrees", "percent")


def test_a_disk_that_fills_up_in_the_commit_costs_only_that_episode(tmp_path, monkeypatch):
    place, done = durable.place, []

    def full(temporary: Path, final: Path) -> None:
        done.append(final)
        if len(done) == 4:
            raise OSError(28, "No space left on device")
        place(temporary, final)

    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        record(writer, 0, 3, "push")
        with monkeypatch.context() as patch:
            patch.setattr(durable, "place", full)
            with pytest.raises(RlError, match="No space left"):
                record(writer, 1, 4, "pull")
        assert record(writer, 1, 5, "turn") == 1
    reader = read(tmp_path / "set")
    assert [e.length for e in reader.info.episodes] == [3, 5]
    assert reader.info.notes == ()
    assert np.abs(levels(reader) - expected_levels((3, 5))).max() < 3


def test_the_layout_is_the_one_that_others_open(recorded):
    info = json.loads((recorded / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"]) == ("v3.0", FPS, 3)
    assert type(info["fps"]) is int
    assert list(info["features"])[-5:] == ["timestamp", "frame_index", "episode_index", "index", "task_index"]
    data = pq.read_schema(recorded / "data/chunk-000/file-000.parquet")
    assert data.names == [n for n in info["features"] if n != TOP]
    assert str(data.field("action").type) == "fixed_size_list<element: float>[3]"
    assert str(data.field("rl.capture_ns").type) == "int64"
    tasks = pq.read_table(recorded / "meta" / "tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    row = pq.read_table(recorded / "meta/episodes/chunk-000/file-001.parquet").to_pylist()[0]
    assert (row["episode_index"], row["dataset_from_index"], row["dataset_to_index"]) == (1, 7, 16)
    assert (row[f"videos/{TOP}/file_index"], row[f"videos/{TOP}/to_timestamp"]) == (1, 0.9)
    assert np.shape(row[f"stats/{TOP}/mean"]) == (3, 1, 1)


def test_columns_are_those_of_the_reference_writer(recorded, shared):
    golden = shared / "golden" / "dataset_v30" / "dataset" / "meta"
    mine = pq.read_schema(recorded / "meta/episodes/chunk-000/file-000.parquet")
    theirs = pq.read_schema(golden / "episodes/chunk-000/file-000.parquet")
    shape = [n for n in theirs.names if not n.startswith(("stats/", "videos/"))]
    assert [n for n in mine.names if not n.startswith(("stats/", "videos/"))] == shape
    for name in [*shape, "stats/action/mean", f"stats/{TOP}/mean", f"videos/{TOP}/from_timestamp", "stats/index/count"]:
        assert mine.field(name).type == theirs.field(name).type, name
    assert pq.read_schema(recorded / "meta/tasks.parquet").names == pq.read_schema(golden / "tasks.parquet").names


def test_videos_seek_well_and_have_no_reordered_frames(recorded):
    with av.open(str(recorded / f"videos/{TOP}/chunk-000/file-001.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.frames) == ("h264", "yuv420p", 9)
        packets = [p for p in container.demux(stream) if p.size]
    assert all(p.pts == p.dts for p in packets)
    keys = [i for i, p in enumerate(packets) if p.is_keyframe]
    assert max(np.diff(keys)) <= 15
    assert [float(p.pts * p.time_base) for p in packets] == pytest.approx([i / FPS for i in range(9)], abs=1e-9)


def test_statistics_are_those_of_the_rows_and_the_pictures(recorded):
    reader = read(recorded)
    values = reader.rows(np.arange(21), ["action"])["action"]
    own, said = compute(values), reader.info.statistics["action"]
    for kind in ("min", "max", "mean", "std"):
        assert said[kind] == pytest.approx(own[kind], abs=1e-6)
    assert said["count"].tolist() == [21]
    camera = reader.info.statistics[TOP]
    grey = expected_levels() / 255
    assert camera["mean"].ravel() == pytest.approx([grey.mean()] * 3, abs=1e-9)
    assert camera["min"].ravel() == pytest.approx([grey.min()] * 3)
    assert camera["count"].tolist() == [21]


def test_recording_goes_on_where_it_ended(tiny):
    with LeRobotWriter(tiny, features(), FPS) as writer:
        assert writer.episodes == 3
        assert record(writer, 3, 4, "turn") == 3
    reader = read(tiny)
    assert [e.length for e in reader.info.episodes] == [*LENGTHS, 4]
    assert reader.info.tasks == {0: "push", 1: "pull", 2: "turn"}
    assert np.abs(levels(reader) - expected_levels((*LENGTHS, 4))).max() < 3
    assert reader.info.statistics["action"]["count"].tolist() == [25]


def test_recording_goes_on_in_a_set_that_the_reference_wrote(golden):
    reader = read(golden)
    names = [n for n in reader.declared.columns if reader.info.features[n].kind != "index"]
    given = {n: reader.info.features[n] for n in names}
    plain = [n for n in names if given[n].kind != "image"]
    rows = reader.rows(np.arange(3), plain)
    with LeRobotWriter(golden, given, 30) as writer:
        writer.begin("push on")
        for i in range(3):
            images = {n: np.full(f.shape, 40 * i, np.uint8) for n, f in given.items() if f.kind == "image"}
            writer.append({n: rows[n][i] for n in plain} | images)
        assert writer.save() == 4
    after = read(golden)
    assert after.info.notes == ()
    assert (after.table.count, len(after.info.tasks)) == (114, 4)
    again = after.rows(np.array([111, 112, 113]), plain)
    assert all(np.array_equal(again[n], rows[n]) for n in plain)
    assert after.episode_rows[4].videos[TOP].number == (1, 0)  # chunks of two files
    assert levels(after)[111:] == pytest.approx([0, 40, 80], abs=2)


def test_each_row_may_have_its_own_task(tmp_path):
    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        writer.begin("push")
        for frame, task in enumerate([None, "pull", None]):
            writer.append(row(0, frame), task)
        writer.save()
    reader = read(tmp_path / "set")
    assert reader.rows(np.arange(3), ["task_index"])["task_index"].tolist() == [0, 1, 0]
    assert reader.info.episodes[0].tasks == ("push", "pull")


def test_a_discarded_episode_leaves_nothing(tmp_path):
    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        record(writer, 0, 3, "push")
        writer.begin("push")
        writer.append(row(0, 0))
        writer.discard()
        writer.discard()
        assert record(writer, 1, 3, "push") == 1
    assert read(tmp_path / "set").table.count == 6
    assert not list((tmp_path / "set" / ".rl" / "open").iterdir())


@pytest.mark.parametrize("count", [0, 1])
def test_an_episode_too_short_for_the_format_is_refused_and_the_next_one_goes(tmp_path, count):
    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        writer.begin("push")
        for frame in range(count):
            writer.append(row(0, frame))
        with pytest.raises(InputError, match=f"an episode of {count} frame"):
            writer.save()
        assert record(writer, 0, 2, "push") == 0


def bad_rows():
    good = row(0, 0)
    yield "lacks action", {k: v for k, v in good.items() if k != "action"}
    yield "has more", good | {"more": np.zeros(1)}
    yield "shape", good | {"action": np.zeros(4, np.float32)}
    yield "uint8", good | {TOP: np.zeros((48, 64, 3), np.float32)}
    yield "shape", good | {TOP: np.zeros((64, 48, 3), np.uint8)}
    yield "NaN", good | {"action": np.array([0, np.nan, 0], np.float32)}
    yield "declared is int64", good | {"rl.capture_ns": np.array([0.5])}


@pytest.mark.parametrize(("word", "bad"), list(bad_rows()), ids=[w for w, _ in bad_rows()])
def test_a_row_that_does_not_fit_is_refused_whole(tmp_path, word, bad):
    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        writer.begin("push")
        writer.append(row(0, 0))
        with pytest.raises(InputError, match=word):
            writer.append(bad)
        writer.append(row(0, 1))
        assert writer.save() == 0
    assert read(tmp_path / "set").table.count == 2


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({TOP: Feature(TOP, "image", (47, 64, 3), "uint8")}, "even"),
        ({TOP: Feature(TOP, "image", (48, 64, 1), "uint16")}, "cameras are uint8"),
        ({"a/b": Feature("a/b", "free", (1,))}, "name"),
        ({"../x": Feature("../x", "free", (1,))}, "name"),
        ({"c": Feature("c", "free", (1,), "complex64")}, "complex64"),
    ],
)
def test_features_that_cannot_be_stored_are_refused_before_anything_is_made(tmp_path, change, word):
    with pytest.raises(InputError, match=word):
        LeRobotWriter(tmp_path / "set", features() | change, FPS)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("fps", [29.97, 0, -1, float("inf")])
def test_a_rate_that_is_not_whole_is_refused(tmp_path, fps):
    with pytest.raises(InputError, match="whole"):
        LeRobotWriter(tmp_path / "set", features(), fps)


def test_another_rate_other_features_or_units_are_refused(tiny):
    with pytest.raises(InputError, match="10 Hz, not 20"):
        LeRobotWriter(tiny, features(), 20)
    fewer = {k: v for k, v in features().items() if k != "rl.capture_ns"}
    with pytest.raises(InputError, match="other features"):
        LeRobotWriter(tiny, fewer, FPS)
    wider = features() | {"action": Feature("action", "action", (4,))}
    with pytest.raises(InputError, match="action"):
        LeRobotWriter(tiny, wider, FPS)
    turned = Feature("action", "action", (3,), unit="range_m100_100", names=JOINTS)
    with pytest.raises(InputError, match=r"in .*degrees"):
        LeRobotWriter(tiny, features() | {"action": turned}, FPS)
    assert read(tiny).table.count == 21


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        LeRobotWriter(tmp_path / "set", features(), FPS)
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["thesis.tex"]


def test_a_second_writer_is_refused_until_the_first_closes(tmp_path):
    with LeRobotWriter(tmp_path / "set", features(), FPS), pytest.raises(InputError, match="another process"):
        LeRobotWriter(tmp_path / "set", features(), FPS)
    LeRobotWriter(tmp_path / "set", features(), FPS).close()


def test_totals_that_do_not_fit_are_refused_before_recording(tiny):
    edit_info(tiny, lambda info: info.update(total_episodes=2))
    with pytest.raises(InputError, match="says 2 episodes"):
        LeRobotWriter(tiny, features(), FPS)
    assert len(list(tiny.rglob("*.mp4"))) == 3


def test_calls_out_of_order_say_so(tmp_path):
    writer = LeRobotWriter(tmp_path / "set", features(), FPS)
    with pytest.raises(RlError, match="no episode is open"):
        writer.append(row(0, 0))
    with pytest.raises(RlError, match="no episode is open"):
        writer.save()
    writer.begin("push")
    with pytest.raises(RlError, match="open already"):
        writer.begin("push")
    writer.close()
    writer.close()
    with pytest.raises(RlError, match="closed"):
        writer.begin("push")


def test_a_full_queue_waits_and_drops_nothing(tmp_path):
    encoder = CameraEncoder(tmp_path / "x.mp4", (240, 320), 30, LeRobotConfig(queue=30))
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for shift in range(70):
        encoder.put(np.roll(noise, shift, axis=1))
    encoder.finish()
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].frames == 70


def test_the_caller_may_use_its_picture_again(tmp_path):
    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        writer.begin("push")
        values, image = row(0, 0), np.empty((48, 64, 3), np.uint8)
        for frame in range(5):
            image[:] = picture(0, frame)
            writer.append(values | {TOP: image})
        writer.save()
    assert np.abs(levels(read(tmp_path / "set")) - expected_levels((5,))).max() < 3


def test_an_encoder_that_fails_is_an_error_and_the_writer_lives(tmp_path, monkeypatch):
    def fail(self):
        raise ValueError("no space left")

    with LeRobotWriter(tmp_path / "set", features(), FPS) as writer:
        record(writer, 0, 3, "push")
        with monkeypatch.context() as patch:
            patch.setattr(CameraEncoder, "_encode", fail)
            writer.begin("push")
            time.sleep(0.05)
            with pytest.raises(RlError, match="no space left"):
                writer.append(row(0, 0))
            writer.discard()
        assert record(writer, 1, 3, "push") == 1
    assert read(tmp_path / "set").table.count == 6


def killed_at(root: Path, step: int) -> None:
    """In a child process: record one more episode and die at the rename of that number; 99: in mid-episode."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        return
    try:
        writer = LeRobotWriter(root, features(), FPS)
        place, done = durable.place, []

        def dying(temporary: Path, final: Path) -> None:
            if len(done) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            place(temporary, final)
            done.append(final)

        durable.place = dying
        if step == 99:
            writer.begin("push")
            writer.append(row(3, 0))
        else:
            record(writer, 3, 4, "new task")
        os.kill(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(1)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4, 5, 6, 99])
def test_a_writer_killed_at_any_step_loses_no_saved_episode(recorded, tmp_path, step):
    """Steps: video, rows, episode row, tasks, statistics, info.json (the commit), afterwards; 99: in mid-episode."""
    root = tmp_path / "set"
    shutil.copytree(recorded, root)
    killed_at(root, step)
    committed = step == 6
    reader = read(root)  # before anything is mended
    assert np.abs(levels(reader)[:21] - expected_levels()).max() < 3
    lengths = (*LENGTHS, 4) if committed else LENGTHS
    with LeRobotWriter(root, features(), FPS) as writer:
        assert writer.episodes == len(lengths)
        assert record(writer, len(lengths), 6, "after") == len(lengths)
    after = read(root)
    assert [e.length for e in after.info.episodes] == [*lengths, 6]
    assert np.abs(levels(after) - expected_levels((*lengths, 6))).max() < 3
    rows = after.rows(np.arange(after.table.count), ["action"])["action"]
    assert after.info.statistics["action"]["mean"] == pytest.approx(compute(rows)["mean"], abs=1e-6)
    assert after.info.statistics["action"]["count"].tolist() == [after.table.count]
    assert (
        after.info.tasks[int(after.rows(np.array([-1 + after.table.count]), ["task_index"])["task_index"][0])]
        == "after"
    )
    assert after.info.notes == ()


def test_a_writer_killed_before_its_first_commit_begins_anew(tmp_path):
    root = tmp_path / "set"
    killed_at(root, 3)
    assert not (root / "meta" / "info.json").exists()
    with LeRobotWriter(root, features(), FPS) as writer:
        assert record(writer, 0, 3, "push") == 0
    assert read(root).table.count == 3
    assert list((root / ".rl" / "aside").rglob("*.mp4"))


def test_nothing_of_the_writer_is_found_where_readers_look(recorded):
    found = {p.relative_to(recorded).parts[0] for p in Path(recorded).rglob("*") if p.is_file()}
    assert found == {".rl", "data", "meta", "videos"}
    assert not list(recorded.glob("**/*.new"))
    assert sum(1 for _ in recorded.glob("data/*/*.parquet")) == 3
