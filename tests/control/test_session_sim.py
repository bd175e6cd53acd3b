"""Sessions on emulated arms: teleoperation, a policy, a recording, failures; each ends by its stop policy."""

import signal
import threading
import time

import numpy as np
import pytest

from rl.api import InputError, MissingPart, RlError
from rl.config import build
from rl.control.cameras import Cameras, drawn
from rl.control.composite import Composite, CompositeTeleoperator
from rl.control.session import Session
from rl.control.settings import Settings
from rl.control.sources import EpisodeSource, LeaderSource, PolicySource
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.robot import So101
from rl.runtime.history import History
from tests.fixtures.robots.machines import Base, Fixed, VendorArm
from tests.fixtures.robots.rig import reached, when


def arm(**options):
    return So101(So101Config(port="sim", **options))


def leader(**options):
    return So101Leader(LeaderConfig(port="sim", **options))


def settings(**options):
    return Settings(**{"rate": 50, "duration": 1.0, "soft_start_s": 0.3, "realtime": False, **options})


def session(robot, source, **options):
    cameras = options.pop("cameras", None)
    return Session(robot, source, cameras, sinks=options.pop("sinks", ()), settings=settings(**options), say=quiet)


def quiet(text):
    """Nobody reads along."""


def names(report):
    return [state[0] for state in report["states"]]


def policy(robot, cameras=None, *, act=None, fps=25, rows=25, execute=10):
    """A policy that goes on from where the arm is, or what `act` says of the observation."""

    def infer(observation, at):
        given = observation["observation.state"]
        return np.repeat(given[None] if act is None else act(given)[None], rows, axis=0).astype(np.float32)

    inputs = {"observation.state": robot.state}
    return PolicySource(infer, inputs=inputs, cameras=cameras or Cameras({}), fps=fps, execute=execute)


def test_a_leader_moves_the_follower_inside_the_core():
    robot, hand = arm(), leader()
    with session(robot, LeaderSource(hand), duration=2.0) as running:
        outcome = running.run()
        report = outcome.reports["core"]
        goals = robot.emulator.goals()
    assert outcome.exit_code == 0
    assert names(report)[-1] == "OFF"
    assert report["active_cycles"] == pytest.approx(100, abs=1)
    if "HOLD" not in names(report):  # a machine so busy that the emulator misses its turn
        periods = report["active_cycles"] - 1 + report["misses"]  # a busy host skips deadlines; the grid stays
        assert periods / (report["active_s"] - 0.02) == pytest.approx(50, abs=0.2)
    assert np.ptp(goals, axis=0).max() > 50  # it waved


def test_the_first_goal_on_the_wire_is_the_measured_pose():
    robot = arm()
    with session(robot, LeaderSource(leader()), duration=0.3) as running:
        running.connect()
        start = robot.emulator.positions()
        running.run()
        assert np.abs(robot.emulator.goals()[0] - start).max() <= 1


def test_a_policy_runs_beside_the_loop_at_its_own_rate():
    robot = arm()
    source = policy(robot, fps=25)
    with session(robot, source, duration=1.5) as running:
        outcome = running.run()
    assert outcome.exit_code == 0
    assert outcome.reports["core"]["starved"] == 0
    assert 3 <= source.inferences <= 40
    assert outcome.first_goal_s is not None


def test_a_policy_sees_the_newest_picture_of_each_camera():
    robot = arm()
    front = policy(robot).inputs | {}
    cameras = Cameras(drawn([type(robot.state)("observation.images.front", "image", (32, 48, 3), dtype="uint8")]))
    seen = []

    def act(state):
        return state

    source = policy(robot, cameras, act=act)
    infer = source.infer

    def watched(observation, at):
        seen.append(observation["observation.images.front"].shape)
        return infer(observation, at)

    source.infer = watched
    with session(robot, source, cameras=cameras, duration=0.5) as running:
        running.run()
    assert front
    assert set(seen) == {(32, 48, 3)}


