"""Delta windows with padding masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.api import InputError
from rl.data import RenamedReader, WindowView
from tests.data.toy import LENGTHS, ToyReader

STARTS = np.cumsum([0, *LENGTHS])


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=6, unique=True), st.integers(0, 15))
def test_windows_repeat_the_ends_of_their_episode_and_say_so(offsets, row):
    offsets = tuple(sorted(offsets))
    batch = WindowView(ToyReader(), {"observation.state": offsets}).batch(np.array([row]))
    episode = int(np.searchsorted(STARTS, row, side="right")) - 1
    first, end = STARTS[episode], STARTS[episode + 1]
    want = [min(max(row + o, first), end - 1) for o in offsets]
    assert batch["observation.state"][0, :, 0].tolist() == want
    assert batch["observation.state_is_pad"][0].tolist() == [not first <= row + o < end for o in offsets]


def test_every_array_has_batch_and_time_and_its_own_dtype():
    view = WindowView(
        ToyReader(), {"action": (0, 1, 2), "camera": (-1, 0), "next.reward": (0,)}, features=["observation.state"]
    )
    batch = view.batch(np.array([0, 4, 5]))
    assert {k: v.shape for k, v in batch.items() if k != "task"} == {
        "action": (3, 3, 2),
        "action_is_pad": (3, 3),
        "camera": (3, 2, 4, 6, 3),
        "camera_is_pad": (3, 2),
        "next.reward": (3, 1),
        "next.reward_is_pad": (3, 1),
        "observation.state": (3, 1, 2),
        "observation.state_is_pad": (3, 1),
        "index": (3,),
    }
    assert batch["camera"].dtype == np.uint8
    assert batch["task"] == ["push", "push", "pull"]
    assert batch["camera"][:, :, 0, 0, 0].tolist() == [[0, 0], [3, 4], [5, 5]]
    spec = view.spec(3)
    assert {k: v.shape for k, v in batch.items() if k != "task"} == {k: shape for k, (shape, _) in spec.items()}
    assert all(batch[k].dtype == dtype for k, (_, dtype) in spec.items())


def test_pictures_come_at_the_size_asked_for():
    view = WindowView(ToyReader(), {"camera": (0,)}, image_size=(2, 3))
    assert view.batch(np.array([1]))["camera"].shape == (1, 1, 2, 3, 3)
    assert view.feature("camera").shape == (2, 3, 3)
    by_name = WindowView(ToyReader(), {"camera": (0,)}, image_size={"camera": (8, 8)})
    assert by_name.batch(np.array([1]))["camera"].shape == (1, 1, 8, 8, 3)


def test_starts_are_all_rows_but_those_dropped_at_the_ends():
    assert len(WindowView(ToyReader(), {"action": (0,)})) == 16
    view = WindowView(ToyReader(), {"action": (0,)}, drop_last=4)
    assert view.positions.tolist() == [0, 5, 6, 7, 8]
    with pytest.raises(InputError, match="drops at its end"):
        WindowView(ToyReader(), {"action": (0,)}, drop_last=8)


def test_an_episode_selection_uses_the_sets_own_numbers_and_keeps_the_index_global():
    view = WindowView(ToyReader(), {"action": (0, 1)}, episodes=[12, 10])
    assert sorted(view.positions.tolist()) == [0, 1, 2, 3, 4, 13, 14, 15]
    batch = view.batch(np.array([15, 4]))
    assert batch["index"].tolist() == [15, 4]
    assert batch["action_is_pad"].tolist() == [[False, True], [False, True]]
    with pytest.raises(InputError, match="outside the chosen episodes"):
        view.batch(np.array([6]))


@pytest.mark.parametrize("wanted", [[3], [10, 99], [-1]])
def test_an_episode_that_is_not_there_is_named(wanted):
    with pytest.raises(InputError, match=r"no episode (3|99|-1)"):
        WindowView(ToyReader(), {"action": (0,)}, episodes=wanted)


def test_an_unknown_feature_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"'actoin'.*action, camera"):
        WindowView(ToyReader(), {"actoin": (0,)})


def test_refused_episodes_are_left_out_and_noted():
    view = WindowView(ToyReader(refused=(11,)), {"action": (0,)})
    assert view.positions.tolist() == [0, 1, 2, 3, 4, 13, 14, 15]
    assert any("episode 11" in note and "clock" in note for note in view.notes)
    with pytest.raises(InputError, match="its clock stands"):
        WindowView(ToyReader(refused=(10, 11, 12)), {"action": (0,)})


def test_a_reader_that_can_check_its_pictures_is_asked_before_the_first_batch():
    reader = ToyReader()
    view = WindowView(reader, {"camera": (0,)}, episodes=[11])
    assert reader.checked == [(("camera",), (11,))]
    assert "checked" in view.notes
    assert ToyReader().checked == []


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (10**9, 10**9)])
def test_an_absurd_picture_size_is_refused(size):
    with pytest.raises(InputError, match="image size"):
        WindowView(ToyReader(), {"camera": (0,)}, image_size=size)


def test_a_renamed_reader_gives_the_same_values_under_policy_names():
    reader = RenamedReader(
        ToyReader(), {"observation.images.front": "camera", "observation.environment_state": "next.reward"}
    )
    assert reader.info.features["observation.images.front"].kind == "image"
    assert "camera" not in reader.info.features
    batch = WindowView(reader, {"observation.images.front": (0,), "action": (0,)}).batch(np.array([3]))
    assert batch["observation.images.front"][0, 0, 0, 0].tolist() == [3, 3, 3]
    assert reader.reader.checked == [(("camera",), (10, 11, 12))]


@pytest.mark.parametrize(
    "names", [{"a": "nothing"}, {"action": "camera"}, {"a": "camera", "b": "camera"}], ids=["absent", "taken", "twice"]
)
def test_names_that_do_not_fit_are_refused(names):
    with pytest.raises(InputError):
        RenamedReader(ToyReader(), names)
