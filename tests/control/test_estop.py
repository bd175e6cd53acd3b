"""Emergency stops of every session: by the space bar of its terminal, by `rl estop`; and how a loop in Python obeys."""

import os
import pty
import select
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest

from rl.api import RlError
from rl.control import guardians
from rl.control.cameras import Cameras
from rl.control.direct import DirectLoop
from rl.control.keys import Keys
from rl.control.session import HOW_TO_RELEASE, Session
from rl.control.settings import Settings
from rl.control.sources import EpisodeSource, LeaderSource, PolicySource
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.robot import So101
from tests.fixtures.robots.machines import Fixed, VendorArm
from tests.fixtures.robots.rig import soon

POSE = np.array([0, -40, 40, 20, 0, 50], np.float32)
SETTINGS = Settings(soft_start_s=0.3, realtime=False)


def torque_of(robot):
    return [robot.emulator.registers(motor)[40] for motor in range(1, 7)]


class Then:
    """A sink that does something once, when the arm moves."""

    def __init__(self, what):
        self.what, self.done = what, False

    def begin(self, session):
        """Nothing moves yet."""

    def poll(self, session):
        if not self.done and session.loop.snapshot().state == "ACTIVE":
            self.done = True
            self.what(session)

    def end(self, session):
        """It has ended."""


def sources():
    inputs = {"observation.state": So101(So101Config()).state}
    stay = PolicySource(
        lambda seen, at: np.repeat(seen["observation.state"][None], 25, axis=0),
        inputs=inputs, cameras=Cameras({}), fps=25, execute=10,
    )  # fmt: skip
    return {
        "leader": LeaderSource(So101Leader(LeaderConfig(port="sim"))),
        "episode": EpisodeSource(np.repeat(POSE[None], 2000, axis=0), 25),
        "policy": stay,
    }


@pytest.mark.parametrize("which", ["leader", "episode", "policy"])
def test_space_in_the_terminal_stops_every_kind_of_session(which):
    master, slave = pty.openpty()
    robot, said = So101(So101Config(port="sim")), []
    press = Then(lambda session: os.write(master, b" "))
    with os.fdopen(slave, "rb", buffering=0) as stream:
        session = Session(
            robot, sources()[which], sinks=[press], settings=SETTINGS, say=said.append, keys=Keys(stream=stream)
        )
        with session, pytest.raises(RlError, match="emergency stop"):
            session.run()
    os.close(master)
    assert "keys: space: E-STOP" in said
    assert session.loop.reports()["core"]["states"][-1][0] == "ESTOP"
    assert "REST" not in [state for state, *_ in session.loop.reports()["core"]["states"]]


def test_an_e_stop_lets_go_at_once_where_that_is_asked_for():
    robot, torque, said = So101(So101Config(port="sim")), [], []

    def stop(session):
        session.loop.estop()
        soon(lambda: not any(torque_of(robot)))
        torque.extend(torque_of(robot))

    settings = replace(SETTINGS, estop="off")
    session = Session(robot, sources()["episode"], sinks=[Then(stop)], settings=settings, say=said.append)
    with session, pytest.raises(RlError, match="emergency stop"):
        session.run()
    assert torque == [0] * 6
    assert session.loop.reports()["core"]["states"][-1][0] == "ESTOP"
    assert session.outcome.exit_code == 1
    assert "ended in ESTOP (emergency stop); the torque is off" in said


def test_a_robot_of_pythons_is_told_to_let_go_on_an_e_stop_where_that_is_asked_for():
    for estop, end in (("off", "the torque is off"), ("hold", HOW_TO_RELEASE)):
        robot, said = VendorArm(), []
        source = LeaderSource(Fixed(robot.action, lambda: [0, 0]))
        stop = Then(lambda session: session.loop.estop())
        session = Session(robot, source, sinks=[stop], settings=replace(SETTINGS, estop=estop), say=said.append)
        with session, pytest.raises(RlError, match="e-stop"):
            session.run()
        assert robot.stops[-1] == estop
        assert f"ended in ESTOP (e-stop); {end}" in said


