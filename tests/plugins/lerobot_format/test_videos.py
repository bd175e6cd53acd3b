"""Damage to videos and to the clocks that pair rows with them."""

import os
import pickle
import shutil
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pytest

from rl.api import InputError
from rl.data.windows import WindowView
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.reader import LeRobotReader
from tests.plugins.lerobot_format.sets import edit_info, edit_table, expected_levels, levels, read, replaced

TOP = "observation.images.top"
VIDEO = f"videos/{TOP}/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA = "data/chunk-000/file-000.parquet"
SECOND = f"videos/{TOP}/chunk-000/file-001.mp4"


def refused_frames(root, camera=TOP) -> str:
    reader = read(root)
    with pytest.raises(InputError) as caught:
        WindowView(reader, {camera: (0,)})
    with pytest.raises(InputError):
        levels(reader, camera)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- files


def test_missing_videos_are_named_and_rows_stay_readable(tiny):
    (tiny / SECOND).unlink()
    assert SECOND in refused_frames(tiny)
    assert read(tiny).rows(np.arange(21), ["action"])["action"].shape == (21, 3)


def test_the_real_set_without_videos_reads_rows_and_names_them(shared):
    reader = read(shared / "data" / "piper-novideo-v30")
    assert (len(reader.info.episodes), reader.table.count) == (55, 13331)
    assert reader.rows(np.array([13330]), ["observation.state"])["observation.state"].shape == (1, 7)
    with pytest.raises(InputError, match=r"videos/observation\.images\.front/chunk-000/file-000\.mp4"):
        reader.frames("observation.images.front", np.array([0]))


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", b"\0" * 99]
)
def test_a_file_that_is_no_video_is_named(tiny, content):
    (tiny / SECOND).write_bytes(content)
    assert SECOND in refused_frames(tiny)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_cut_video_names_file_and_episodes(tiny, share):
    data = (tiny / SECOND).read_bytes()
    (tiny / SECOND).write_bytes(data[: int(len(data) * share)])
    text = refused_frames(tiny)
    assert SECOND in text
    assert "episode 1" in text


def test_a_video_cut_behind_its_index_is_found_before_a_frame_is_decoded(tiny, tmp_path):
    with (
        av.open(str(tiny / SECOND)) as source,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "+faststart"}) as target,
    ):
        out = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = out
                target.mux(packet)
    data = (tmp_path / "front.mp4").read_bytes()
    (tiny / SECOND).write_bytes(data[:-200])
    assert "is cut" in refused_frames(tiny)


def test_an_uncut_episode_stays_readable(tiny):
    (tiny / SECOND).unlink()
    view = WindowView(read(tiny), {TOP: (0,)}, episodes=[0, 2])
    assert len(view) == 12
    assert view.batch(view.positions[:2])[TOP].shape == (2, 1, 48, 64, 3)


def test_fewer_frames_than_rows_are_counted(tiny):
    shutil.copy(tiny / f"videos/{TOP}/chunk-000/file-002.mp4", tiny / SECOND)  # 5 frames for 9 rows
    text = refused_frames(tiny)
    assert "has 5 frames, 4 rows are beyond its end" in text


def test_more_frames_than_rows_are_noted(tiny):
    shutil.copy(tiny / SECOND, tiny / VIDEO)  # 9 frames for 7 rows
    view = WindowView(read(tiny), {TOP: (0,)})
    assert any("9 frames for 7 rows" in note for note in view.notes)


def test_a_link_out_of_the_set_is_refused(tiny, tmp_path):
    shutil.move(tiny / SECOND, tmp_path / "away.mp4")
    (tiny / SECOND).symlink_to(tmp_path / "away.mp4")
    with pytest.raises(InputError, match="leaves the set"):
        read(tiny)


def test_files_of_other_sizes_are_refused(tiny):
    shutil.copy(tiny / VIDEO, tiny / SECOND)
    with av.open(str(tiny / SECOND), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for n in range(9):
            frame = av.VideoFrame.from_ndarray(np.zeros((24, 32, 3), np.uint8))
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert "other files have" in refused_frames(tiny)


# --- where an episode begins in its file


def test_a_begin_that_was_not_reset_refuses_the_episode(golden):
    name = f"videos/{TOP}/from_timestamp"
    edit_table(golden / EPISODES, lambda t: replaced(t, name, [0.0, 23 / 30, 63 / 30, 80 / 30]))
    refused = {e.index: e.refused for e in read(golden).info.episodes if e.refused}
    assert set(refused) == {2, 3}
    assert "from_timestamp 2.1 s" in refused[2]


def test_episodes_that_claim_the_same_frames_are_refused(golden):
    name = f"videos/{TOP}/from_timestamp"
    edit_table(golden / EPISODES, lambda t: replaced(t, name, [0.0, 10 / 30, 0.0, 17 / 30]))
    refused = {e.index: e.refused for e in read(golden).info.episodes if e.refused}
    assert 1 in refused
    assert 2 not in refused
    view = WindowView(read(golden), {TOP: (0,)})
    assert any("left out" in note for note in view.notes)


def test_a_begin_off_by_two_milliseconds_takes_the_nearest_frame(golden, shared):
    name = f"videos/{TOP}/from_timestamp"
    edit_table(golden / EPISODES, lambda t: replaced(t, name, [v + 0.002 for v in t.column(name).to_pylist()]))
    want = levels(read(shared / "golden" / "dataset_v30" / "dataset"))
    view = WindowView(read(golden), {TOP: (0,)})
    assert np.array_equal(levels(view.reader), want)
    assert any("ms off" in note for note in view.notes)


# --- clocks


def clocked(golden, change):
    """The golden set with the stored times of its first file changed."""

    def edit(table):
        times = np.array(table.column("timestamp").to_pylist())
        frame = np.array(table.column("frame_index").to_pylist())
        return replaced(table, "timestamp", change(times, frame).tolist(), pa.float64())

    edit_table(golden / DATA, edit)
    return read(golden)


def matches(reader, shared) -> bool:
    return np.array_equal(levels(reader), levels(read(shared / "golden" / "dataset_v30" / "dataset")))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t, k: t + 1.7e9, "begin at"),
        (lambda t, k: np.arange(80) / 30, "begin at"),
        (lambda t, k: t + 0.003 * np.sin(k), "ms off the grid"),
    ],
    ids=["wall clock", "running on over episodes", "jitter of 3 ms"],
)
def test_a_clock_that_is_shifted_or_jitters_pairs_by_frame_index(golden, shared, change, word):
    reader = clocked(golden, change)
    assert any(word in note for note in reader.info.notes)
    assert not any(e.refused for e in reader.info.episodes)
    assert matches(reader, shared)


