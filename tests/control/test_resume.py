"""When a held arm goes on: by itself where only its source had gone, else when a person says so."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from rl import _core
from rl.api import RlError
from rl.control.cameras import Cameras
from rl.control.loops import JointLoop
from rl.control.session import Session
from rl.control.settings import Settings
from rl.control.sources import LeaderSource, PolicySource
from rl.plugins.so101 import calibration
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.robot import So101
from tests.fixtures.robots.machines import Fixed, VendorArm
from tests.fixtures.robots.rig import rig, soon

SETTINGS = Settings(soft_start_s=0.3, realtime=False)
WHY = _core.Reason


def held(cause, *, simulated=False, led=True):
    """A session whose arm is in HOLD, and what its loop was asked."""
    said = []
    robot = SimpleNamespace(simulated=simulated)
    source = SimpleNamespace(led=led, said=set(), speaks=True)
    source.take = lambda event: event in source.said and not source.said.discard(event)
    session = Session(robot, source, say=said.append)
    asked = []
    session.loop = SimpleNamespace(resume=lambda: asked.append("resume"))
    return session, SimpleNamespace(state="HOLD", reason="because", causes=(cause,)), asked, said


@pytest.mark.parametrize("cause", [WHY.heartbeat_lost, WHY.starved, WHY.state_stale, WHY.overrun])
def test_an_arm_whose_source_had_gone_goes_on_by_itself(cause):
    session, look, asked, said = held(cause)
    session._check_hold(look)
    assert asked == ["resume"]
    assert said == []


@pytest.mark.parametrize("cause", [WHY.blocked, WHY.overload, WHY.illegal_setpoints, WHY.none])
def test_after_anything_else_a_person_says_so(cause):
    session, look, asked, said = held(cause)
    session.source.said.add("success")  # said before the arm was held
    session._check_hold(look)
    session._asked = -100.0
    session._check_hold(look)
    assert asked == []
    assert "Enter" in said[0]
    assert "Enter" in session.hint
    session.source.said.add("success")
    session._check_hold(look)
    assert asked == ["resume"]


def test_one_cause_that_wants_a_person_is_enough():
    session, look, asked, _ = held(WHY.heartbeat_lost)
    look.causes = (WHY.heartbeat_lost, WHY.blocked)
    session._check_hold(look)
    assert asked == []


@pytest.mark.parametrize("cause", [WHY.no_rest_pose, WHY.second_stop])
def test_a_hold_in_which_the_loop_ends_asks_nobody(cause):
    session, look, asked, said = held(cause)
    session._check_hold(look)
    assert (asked, said) == ([], [])


def test_an_emulated_arm_goes_on_by_itself_whatever_held_it():
    session, look, asked, _ = held(WHY.blocked, simulated=True)
    session._check_hold(look)
    assert asked == ["resume"]


@pytest.mark.parametrize("simulated", [False, True])
def test_an_arm_that_is_held_over_and_over_waits_for_a_person(simulated):
    session, look, asked, said = held(WHY.state_stale, simulated=simulated)
    moving = SimpleNamespace(state="ACTIVE", reason="", causes=())
    for turn in range(6):
        assert said == []
        session._asked = -100.0
        session._check_hold(look)
        assert len(asked) == min(turn + 1, 5)
        session._check_hold(moving)
    assert "held 6 times" in said[0]
    session._holds.extend([-100.0] * 5)  # long ago
    session._asked = -100.0
    session._check_hold(look)
    assert len(asked) == 6


def test_a_person_has_a_minute_and_a_session_without_one_ten_seconds():
    session, look, _, _ = held(WHY.blocked)
    session._check_hold(look)
    session._held -= 30
    session._check_hold(look)
    session.source.speaks = False
    with pytest.raises(RlError, match="because"):
        session._check_hold(look)


def real(kind, link, folder):
    """An emulated arm that the session takes for a real one, behind a name that stays."""
    emulator = _core.Emulator(kind, wave=kind == "so101-leader")
    joints = {
        j.name: calibration.Joint(j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max)
        for j in emulator.calibration()
    }
    calibration.write(folder / f"{link.name}.json", joints)
    link.symlink_to(emulator.port)
    return emulator, {"port": str(link), "id": link.name, "calibration_dir": str(folder)}


def test_a_leader_that_was_plugged_in_again_moves_nothing_before_a_person_says_so(tmp_path):
    arm, options = real("so101-follower", tmp_path / "arm", tmp_path)
    hand, led = real("so101-leader", tmp_path / "hand", tmp_path)
    robot = So101(So101Config(rest_pose=tuple(arm.rest_pose()), **options))
    source = LeaderSource(So101Leader(LeaderConfig(**led)))
    session = Session(robot, source, settings=SETTINGS, say=lambda text: None)

    class Plug:
        """Pulls the leader's cable, puts it in again, waits, says that it may go on, ends."""

        at, since, stayed = "", 0.0, False

        def begin(self, session):
            source.teleoperator.forget = source.teleoperator.attach = lambda *_: None  # a person with buttons

        def poll(self, session):
            state, now = session.loop.snapshot().state, time.monotonic()
            back = any(note.endswith(" is back") for note in session.loop.reports()["core"]["realtime"])
            if not self.at and state == "ACTIVE":
                hand.fault("hangup")
                self.at = "pulled"
            elif self.at == "pulled" and state == "HOLD":
                hand.fault("replug")
                (tmp_path / "hand").unlink()
                (tmp_path / "hand").symlink_to(hand.port)
                self.at = "plugged"
            elif self.at == "plugged" and back:
                self.at, self.since = "back", now
            elif self.at == "back" and now - self.since > 2.5:  # longer than the core keeps a request
                self.stayed = state == "HOLD"
                source.events.add("success")
                self.at = "said"
            elif self.at == "said" and state == "ACTIVE":
                session.request_stop()

        def end(self, session):
            """It has ended."""

    plug = Plug()
    session.sinks.append(plug)
    with session:
        assert session.run().exit_code == 0
    assert plug.stayed
    assert plug.at == "said"
    arm.close()
    hand.close()


