"""A robot of several parts, some of which Python moves: what stops one part stops all."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rl.api import RlError
from rl.api.protocols import Snapshot
from rl.control.cameras import Cameras
from rl.control.composite import Composite
from rl.control.loops import JointLoop, Member
from rl.control.session import Session
from rl.control.settings import Settings
from rl.control.sources import PolicySource
from rl.plugins.so101.config import So101Config
from rl.plugins.so101.robot import So101
from tests.fixtures.robots.machines import VendorArm


class Part:
    """A loop whose state is set by hand; keeps what reaches it."""

    def __init__(self, state):
        self.state, self.heard = state, []

    def snapshot(self):
        return SimpleNamespace(state=self.state)

    def wait(self, timeout_s):
        return False

    def push_setpoint(self, values, at):
        self.heard.append(values.tolist())
        return "not-finite" if np.isnan(values).any() else "" if len(values) == 1 else "width"

    def push_chunk(self, observed, period, chunk):
        self.heard.append(chunk.tolist())
        return "not-finite" if np.isnan(chunk).any() else "" if chunk.shape[1] == 1 else "width"

    def heartbeat(self):
        self.heard.append("beat")

    def hold(self):
        self.heard.append("hold")

    def resume(self):
        self.heard.append("resume")

    def estop(self):
        self.heard.append("e-stop")


def joined(*states):
    parts = [Part(state) for state in states]
    members = [Member(str(at), part, np.array([at]), np.array([at])) for at, part in enumerate(parts)]
    return JointLoop(members, len(parts), len(parts)), parts


def test_an_e_stop_of_one_part_is_one_of_all():
    whole, parts = joined("ACTIVE", "ESTOP", "HOLD", "REST")
    whole.couple()
    assert [part.heard for part in parts] == [["e-stop"], [], ["e-stop"], ["e-stop"]]


@pytest.mark.parametrize("cause", ["HOLD", "FAULT"])
def test_a_moving_part_is_told_to_hold_while_another_is_held(cause):
    whole, (moving, held) = joined("ACTIVE", cause)
    whole.couple()
    whole.couple()
    assert moving.heard == ["hold", "hold"]  # until it does
    assert held.heard == []
    moving.state = "HOLD"
    whole.couple()
    whole.heartbeat()
    assert moving.heard == ["hold", "hold", "beat"]


def test_who_holds_because_of_another_goes_on_after_it_and_holds_nobody():
    whole, (led, own) = joined("ACTIVE", "HOLD")
    whole.couple()
    led.state = "HOLD"
    whole.couple()
    whole.resume()
    whole.couple()
    assert led.heard == ["hold"]
    assert own.heard == ["resume"]
    own.state = "SOFT_START"
    whole.couple()
    assert own.heard == ["resume"]  # not held by the HOLD that it caused
    assert led.heard == ["hold", "resume"]
    led.state = "ACTIVE"
    whole.couple()
    led.state = "HOLD"  # now by a cause of its own
    own.state = "ACTIVE"
    whole.couple()
    assert own.heard == ["resume", "hold"]


def test_who_was_told_to_hold_holds_nobody_though_the_cause_is_gone_by_then():
    whole, (led, own) = joined("ACTIVE", "HOLD")
    whole.couple()
    own.state = "ACTIVE"  # before the other one had held
    whole.couple()
    led.state = "HOLD"
    whole.couple()
    assert own.heard == []


@pytest.mark.parametrize("wrong", [[np.nan, 0.0], [0.0, np.inf], [0.0, 1e300]])
def test_what_is_illegal_for_one_part_reaches_none_and_is_counted_by_each(wrong):
    whole, parts = joined("ACTIVE", "ACTIVE")
    assert whole.push_setpoint(np.array(wrong), 1) == "not-finite"
    assert whole.push_chunk(1, 1, np.array([[0.0, 0.0], wrong])) == "not-finite"
    assert all(np.isnan(np.array(rows)).all() for part in parts for rows in part.heard)
    assert [len(part.heard) for part in parts] == [2, 2]


@pytest.mark.parametrize("wrong", [np.zeros(1), np.zeros(3), np.zeros((2, 2)), np.zeros(0)])
def test_a_wrong_width_is_refused_by_each_also_where_it_is_the_width_of_a_part(wrong):
    whole, parts = joined("ACTIVE", "ACTIVE")
    assert whole.push_setpoint(wrong, 1) == "width"
    assert whole.push_chunk(1, 1, np.stack([wrong, wrong])) == "width"
    assert [len(part.heard) for part in parts] == [2, 2]


# --- a real arm of the core beside one that Python moves


class Moved:
    """A session of an emulated arm and a vendor's, held where they are by a policy; `then(session)` once both move."""

    def __init__(self, then):
        self.vendor, self.then, self.done = VendorArm(), then, False
        self.arm = So101(So101Config(port="sim"))
        robot = Composite({"arm": self.arm, "vendor": self.vendor})

        def infer(observation, at):
            return np.repeat(observation["observation.state"][None], 25, axis=0).astype(np.float32)

        inputs = {"observation.state": robot.state}
        source = PolicySource(infer, inputs=inputs, cameras=Cameras({}), fps=25, execute=5)
        settings = Settings(soft_start_s=0.3, realtime=False)
        self.session = Session(robot, source, sinks=[self], settings=settings, say=lambda text: None)

    def begin(self, session):
        """Nothing moves yet."""

    def poll(self, session):
        states = [member.loop.snapshot().state for member in session.loop.members]
        if not self.done and states == ["ACTIVE", "ACTIVE"]:
            self.done = True
            self.then(session)

    def end(self, session):
        """It has ended."""

    @property
    def states(self):
        return [[state for state, *_ in report["states"]] for report in self.session.loop.reports().values()]


@pytest.mark.parametrize("which", [0, 1])
def test_an_e_stop_of_either_loop_latches_both_without_a_rest_move(which):
    moved = Moved(lambda session: session.loop.members[which].loop.estop())
    with moved.session as session, pytest.raises(RlError, match="estop"):
        session.run()
    assert moved.done
    assert [states[-1] for states in moved.states] == ["ESTOP", "ESTOP"]
    assert not any("REST" in states for states in moved.states)
    assert moved.vendor.stops == ["hold"]


def test_a_fault_of_one_loop_holds_the_other_before_its_rest_move():
    def break_it(session):
        moved.vendor.breaks_after = 1

    moved = Moved(break_it)
    with moved.session as session, pytest.raises(RlError, match="lost the arm"):
        session.run()
    core, vendor = moved.states
    assert vendor[-1] == "FAULT"
    assert core[core.index("REST") - 1] == "HOLD"


def test_a_hold_of_one_loop_holds_the_other_and_both_go_on():
    def freeze(session):
        read, until, stamp = moved.vendor.snapshot, time.monotonic() + 0.6, time.monotonic_ns()

        def old():
            if time.monotonic() < until:
                return Snapshot(moved.vendor.values.copy(), stamp, np.zeros(2, np.float32))
            return read()

        moved.vendor.snapshot = old

        def stop():
            end = time.monotonic() + 20
            while time.monotonic() < end and not all(s[-1] == "ACTIVE" and "HOLD" in s for s in moved.states):
                time.sleep(0.05)
            session.request_stop()

        threading.Thread(target=stop).start()

    moved = Moved(freeze)
    with moved.session as session:
        assert session.run().exit_code == 0
    for states in moved.states:
        held = states.index("HOLD")
        assert states[held : held + 3] == ["HOLD", "SOFT_START", "ACTIVE"]