def test_a_robot_of_pythons_that_could_not_let_go_is_not_said_to_have_no_torque(monkeypatch):
    robot, said = VendorArm(), []
    stopped = robot.stop

    def stop(policy):
        if policy == "off":
            raise OSError("the bus is gone")
        stopped(policy)

    monkeypatch.setattr(robot, "stop", stop)
    source = LeaderSource(Fixed(robot.action, lambda: [0, 0]))
    then = Then(lambda session: session.loop.estop())
    session = Session(robot, source, sinks=[then], settings=replace(SETTINGS, estop="off"), say=said.append)
    with session, pytest.raises(RlError, match="e-stop"):
        session.run()
    assert any(line.startswith("ended in ESTOP") and line.endswith(HOW_TO_RELEASE) for line in said)
    assert not any("the torque is off" in line for line in said)


@contextmanager
def terminal(*words, cwd):
    """rl in a pseudo-terminal: (descriptor, what was seen so far)."""
    process, descriptor = pty.fork()
    if process == 0:  # pragma: no cover
        os.environ.update(TERM="xterm", COLUMNS="120", LINES="40")
        os.chdir(cwd)
        os.execv(sys.executable, [sys.executable, "-m", "rl.cli.main", *words])
    seen = bytearray()

    def look():
        """What came meanwhile; False once the other side has closed."""
        while select.select([descriptor], [], [], 0)[0]:
            with suppress(OSError):
                piece = os.read(descriptor, 65536)
                seen.extend(piece)
                if piece:
                    continue
            return False
        return True

    try:
        yield process, descriptor, seen, look
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("command", ["teleop", "record"])
def test_a_person_at_the_terminal_of_a_command_is_told_of_the_key_and_stops_the_arm(command, tmp_path):
    pair = ["--robot", "so101", "--robot.port", "sim", "--teleop", "so101-leader", "--teleop.port", "sim"]
    more = ["--dataset", "set", "--task", "wave", "--fps", "10"] if command == "record" else []
    with terminal(command, *pair, *more, cwd=tmp_path) as (process, descriptor, seen, look):
        assert soon(lambda: look() and b"ACTIVE" in seen, 60), bytes(seen)
        os.write(descriptor, b" ")
        assert soon(lambda: not look(), 60)
        _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert b"space: E-STOP" in seen
    assert b"estop: emergency stop" in seen


def test_keys_give_the_terminal_back_and_keep_what_nobody_took_yet():
    import termios

    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as stream:
        before = termios.tcgetattr(stream)
        with Keys(stream=stream) as keys:
            os.write(master, b"\n")
            time.sleep(0.02)
            os.write(master, b"n")
            assert soon(lambda: keys.take("next"))
            assert keys.take("resume")
        assert termios.tcgetattr(stream) == before
        keys.close()
    os.close(master)


# --- loops of this process


def own_socket():
    return f"{guardians.PREFIX}{os.getpid()}" in guardians.listeners(guardians.table())


@pytest.mark.parametrize("kind", ["vendor", "thread"])
def test_a_datagram_stops_a_session_that_no_guardian_runs(kind):
    robot = VendorArm() if kind == "vendor" else So101(So101Config(port="sim"))
    device = Fixed(robot.action, lambda: [0, 0] if kind == "vendor" else POSE)
    house = "guardian" if kind == "vendor" else "thread"
    stop = Then(lambda session: guardians.send_estop(f"{guardians.PREFIX}{os.getpid()}"))
    settings = Settings(soft_start_s=0.3, realtime=False, house=house)
    listening = Then(lambda session: None)
    listening.begin = lambda session: setattr(listening, "heard", own_socket())
    session = Session(robot, LeaderSource(device), sinks=[listening, stop], settings=settings, say=lambda text: None)
    with session, pytest.raises(RlError, match="estop"):
        session.run()
    assert listening.heard
    assert soon(lambda: not own_socket())