def test_a_drifting_clock_pairs_by_order_when_the_counts_agree(golden, shared):
    reader = clocked(golden, lambda t, k: t * 1.05)
    assert any("mean rate 28.57 Hz" in note for note in reader.info.notes)
    assert matches(reader, shared)


def test_a_drifting_clock_with_rows_missing_refuses_the_episode(golden):
    edit_table(golden / DATA, lambda table: table.take([i for i in range(80) if i != 30]))
    reader = clocked(golden, lambda t, k: t * 1.05)
    refused = {e.index: e.refused for e in reader.info.episodes if e.refused}
    assert set(refused) == {0, 1}
    assert "not one for each row" in refused[1]
    with pytest.raises(InputError, match="episode 1"):
        reader.frames(TOP, np.array([40]))


@pytest.mark.parametrize("change", [lambda t, k: t * 0, lambda t, k: (t + 1.7e9).astype(np.float32).astype(np.float64)])
def test_a_clock_that_stands_refuses_the_episodes(golden, change):
    refused = [e.index for e in clocked(golden, change).info.episodes if e.refused]
    assert refused == [0, 1, 2]


def test_a_wrong_declared_rate_pairs_by_order(golden, shared):
    edit_info(golden, lambda info: info.update(fps=25))
    reader = read(golden)
    assert not any(e.refused for e in reader.info.episodes)
    assert matches(reader, shared)


def test_times_that_are_not_finite_refuse_the_episode(golden):
    refused = [e for e in clocked(golden, lambda t, k: np.where(k == 3, np.nan, t)).info.episodes if e.refused]
    assert [e.index for e in refused] == [0, 1, 2]


def test_a_video_off_the_grid_pairs_by_order_when_the_counts_agree(tiny):
    path = tiny / SECOND
    with av.open(str(path)) as source:
        frames = [f.to_ndarray(format="rgb24") for f in source.decode(video=0)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for n, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = 500 + n * 100 + 7 * (n % 3), stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    view = WindowView(read(tiny), {TOP: (0,)})
    assert np.abs(levels(view.reader) - expected_levels()).max() < 5
    assert any("by order" in note for note in view.notes)


# --- random access


@pytest.mark.parametrize("name", ["so101-wrist-v30", "so101-longgop-v30", "bimanual-hands-v30"])
def test_random_access_equals_decoding_from_the_start(shared, name):
    reader = read(shared / "data" / name)
    camera = reader.declared.videos[0]
    with av.open(str(reader.root / reader.episode_rows[0].videos[camera].file)) as source:
        wanted = dict(zip(range(40), source.decode(video=0), strict=False))
    for rows in ([17, 3, 3, 39, 0, 18], [1], [2, 3, 4], [0], [38, 5]):
        got = reader.frames(camera, np.array(rows))
        for row, image in zip(rows, got, strict=True):
            assert np.array_equal(image, wanted[row].to_ndarray(format="rgb24")), row


def test_every_frame_of_a_real_set_decodes_in_any_order(shared):
    reader = read(shared / "data" / "so101-longgop-v30")
    camera = "observation.images.wrist"
    rows = np.random.default_rng(0).permutation(1153)[:5]
    small = reader.frames(camera, rows, (24, 32))
    in_order = reader.frames(camera, np.sort(rows), (24, 32))
    assert np.array_equal(small[np.argsort(rows)], in_order)


def test_few_open_decoders_are_enough(tiny):
    reader = LeRobotReader(tiny, LeRobotConfig(decoders=1))
    rows = np.array([0, 20, 8, 1, 19])
    got = reader.frames(TOP, rows).reshape(5, -1).mean(axis=1)
    assert np.abs(got - expected_levels()[rows]).max() < 3


def test_a_reader_pickles_small_and_reads_the_same(tiny):
    reader = read(tiny)
    levels(reader)
    data = pickle.dumps(reader)
    assert len(data) < 100_000
    assert np.array_equal(levels(pickle.loads(data)), levels(reader))  # noqa: S301  own bytes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_mid_decoding_gives_both_sides_right_pictures(tiny):
    reader = read(tiny)
    want = levels(reader)
    reader.frames(TOP, np.array([3]))
    far, near = os.pipe()
    child = os.fork()
    if child == 0:
        good = np.array_equal(levels(reader), want)
        os.write(near, b"1" if good else b"0")
        os._exit(0)
    mine = levels(reader)
    assert os.read(far, 1) == b"1"
    os.waitpid(child, 0)
    os.close(far)
    os.close(near)
    assert np.array_equal(mine, want)