def test_a_policy_that_looks_back_sees_its_own_rate_between_its_inferences():
    """The past is that of training: a row a period, however seldom the policy is asked."""
    robot, period = arm(), 40_000_000
    history = History({"observation.state": (-2, -1, 0)}, period)
    instants, gaps, windows = [], [], []

    def remember(observation, at):
        instants.append(at)
        history.add(observation, at)

    def infer(observation, at):
        remember(observation, at)
        nearest = [min(instants, key=lambda t, step=step: abs(t - at - step * period)) for step in (-2, -1, 0)]
        gaps.append(np.diff(nearest) / 1e6)
        windows.append([row[0] for row in history.window()["observation.state"][0]])
        wanted = observation["observation.state"].copy()
        wanted[0] += 20 * (1 if len(windows) % 2 else -1)
        return np.linspace(observation["observation.state"], wanted, 25).astype(np.float32)

    inputs = {"observation.state": robot.state}
    source = PolicySource(infer, inputs=inputs, cameras=Cameras({}), fps=25, execute=10, depth=2, remember=remember)
    with session(robot, source, duration=3.0) as running:
        running.run()
    assert len(windows) > 4
    assert np.median(np.abs(np.array(gaps[1:]) - 40)) < 15  # ms; the first one has no past
    assert sum(len(set(window)) == 3 for window in windows) > len(windows) / 2  # the arm moves: three different rows


def test_a_policy_that_gives_nan_ends_the_session_and_nothing_illegal_is_sent():
    robot = arm()
    with session(robot, policy(robot, act=lambda state: state * np.nan), duration=0) as running:
        with pytest.raises(RlError, match="NaN"):
            running.run()
        assert running.loop.snapshot().state == "OFF"


def test_a_policy_that_fails_ends_by_the_stop_policy():
    robot = arm()

    def fail(state):
        raise RlError("the graph broke", where="runtime")

    with session(robot, policy(robot, act=fail), duration=0) as running:
        with pytest.raises(RlError, match="graph broke"):
            running.run()
        assert names(running.loop.reports()["core"])[-1] == "OFF"


def test_a_slow_policy_is_asked_early_enough():
    robot = arm()

    def slow(state):
        time.sleep(0.15)
        return state

    source = policy(robot, act=slow, fps=25, rows=25, execute=20)
    with session(robot, source, duration=2.0) as running:
        outcome = running.run()
    assert outcome.reports["core"]["starved"] == 0


def test_on_hardware_actions_that_come_too_late_end_the_session_with_the_latency():
    robot = arm()

    def slow(state):
        time.sleep(0.6)
        return state

    source = policy(robot, act=slow, rows=50)
    with pytest.raises(RlError, match="an inference takes 6"), session(robot, source, duration=0) as running:
        running.run()


def test_an_emulated_arm_waits_for_a_slow_policy():
    robot = arm()

    def slow(state):
        time.sleep(0.6)
        return state

    source = policy(robot, act=slow, rows=50, execute=40)
    source.patient = True
    with session(robot, source, duration=1.5) as running:
        assert running.run().exit_code == 0
    assert not source.refused


def test_a_leader_that_falls_silent_is_followed_again_when_it_speaks():
    robot, hand = arm(), leader()
    with session(robot, LeaderSource(hand), duration=0) as running:
        running.connect()
        running.join()
        when(reached(running, "ACTIVE"), lambda: (time.sleep(0.5), hand.emulator.fault("stall", ms=400)))
        when(reached(running, "HOLD"), lambda: when(reached(running, "ACTIVE"), running.request_stop))
        outcome = running.run()
    states = names(outcome.reports["core"])
    assert "HOLD" in states
    assert "ACTIVE" in states[states.index("HOLD") :]
    assert outcome.exit_code == 0
    report = outcome.reports["core"]
    assert report["reached_hz"] > 45  # the time in HOLD is no time in motion: 30 with it
    assert abs(report["active_s"] * 50 - report["active_cycles"]) < 10