def test_one_datagram_stops_every_session_of_a_process():
    stopped = []
    first, second = (lambda: stopped.append(1)), (lambda: stopped.append(2))
    with guardians.stoppable(first):
        with guardians.stoppable(second):
            assert guardians.send_estop(f"{guardians.PREFIX}{os.getpid()}")
            assert soon(lambda: stopped == [1, 2])
        assert own_socket()
        assert guardians.send_estop(f"{guardians.PREFIX}{os.getpid()}")
        assert soon(lambda: stopped == [1, 2, 1])
    assert soon(lambda: not own_socket())


# --- a loop in Python


@contextmanager
def moving(speed=60.0):
    """A vendor's arm in ACTIVE whose shoulder goes at `speed`, deg/s: (robot, loop, push)."""
    robot = VendorArm()
    robot.connect()
    loop = DirectLoop(robot, robot.axes, (0, 1), SETTINGS, "setpoints")
    begun = time.monotonic()

    def push(*, beat=True):
        far = 80.0 if speed else 0.0
        loop.push_setpoint(np.array([far, 0.0]), time.monotonic_ns())
        if beat:
            loop.heartbeat()

    loop.start()
    try:
        push()
        loop.arm()
        while loop.snapshot().state != "ACTIVE" or (speed and abs(loop.limiter.velocity[0]) < speed):
            push()
            assert time.monotonic() - begun < 20
            time.sleep(0.01)
        yield robot, loop, push
    finally:
        loop.close()


@pytest.mark.parametrize("how", ["estop", "twice"])
def test_a_loop_in_python_brakes_within_its_acceleration_before_it_ends(how):
    with moving() as (robot, loop, _):
        if how == "estop":
            loop.estop()
        else:
            loop.request_stop()
            loop.request_stop()
        assert loop.wait(10.0)
    goals = loop.records(-1)["goal"][:, 0]
    velocity = np.diff(goals) / loop.period
    slope = loop.limiter.acceleration[0] * loop.period
    assert np.abs(velocity).max() >= 60
    assert np.abs(np.diff(velocity)).max() <= slope * 1.01
    assert abs(velocity[-1]) <= slope * 1.01
    assert robot.stops == ["hold" if how == "estop" else "off"]


def test_fifty_illegal_set_points_in_a_second_hold_a_loop_in_python_and_are_counted():
    with moving(0) as (_, loop, push):
        for _ in range(50):
            loop.push_setpoint(np.array([np.nan, 0.0]), time.monotonic_ns())
        push()
        assert soon(lambda: loop.snapshot().state == "HOLD" or push())
        assert loop.snapshot().cause.name == "illegal_setpoints"
        assert loop.report()["rejected"]["not-finite"] == 50


def test_a_loop_in_python_is_resumed_into_a_stream_only():
    with moving(0) as (_, loop, push):
        assert soon(lambda: loop.snapshot().state == "HOLD")  # nobody speaks any more
        time.sleep(0.5)  # what was said before is no stream either
        loop.resume()
        loop.heartbeat()
        push()
        time.sleep(0.1)
        assert loop.snapshot().state == "HOLD"  # one set point is no stream
        begun = time.monotonic()
        loop.resume()
        while loop.snapshot().state == "HOLD" and time.monotonic() - begun < 20:
            push()
            loop.resume()
            time.sleep(0.01)
        assert loop.snapshot().state in ("SOFT_START", "ACTIVE")


def test_a_request_to_go_on_is_not_kept_for_a_later_hold():
    with moving(0) as (_, loop, push):
        loop.resume()  # nothing holds it
        loop.hold()
        for _ in range(20):
            push()
            time.sleep(0.01)
        assert loop.snapshot().state == "HOLD"
