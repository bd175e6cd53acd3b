"""Episodes out of a session on the emulated pair, with a writer that only keeps rows."""

import os
import time

import numpy as np
import pytest

from rl.api import Feature, RlError
from rl.control.cameras import Cameras, drawn
from rl.control.keys import Keys
from rl.control.recorder import CAPTURED, REQUESTED, Recorder, features
from rl.control.session import Session
from rl.control.settings import Settings
from rl.control.sources import LeaderSource
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.robot import So101
from tests.fixtures.robots.rig import soon, when


class Rows:
    """A writer in memory."""

    def __init__(self):
        self.open, self.episodes, self.discarded = None, [], 0

    def begin(self, task):
        self.open = []

    def append(self, row, task=None):
        self.open.append(row)

    def save(self):
        self.episodes.append(self.open)
        self.open = None
        return len(self.episodes) - 1

    def discard(self):
        self.discarded += 1
        self.open = None


def recorded(writer, *, episodes=2, seconds=0.6, until=None, cameras=None):
    robot, hand = So101(So101Config(port="sim")), So101Leader(LeaderConfig(port="sim"))
    cameras = cameras or Cameras({})
    tape = Recorder(writer, cameras, "wave", 25, episodes, seconds, 0.0, say=lambda text: None)
    settings = Settings(soft_start_s=0.3, realtime=False)
    with Session(robot, LeaderSource(hand), cameras, [tape], settings, say=lambda text: None) as session:
        if until:
            when(lambda: until(tape), session.request_stop)
        outcome = session.run()
    return tape, outcome


def test_rows_come_at_the_rate_with_what_was_measured_and_really_sent():
    picture = Feature("observation.images.front", "image", (32, 32, 3), dtype="uint8")
    writer, cameras = Rows(), Cameras(drawn([picture]))
    tape, outcome = recorded(writer, cameras=cameras)
    assert outcome.exit_code == 0
    assert [len(rows) for rows in writer.episodes] == [15, 15]
    assert tape.saved == [0, 1]
    rows = writer.episodes[0]
    state = np.array([row["observation.state"] for row in rows])
    action = np.array([row["action"] for row in rows])
    captured = np.array([row[CAPTURED][0] for row in rows])
    assert np.diff(captured).mean() == pytest.approx(40e6, rel=0.2)
    assert (np.diff(captured) >= 0).all()
    assert (np.diff(captured) > 0).mean() > 0.7  # all, unless the host stood still
    assert np.abs(action - state).max() < 60  # the goal of a moving arm is near it
    assert rows[0]["observation.images.front"].shape == (32, 32, 3)
    assert set(rows[0]) == {"observation.state", "action", "observation.images.front", CAPTURED, REQUESTED}


def test_a_stopped_session_keeps_what_is_saved_and_discards_the_open_episode():
    writer = Rows()
    tape, _ = recorded(writer, episodes=50, seconds=0.5, until=lambda tape: tape.saved and writer.open)
    assert 1 <= len(tape.saved) < 10
    assert writer.discarded == 1


def test_a_writer_that_fails_ends_the_session_with_its_message():
    class Full(Rows):
        def append(self, row, task=None):
            raise RlError("no space left", where="disk")

    with pytest.raises(RlError, match="no space left"):
        recorded(Full())


def test_a_camera_that_is_lost_ends_the_session():
    class Dying:
        image = Feature("image", "image", (8, 8, 3), dtype="uint8")

        def __init__(self):
            self.inner = drawn([Feature("observation.images.x", "image", (16, 16, 3), dtype="uint8")])["x"]
            self.begun = 0.0

        def open(self):
            self.inner.open()
            self.begun = time.monotonic()

        def latest(self):
            if time.monotonic() - self.begun > 1.5:
                raise RlError("gives no picture any more", where="camera 0")
            return self.inner.latest()

        def close(self):
            self.inner.close()

    with pytest.raises(RlError, match=r"camera 'front'.*no picture"):
        recorded(Rows(), episodes=20, cameras=Cameras({"front": Dying()}))


def test_every_column_has_its_feature_with_units():
    robot = So101(So101Config())
    found = features(robot.state, robot.action, Cameras({}))
    assert found["action"].units[5] == "percent"
    assert found[CAPTURED].dtype == "int64"
    assert found[REQUESTED].names == robot.action.names


def test_keys_are_read_from_a_terminal_and_from_nothing_else():
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as terminal, Keys(stream=terminal) as keys:
        assert keys.live
        for typed, meaning in ((b"n", "next"), (b"\x1b[D", "again")):
            os.write(master, typed)
            assert soon(lambda meaning=meaning: keys.take("next", "again", "quit") == meaning)
        os.write(master, b"q\n")
        assert soon(lambda: keys.take("resume"))
        assert keys.take("next", "again", "quit", "resume") == ""
    os.close(master)
    read, write = os.pipe()
    with os.fdopen(read) as pipe, Keys(stream=pipe) as keys:
        assert not keys.live
    os.close(write)


def test_a_person_with_keys_of_their_own_ends_and_repeats_episodes():
    robot, hand = So101(So101Config(port="sim")), So101Leader(LeaderConfig(port="sim"))
    writer, source = Rows(), LeaderSource(hand)
    lines = []
    tape = Recorder(writer, Cameras({}), "wave", 25, 1, 60.0, 0.0, say=lines.append)
    settings = Settings(soft_start_s=0.3, realtime=False)

    class Person:
        """Repeats the first episode, keeps the second; each after some rows."""

        def begin(self, session):
            self.said = []

        def poll(self, session):
            take = tape._take
            for event in ("rerecord", "success"):
                if event not in self.said and take is not None and take.written > 5:
                    if event == "success" and not writer.discarded:
                        return
                    self.said.append(event)
                    source.events.add(event)
                    return

        def end(self, session):
            """Nothing is held."""

    with Session(robot, source, Cameras({}), [tape, Person()], settings, say=lambda text: None) as session:
        assert session.run().exit_code == 0
    assert sum("to be recorded again" in line for line in lines) == 1
    assert [len(rows) > 5 for rows in writer.episodes] == [True]