def test_an_episode_is_approached_slowly_then_played_at_its_rate():
    robot = arm()
    robot_pose = np.array([20, 0, 0, 0, 0, 50], np.float32)
    with session(robot, EpisodeSource(np.zeros((1, 6), np.float32), 25), duration=0) as probe:
        probe.connect()
        start = robot.snapshot().values
    actions = start + np.linspace(0, 1, 50)[:, None] * np.sign(robot_pose) * 10
    robot = arm()
    source = EpisodeSource(actions.astype(np.float32), fps=25)
    with session(robot, source, duration=0) as running:
        outcome = running.run()
        records = running.loop.members[0].loop.records(0)
    moving = records["state"] == 2
    lag = np.interp(records["deadline"][moving], source.began + np.arange(50) * source.period, actions[:, 0])
    assert outcome.exit_code == 0
    # All but the moment after a standstill of the host, where the arm catches up within its speed.
    assert np.quantile(np.abs(records["goal"][moving, 0] - lag)[10:], 0.9) < 0.1


@pytest.fixture
def interruptible():
    """A signal that comes when the session has ended already ends no test run."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    time.sleep(0.3)
    signal.signal(signal.SIGINT, before)


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_by_the_stop_policy_with_exit_code_130(interruptible):
    robot = arm()
    with session(robot, LeaderSource(leader()), duration=0) as running:
        running.connect()
        running.join()
        when(reached(running, "ACTIVE"), interrupt)
        outcome = running.run()
    assert outcome.exit_code == 130
    assert names(outcome.reports["core"])[-1] == "OFF"
    assert "REST" in names(outcome.reports["core"])


def test_a_silent_motor_of_the_leader_is_named_and_ends_the_session(monkeypatch):
    monkeypatch.setattr("rl.control.session.HOLD_S", 60.0)  # the core is the one that gives up
    said, hand = [], leader()
    with Session(arm(), LeaderSource(hand), say=said.append, settings=settings(duration=0)) as running:
        running.connect()
        running.join()
        when(reached(running, "ACTIVE"), lambda: hand.emulator.fault("mute", id=4))
        with pytest.raises(RlError, match="stayed silent"):
            running.run()
    assert any(line.startswith("HOLD: ") and "leader's wrist_flex (id 4): no reply" in line for line in said)
    assert running.outcome.reports["core"]["still_energised"] == []


def test_ctrl_c_without_a_rest_pose_holds_and_promises_nothing_else(interruptible, monkeypatch):
    monkeypatch.setattr(So101, "rest_pose", lambda self: None)
    said = []
    with Session(arm(), LeaderSource(leader()), say=said.append, settings=Settings(duration=0)) as running:
        running.connect()
        running.join()
        when(reached(running, "ACTIVE"), interrupt)
        outcome = running.run()
    assert (outcome.exit_code, outcome.interrupted) == (1, True)  # the torque is on
    assert any("the arm is held" in line for line in said)
    assert not any("releases at once" in line for line in said)
    assert any("rl release" in line for line in said)


def test_ctrl_c_twice_releases_at_once(interruptible):
    robot = arm()
    with session(robot, LeaderSource(leader()), duration=0) as running:
        running.connect()
        running.join()
        when(reached(running, "ACTIVE"), interrupt)
        again = []
        when(reached(running, "REST"), lambda: (again.append(time.monotonic()), interrupt()))
        outcome = running.run()
        ended = time.monotonic()
    assert outcome.exit_code == 130
    assert ended - again[0] < 1.5  # a way to the rest pose takes longer


def test_a_busy_python_thread_does_not_disturb_the_loop():
    over = threading.Event()

    def busy():
        n = 0
        while not over.is_set():
            n += 1

    thread = threading.Thread(target=busy, daemon=True)
    thread.start()
    try:
        with session(arm(), LeaderSource(leader()), duration=2.0, realtime=True) as running:
            report = running.run().reports["core"]
    finally:
        over.set()
        thread.join()
    assert report["active_cycles"] == pytest.approx(100, abs=1)
    assert report["period_error_ms"]["p50"] <= 1  # a loop that waits for the interpreter has 5 and more


def test_a_missing_calibration_file_is_named():
    robot = So101(So101Config(port="/dev/null", id="x", calibration_dir="/nowhere"))
    with pytest.raises(InputError, match=r"x\.json"), session(robot, LeaderSource(leader())) as running:
        running.connect()


def test_an_absent_port_is_named_before_a_calibration_is_asked_for():
    robot = So101(So101Config(port="/dev/no-such-port", id="x", calibration_dir="/nowhere"))
    with pytest.raises(MissingPart, match="no-such-port") as error, session(robot, LeaderSource(leader())) as running:
        running.connect()
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("fault", "fields", "error", "told"),
    [
        ("mute", {"id": 3}, MissingPart, r"motor missing: elbow_flex.*3"),
        ("twin", {"id": 3, "of": 2}, InputError, r"two motors with id 2 \(shoulder_lift\)"),
    ],
)
def test_a_missing_motor_and_two_with_one_id_are_named(fault, fields, error, told, tmp_path):
    from rl import _core
    from rl.plugins.so101 import calibration

    emulator = _core.Emulator("so101-follower")
    joints = {
        j.name: calibration.Joint(j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max)
        for j in emulator.calibration()
    }
    calibration.write(tmp_path / "x.json", joints)
    emulator.fault(fault, **fields)
    robot = So101(So101Config(port=emulator.port, id="x", calibration_dir=str(tmp_path)))
    try:
        with pytest.raises(error, match=told), session(robot, LeaderSource(leader())) as running:
            running.connect()
    finally:
        emulator.close()


def test_a_leader_in_other_units_is_refused_with_both_lists():
    with (
        pytest.raises(InputError, match=r"range_m100_100.*degrees"),
        session(arm(), LeaderSource(leader(units="range_m100_100"))) as running,
    ):
        running.run()


def test_two_arms_are_driven_as_one_in_the_core():
    robot = Composite({"left": arm(), "right": arm()})
    hand = CompositeTeleoperator({"left": leader(), "right": leader()})
    with session(robot, LeaderSource(hand), duration=1.0) as running:
        outcome = running.run()
        look = running.loop.snapshot()
    assert outcome.exit_code == 0
    assert list(outcome.reports) == ["core"]
    assert look.values.shape == (12,)


def test_a_joint_of_two_arms_is_told_with_the_name_of_its_arm():
    robot = Composite({"left": arm(), "right": arm()})
    hand = CompositeTeleoperator({"left": leader(), "right": leader()})
    with session(robot, LeaderSource(hand), duration=20.0) as running:
        running.connect()
        when(reached(running, "ACTIVE"), lambda: robot.parts["right"].emulator.fault("mute", id=3))
        with pytest.raises(RlError, match=r"right_elbow_flex \(id 3\)"):
            running.run()
        report = running.loop.reports()["core"]
    assert report["missing"]["right_elbow_flex"] > 20  # of some 50 cycles until it was a fault
    assert len(report["still_energised"]) == 6
    assert all(name.startswith("right_") for name in report["still_energised"])


def test_a_fault_of_one_arm_stays_its_own_the_other_is_laid_down_and_released():
    robot = Composite({"left": arm(), "right": arm()})
    hand = CompositeTeleoperator({"left": leader(), "right": leader()})

    def torques(name):
        return [robot.parts[name].emulator.registers(motor)[40] for motor in range(1, 7)]

    seen = []

    def reboot():
        robot.parts["right"].emulator.fault("reboot", id=3)
        seen.extend(torques("left"))

    with session(robot, LeaderSource(hand), duration=20.0) as running:
        running.connect()
        when(reached(running, "ACTIVE"), reboot)
        with pytest.raises(RlError, match=r"right_elbow_flex \(id 3\)"):
            running.run()
        report = running.loop.reports()["core"]
        after = torques("left"), torques("right")
    assert seen == [1] * 6
    assert after == ([0] * 6, [1, 1, 0, 1, 1, 1])  # what has started anew has none
    assert [(one["state"], one["joints"][0]) for one in report["arms"]] == [
        ("OFF", "left_shoulder_pan"),
        ("FAULT", "right_shoulder_pan"),
    ]
    assert "rest pose reached" in report["arms"][0]["reason"]
    assert running.outcome.exit_code == 1


def test_the_buses_of_two_pairs_are_read_in_parallel():
    """Every bus answers 5 ms late, by its own clock: one after the other, four would take twice as long as two."""

    def fastest(robot, hand):
        told = []

        def late():
            for device in (robot, hand):
                for part in getattr(device, "parts", {"": device}).values():
                    part.emulator.fault("late", rate=1.0, ms=5.0)
            told.append(time.monotonic_ns())

        with session(robot, LeaderSource(hand), duration=1.0) as running:
            running.connect()
            when(reached(running, "ACTIVE"), late)
            running.run()
            found = running.loop.members[0].loop.records(-1)
        moving = (found["state"] == 2) & (found["read"] > 0) & (found["wrote"] > told[0])
        assert moving.sum() > 20
        return np.quantile((found["read"] - found["wrote"])[moving], 0.1)  # a busy host only makes it longer

    one = fastest(arm(), leader())
    two = fastest(
        Composite({"left": arm(), "right": arm()}), CompositeTeleoperator({"left": leader(), "right": leader()})
    )
    assert one > 5e6
    assert two < 1.6 * one


def test_the_registry_builds_two_arms_from_the_command_line():
    from rl.config import Selected
    from rl.control.composite import build_robot

    config = build(So101Config, {"id": "pair", "arms": {"left": {"port": "sim"}, "right": {"port": "sim"}}})
    robot = build_robot(Selected("robot", "so101", config))
    assert robot.action.names[0] == "left_shoulder_pan.pos"
    assert robot.parts["right"].config.id == "pair_right"


def test_a_vendor_arm_without_a_bus_is_moved_by_python():
    robot = VendorArm()
    target = np.array([10.0, -10.0])
    with session(robot, LeaderSource(Fixed(robot.action, lambda: target)), duration=1.0) as running:
        outcome = running.run()
    report = outcome.reports["robot"]
    assert outcome.exit_code == 0
    assert np.allclose(robot.values, target, atol=0.1)
    assert robot.stops == ["rest"]
    assert report["active_cycles"] == pytest.approx(50, abs=3)
    assert "no core bus" in report["realtime"][0]


def test_a_policy_moves_a_vendor_arm():
    robot = VendorArm()
    source = policy(robot, act=lambda state: np.array([5.0, 5.0]))
    with session(robot, source, duration=1.0) as running:
        outcome = running.run()
    assert outcome.exit_code == 0
    assert np.allclose(robot.values, [5, 5], atol=0.1)


def test_a_vendor_library_that_breaks_ends_the_session_with_its_message():
    robot = VendorArm()
    robot.breaks_after = 20
    source = LeaderSource(Fixed(robot.action, lambda: [1, 1]))
    with pytest.raises(RlError, match="lost the arm"), session(robot, source, duration=0) as running:
        running.run()
    assert robot.stops


def test_a_base_beside_an_arm_stops_when_the_session_ends():
    robot = Composite({"arm": arm(), "base": Base()})
    pose = []

    def act(state):
        pose.append(state)
        return np.concatenate([state[:6], [0.3, 20.0]])

    with session(robot, policy(robot, act=act), duration=1.0) as running:
        outcome = running.run()
    base = robot.parts["base"]
    speeds = np.array([values for _, values in base.sent])
    assert outcome.exit_code == 0
    assert set(outcome.reports) == {"core", "base"}
    assert speeds[:, 0].max() == pytest.approx(0.3, abs=0.01)
    assert np.allclose(speeds[-1], 0)


def test_a_base_whose_source_dies_stops():
    robot = Base()
    device = Fixed(robot.action, lambda: [0.3, 0.0])

    class Mute(LeaderSource):
        def start(self, loop):
            loop.push_setpoint(np.array([0.3, 0.0]), time.monotonic_ns())

    with session(robot, Mute(device), duration=0, soft_start_s=0.05, unsafe=True) as running:
        when(reached(running, "HOLD"), running.request_stop)
        running.run()
    assert "HOLD" in names(running.loop.reports()["robot"])
    assert np.allclose(robot.sent[-1][1], 0)


def test_a_teleoperators_stop_event_ends_the_session():
    robot = VendorArm()
    device = Fixed(robot.action, lambda: [0, 0])
    when(lambda: device.seen, lambda: setattr(device, "events", frozenset({"stop"})))
    with session(robot, LeaderSource(device), duration=0) as running:
        outcome = running.run()
    assert outcome.exit_code == 0
    assert device.closed
    assert device.seen
