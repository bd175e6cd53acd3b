"""The past as a policy sees it."""

from __future__ import annotations

import numpy as np

from rl.runtime.history import History

MS = 1_000_000


def row(value: float) -> dict[str, np.ndarray]:
    return {"state": np.array([value], np.float32)}


def seen(history: History) -> list[float]:
    return history.window()["state"][0, :, 0].tolist()


def test_before_the_first_row_the_first_is_repeated():
    history = History({"state": (-3, -1, 0)}, 50 * MS)
    history.add(row(1))
    assert seen(history) == [1, 1, 1]
    history.add(row(2))
    assert seen(history) == [1, 1, 2]


def test_rows_without_a_time_are_counted():
    history = History({"state": (-3, -1, 0)}, 50 * MS)
    for value in range(8):
        history.add(row(value))
    assert seen(history) == [4, 6, 7]


def test_rows_with_a_time_are_found_by_it():
    history = History({"state": (-1, 0)}, 50 * MS)
    for at in (0, 20, 40, 60, 80, 100):  # a loop at 50 Hz, a policy at 20 Hz
        history.add(row(at), at * MS)
    assert seen(history) == [40, 100]
    history.add(row(200), 200 * MS)  # a missed turn: the nearest row, not the last but one by count
    history.add(row(210), 210 * MS)
    assert seen(history) == [200, 210]


def test_only_what_a_window_can_reach_is_kept():
    history = History({"state": (-2, 0)}, 10 * MS)
    for value in range(1000):
        history.add(row(value))
    assert len(history._rows) <= 5
    assert seen(history) == [997, 999]


def test_a_feature_without_offsets_is_its_newest_row_and_a_text_has_no_time_axis():
    history = History({"state": (-1, 0)}, 10 * MS, timeless=frozenset({"words"}))
    for value in (1, 2):
        history.add({**row(value), "other": np.array([value]), "words": np.arange(3)})
    window = history.window()
    assert window["other"].tolist() == [[[2]]]
    assert window["words"].tolist() == [[0, 1, 2]]


def test_clearing_forgets():
    history = History({"state": (-1, 0)}, 10 * MS)
    history.add(row(1))
    history.clear()
    history.add(row(2))
    assert seen(history) == [2, 2]


def test_the_same_instant_again_replaces_its_row():
    history = History({"state": (-1, 0)}, 10 * MS)
    for value, at in ((1, 0), (2, 10 * MS), (3, 10 * MS)):
        history.add(row(value), at)
    assert seen(history) == [1, 3]