def test_a_leader_that_gives_nan_for_ever_is_held_and_every_one_is_counted():
    robot = VendorArm()
    values = [0.0, 0.0]
    session = Session(
        robot, LeaderSource(Fixed(robot.action, lambda: values)), settings=SETTINGS, say=lambda text: None
    )

    class Break:
        def begin(self, session):
            """Nothing moves yet."""

        def poll(self, session):
            if session.loop.snapshot().state == "ACTIVE":
                values[0] = np.nan
            if session.loop.reports()["robot"]["rejected"].get("not-finite", 0) >= 60:
                session.request_stop()

        def end(self, session):
            """It has ended."""

    session.sinks.append(Break())
    with session:
        session.run()
    states = [state for state, *_ in session.loop.reports()["robot"]["states"]]
    assert states[states.index("ACTIVE") + 1] == "HOLD"
    assert "ACTIVE" not in states[states.index("HOLD") :]
    assert all(np.isfinite(sent).all() for _, sent in robot.sent)


def test_the_core_counts_what_a_session_gives_it_and_holds_after_fifty_in_a_second():
    device = Fixed(So101(So101Config()).action, lambda: device.seen[0].values)  # where it found the arm
    with rig(device) as it:
        assert it.arm()
        for _ in range(60):
            assert it.loop.push_setpoint(np.full(6, np.nan), _core.monotonic_ns()) == "not-finite"
        assert soon(lambda: any(e[2] == "too many illegal setpoints" for e in it.core.report()["states"]))
        assert it.core.report()["rejected"]["not-finite"] == 60


@pytest.mark.parametrize("moved_by", ["core", "python"])
def test_an_inference_that_hangs_holds_the_arm_although_actions_are_due(moved_by, monkeypatch):
    monkeypatch.setattr("rl.control.sources.STUCK_S", 0.5)
    robot = So101(So101Config(port="sim")) if moved_by == "core" else VendorArm()
    robot.connect()
    done = []

    def infer(observation, at):
        done.append(at)
        while len(done) > 3 and not source._threads.over.is_set():
            time.sleep(0.01)
        return np.repeat(observation["observation.state"][None], 500, axis=0).astype(np.float32)

    inputs = {"observation.state": robot.state}
    source = PolicySource(infer, inputs=inputs, cameras=Cameras({}), fps=25, execute=5)
    loop = JointLoop.over(robot, robot.axes, SETTINGS, "chunks")
    try:
        loop.start()
        source.start(loop)
        loop.arm()
        assert soon(lambda: len(done) > 3)
        hung = time.monotonic()
        assert soon(lambda: loop.snapshot().state == "HOLD")
        look = loop.snapshot()
        assert look.causes[0] == WHY.heartbeat_lost
        assert look.remaining > 100
        assert time.monotonic() - hung < max(0.5, 5 * source._longest) + 3
    finally:
        source.close()
        loop.request_stop("off")
        loop.close()
        robot.close()


def test_a_policy_that_is_late_but_not_stuck_keeps_its_signs_of_life():
    robot = VendorArm()
    beats, asked = [], []
    loop = SimpleNamespace(heartbeat=lambda: beats.append(time.monotonic()))

    def infer(observation, at):
        time.sleep(0.4)
        return np.zeros((1, 2), np.float32)

    source = PolicySource(infer, inputs={}, cameras=Cameras({}), fps=25, execute=1)
    source._threads.run("rl-inference", source._serve)
    asked.append(source._inferred(loop, {}, 0))
    source.close()
    assert asked[0].shape == (1, 2)
    assert len(beats) >= 5
    assert source._longest >= 0.4
    assert robot.sent == []
