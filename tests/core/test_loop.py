"""The control loop on the emulated arm: what the servo's side sees."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rl import _core

PERIOD = 20_000_000


@pytest.fixture
def arm() -> Iterator[_core.Emulator]:
    emulator = _core.Emulator()
    yield emulator
    emulator.close()


def limits() -> _core.Limits:
    body, gripper = np.array([1.0] * 5 + [0.0]), np.array([0.0] * 5 + [1.0])
    return _core.Limits(
        low=-110 * body,
        high=110 * body + 100 * gripper,
        speed=240 * body + 350 * gripper,
        acceleration=4000 * body + 4000 * gripper,
        jerk=100_000 * (body + gripper),
        soft_speed=30 * (body + gripper),
        jump=5 * (body + gripper),
        zero_on_starve=[False] * 6,
    )


def bus_of(emulator: _core.Emulator, energise: bool = True) -> _core.ServoBus:
    bus = _core.ServoBus(emulator.port, "sts3215", emulator.calibration(), energise=energise)
    bus.open()
    bus.configure()
    return bus


def loop_of(arm: _core.Emulator, leader: _core.Emulator | None = None, **changed: Any) -> _core.ControlLoop:
    config = _core.LoopConfig()
    config.soft_start_s, config.rest_pose = 0.3, arm.rest_pose()
    if config.source == "chunks" and "heartbeat_timeout_s" not in changed:
        config.heartbeat_timeout_s = 1.0  # the feeding thread of a test shares a loaded machine
    for name, value in changed.items():
        setattr(config, name, value)
    leaders = [] if leader is None else [(slice(0, 6), bus_of(leader, energise=False))]
    loop = _core.ControlLoop([(slice(0, 6), bus_of(arm))], limits(), config, leaders)
    loop.start()
    return loop


def feed(loop: _core.ControlLoop, amplitude: float = 5.0, most_s: float = 20.0) -> None:
    """A policy's chunks, observed now, until the loop has ended.

    A host that stands still for 100 ms puts the loop into HOLD, as it must; here it is resumed like an operator would.
    """
    rest = loop.snapshot().values
    began = _core.monotonic_ns()
    while not loop.wait(0.04):
        now = _core.monotonic_ns()
        if loop.snapshot().state == "HOLD":
            loop.resume()
        t = (now - began) / 1e9 + 0.02 * np.arange(25)
        chunk = rest + amplitude * np.sin(2 * t)[:, None] * np.array([1, 1, 1, 1, 1, 0])
        assert loop.push_chunk(now, PERIOD, chunk.astype(np.float32)) == ""
        if now - began > most_s * 1e9:
            break


def states(loop: _core.ControlLoop) -> list[str]:
    return [name for name, _, _ in loop.report()["states"]]


def test_a_session_runs_its_cycles_and_ends_without_torque(arm: _core.Emulator) -> None:
    loop = loop_of(arm, duration_s=1.0)
    pose = arm.positions()
    loop.arm()
    feed(loop)
    report = loop.report()
    loop.close()
    assert states(loop)[:3] == ["DISARMED", "SOFT_START", "ACTIVE"]
    assert states(loop)[-2:] == ["REST", "OFF"]
    assert report["active_cycles"] == 50
    assert report["exit_code"] == 0
    assert report["still_energised"] == []
    np.testing.assert_allclose(arm.goals()[0], pose, atol=1)  # the first goal is the measured pose
    assert [arm.registers(i)[40] for i in range(1, 7)] == [0] * 6
    assert [arm.registers(i)[55] for i in range(1, 7)] == [1] * 6


def test_the_goals_on_the_wire_keep_the_limits(arm: _core.Emulator) -> None:
    loop = loop_of(arm, duration_s=1.0, heartbeat_timeout_s=2.0)
    loop.arm()
    pose = np.tile(loop.snapshot().values, (20, 1))
    wild = np.random.default_rng(0).uniform(-400, 400, (20, 6))
    until = _core.monotonic_ns() + 20_000_000_000
    while not loop.wait(0.03) and _core.monotonic_ns() < until:
        if loop.snapshot().state == "HOLD":
            loop.resume()
        chunk = wild if loop.snapshot().state == "ACTIVE" else pose
        loop.push_chunk(_core.monotonic_ns(), PERIOD, chunk.astype(np.float32))
    records = loop.records(-1, 100_000)
    loop.close()
    goal = records["goal"][records["wrote"] > 0]
    assert len(goal) > 50
    assert (records["state"] == 2).sum() == 50
    assert np.isfinite(goal).all()
    assert (np.abs(goal[:, :5]) <= 110 + 1e-6).all()
    assert (np.abs(np.diff(goal[:, :5], axis=0)) <= 240 * 0.02 + 1e-6).all()
    assert (np.abs(np.diff(goal[:, :5], n=2, axis=0)) <= 4000 * 0.02**2 + 1e-6).all()


def test_the_bus_belongs_to_the_loop_while_it_runs(arm: _core.Emulator) -> None:
    bus = bus_of(arm)
    loop = _core.ControlLoop([(slice(0, 6), bus)], limits(), _core.LoopConfig())
    loop.start()
    with pytest.raises(_core.CoreError, match="driven by a loop") as caught:
        bus.read()
    assert caught.value.code == "usage"
    loop.close()
    loop.close()
    assert bus.closed


def test_a_follower_follows_the_leader(arm: _core.Emulator) -> None:
    leader = _core.Emulator("so101-leader", wave=True)
    loop = loop_of(arm, leader, source="leader", duration_s=3.0)
    loop.arm()
    for _ in range(300):  # a host that stalls for 100 ms holds the arm; its session resumes it, as here
        if loop.wait(0.1):
            break
        if loop.snapshot().state == "HOLD":
            loop.resume()
    assert loop.wait(0.1)
    records = loop.records(-1, 100_000)
    report = loop.report()
    loop.close()
    leader.close()
    active = records["state"] == 2
    assert report["active_cycles"] == 150
    distance = np.abs(records["goal"][active] - records["requested"][active])
    assert np.median(distance) < 3
    assert [leader.registers(i)[40] for i in range(1, 7)] == [0] * 6  # a leader is never energised


def test_a_silent_source_is_held_and_resumed(arm: _core.Emulator) -> None:
    loop = loop_of(arm, source="setpoints", heartbeat_timeout_s=0.25)
    loop.arm()
    pose = loop.snapshot().values

    def speak_until(state: str) -> None:
        until = _core.monotonic_ns() + 20_000_000_000
        while loop.snapshot().state != state and _core.monotonic_ns() < until:
            assert loop.push_setpoint(pose, _core.monotonic_ns()) == ""
            loop.resume()  # asks for nothing where nothing is held
            assert not loop.wait(0.02)
        assert loop.snapshot().state == state

    speak_until("ACTIVE")
    assert not loop.wait(0.6)
    held = loop.snapshot()
    assert held.state == "HOLD"
    assert not loop.wait(2.5)  # the last request to resume is forgotten: it stays held without a new one
    assert loop.snapshot().state == "HOLD"
    speak_until("ACTIVE")
    loop.request_stop("off")
    assert loop.wait(5)
    assert loop.report()["exit_code"] == 0
    loop.close()


def test_an_emergency_stop_latches_until_reset(arm: _core.Emulator) -> None:
    loop = loop_of(arm)
    loop.arm()
    loop.estop()
    assert not loop.wait(0.1)
    assert loop.snapshot().state == "ESTOP"
    with pytest.raises(_core.CoreError, match="reset first"):
        loop.arm()
    loop.resume()
    assert not loop.wait(0.1)
    assert loop.snapshot().state == "ESTOP"
    loop.reset()
    assert not loop.wait(0.1)
    assert loop.snapshot().state == "DISARMED"
    loop.close()
    assert [arm.registers(i)[40] for i in range(1, 7)] == [0] * 6


def test_closing_after_an_emergency_stop_keeps_the_arm_up_and_says_so(arm: _core.Emulator) -> None:
    loop = loop_of(arm)
    loop.arm()
    loop.estop()
    assert not loop.wait(0.1)
    loop.close()
    report = loop.report()
    assert report["exit_code"] == 1
    assert len(report["still_energised"]) == 6
    assert [arm.registers(i)[40] for i in range(1, 7)] == [1] * 6
    with pytest.raises(_core.CoreError, match="closed"):
        loop.start()


def test_only_what_is_accepted_is_a_sign_of_life(arm: _core.Emulator) -> None:
    loop = loop_of(arm, source="setpoints", heartbeat_timeout_s=0.25)
    loop.arm()
    wrong = np.full(6, np.nan)
    for _ in range(30):
        assert loop.push_setpoint(wrong, _core.monotonic_ns()) == "not-finite"
        assert not loop.wait(0.02)
    seen = loop.snapshot()
    loop.close()
    assert seen.state == "HOLD"
    assert "silent" in seen.reason


def test_a_lost_port_is_a_fault_with_exit_code_one(arm: _core.Emulator) -> None:
    loop = loop_of(arm)
    loop.arm()
    arm.fault("hangup")
    assert not loop.wait(0.3)
    seen = loop.snapshot()
    assert seen.state == "FAULT"
    loop.request_stop()
    assert loop.wait(5)
    report = loop.report()
    assert report["exit_code"] == 1
    assert len(report["still_energised"]) == 6
    loop.close()


def test_lost_replies_cost_no_goal(arm: _core.Emulator) -> None:
    loop = loop_of(arm, duration_s=1.5)
    arm.fault("drop", rate=0.02)
    loop.arm()
    feed(loop)
    report = loop.report()
    loop.close()
    assert states(loop)[-2:] == ["REST", "OFF"]
    assert report["active_cycles"] == 75


def test_illegal_chunks_are_counted_and_change_nothing(arm: _core.Emulator) -> None:
    loop = loop_of(arm)
    now = _core.monotonic_ns()
    good = np.zeros((4, 6), np.float32)
    assert loop.push_chunk(now, PERIOD, np.full((4, 6), np.nan, np.float32)) == "not-finite"
    assert loop.push_chunk(now, PERIOD, good[:, :5]) == "width"
    assert loop.push_chunk(now - 600_000_000, PERIOD, good) == "stale"
    assert loop.push_chunk(now, PERIOD, good) == ""
    assert loop.push_chunk(now, PERIOD, good) == "duplicate"
    assert loop.push_chunk(now + 2 * 3_600_000_000_000, PERIOD, good) == "future"
    assert loop.push_chunk(now + PERIOD, PERIOD, good) == ""  # what was refused did not outdate what follows
    assert loop.report()["rejected"] == {"not-finite": 1, "width": 1, "stale": 1, "duplicate": 1, "future": 1}
    assert loop.snapshot().state == "DISARMED"
    loop.close()


def test_a_busy_python_thread_does_not_disturb_the_rate(arm: _core.Emulator) -> None:
    # The thread that feeds it shares the interpreter and may be late; the loop itself may not.
    loop = loop_of(arm, duration_s=4.0, heartbeat_timeout_s=2.0)
    stop = threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            n += 1

    thread = threading.Thread(target=busy)
    thread.start()
    loop.arm()
    feed(loop)
    stop.set()
    thread.join()
    report = loop.report()
    loop.close()
    assert report["active_cycles"] == 200
    # The median: a host that stops everything for a moment does not move it, a loop that waits for the interpreter
    # (5 ms a turn) would.
    assert report["period_error_ms"]["p50"] <= 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rate_hz": 5.0}, "rate"),
        ({"merge": "glue"}, "merge"),
        ({"source": "dream"}, "source"),
        ({"rest_pose": [0.0]}, "rest"),
    ],
)
def test_wrong_settings_are_refused_before_anything_moves(arm: _core.Emulator, changed: Any, said: str) -> None:
    config = _core.LoopConfig()
    for name, value in changed.items():
        setattr(config, name, value)
    bus = _core.ServoBus(arm.port, "sts3215", arm.calibration())
    with pytest.raises((ValueError, _core.CoreError), match=said):
        _core.ControlLoop([(slice(0, 6), bus)], limits(), config)


def test_two_drives_make_one_arm() -> None:
    left, right = _core.Emulator(), _core.Emulator(seed=1)
    n = 12
    both = _core.Limits(*(np.full(n, v) for v in (-110.0, 110.0, 240.0, 4000.0, 1e5, 30.0, 5.0)), [False] * n)
    config = _core.LoopConfig()
    config.source, config.soft_start_s = "setpoints", 0.3
    config.rest_pose = np.concatenate([left.rest_pose(), right.rest_pose()])
    config.duration_s, config.heartbeat_timeout_s = 0.5, 1.0
    drives = [(slice(0, 6), bus_of(left)), (slice(6, 12), bus_of(right))]
    loop = _core.ControlLoop(drives, both, config)
    loop.start()
    loop.arm()
    pose = loop.snapshot().values
    assert pose.shape == (12,)
    until = _core.monotonic_ns() + 20_000_000_000
    while not loop.wait(0.02) and _core.monotonic_ns() < until:
        if loop.snapshot().state == "HOLD":  # see `feed`
            loop.resume()
        loop.push_setpoint(pose + 2, _core.monotonic_ns())
    assert loop.report()["active_cycles"] == 25
    assert loop.report()["exit_code"] == 0
    loop.close()
    assert len(left.goal_times()) > 25
    assert len(right.goal_times()) > 25
