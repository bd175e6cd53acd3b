"""How sessions and loops end when something goes wrong: latches, second requests, what is told."""

import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rl import _core
from rl.api import InputError, RlError
from rl.api.features import Feature
from rl.api.protocols import Snapshot
from rl.cli import main as program
from rl.cli import replay
from rl.cli.deploy import _coefficient
from rl.control.cameras import Cameras
from rl.control.config import LimitsConfig
from rl.control.direct import DirectLoop
from rl.control.fit import Wanted
from rl.control.loops import JointLoop, Member
from rl.control.recorder import Cycles
from rl.control.session import HOW_TO_RELEASE, Session
from rl.control.settings import Settings
from rl.control.sources import LeaderSource, PolicySource, Threads, check_actions
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.robot import So101
from tests.fixtures.robots.machines import Fixed, VendorArm
from tests.fixtures.robots.rig import reached, when


def settings(**options):
    return Settings(**{"rate": 50, "duration": 0.5, "soft_start_s": 0.3, "realtime": False, **options})


def session(robot, source, said=None, sinks=(), **options):
    said = said or (lambda text: None)
    return Session(robot, source, sinks=sinks, settings=settings(**options), say=said)


def follower():
    return So101(So101Config(port="sim"))


def leader():
    return LeaderSource(So101Leader(LeaderConfig(port="sim")))


def vendor(robot=None, **options):
    robot = robot or VendorArm()
    robot.connect()
    loop = DirectLoop(robot, robot.axes, (0, 1), settings(duration=0, **options), "setpoints")
    loop.start()
    return robot, loop


def until(loop, state, timeout_s=2.0):
    end = time.monotonic() + timeout_s
    while loop.snapshot().state != state and time.monotonic() < end:
        time.sleep(0.01)
    return loop.snapshot().state


class Part:
    """A loop of which the state and the end are set by hand; keeps what it is asked."""

    def __init__(self, state, over):
        self.state, self.over, self.asked = state, over, []

    def snapshot(self):
        return SimpleNamespace(state=self.state)

    def wait(self, timeout_s):
        return self.over

    def request_stop(self, policy=""):
        self.asked.append(policy)


def test_a_part_that_ended_stops_the_others_once():
    ended, other = Part("OFF", True), Part("ACTIVE", False)
    columns = np.array([0])
    whole = JointLoop([Member("a", ended, columns, columns), Member("b", other, columns, columns)], 1, 1)
    assert [whole.wait(0.0) for _ in range(3)] == [False] * 3
    assert other.asked == [""]
    assert whole.asked


def test_an_e_stop_while_stopping_ends_with_exit_code_1_and_the_torque_on():
    robot, said = follower(), []
    with session(robot, leader(), said.append, duration=0) as running:
        running.connect()
        running.join()
        when(reached(running, "ACTIVE"), running.request_stop)
        when(reached(running, "REST"), lambda: running.loop.estop())
        outcome = running.run()
        states = [state for state, *_ in outcome.reports["core"]["states"]]
    assert states[-1] == "ESTOP"
    assert outcome.exit_code == 1
    assert any(text.startswith("still energised: shoulder_pan") for text in said)
    assert any("rl release" in text for text in said)


def test_a_hold_that_was_asked_for_is_a_clean_end_and_says_how_to_release_in_one_line():
    said = []
    with session(follower(), leader(), said.append, stop="hold") as running:
        outcome = running.run()
    assert outcome.exit_code == 0
    assert [text for text in said if "release" in text or "--stop off" in text or "energised" in text] == [
        f"held, as asked; {HOW_TO_RELEASE}"
    ]


def test_a_terminal_that_closes_is_no_second_request_and_a_repeated_interrupt_is():
    def broken(text):
        raise OSError(5, "Input/output error")

    running, loop = session(VendorArm(), None, broken), Part("ACTIVE", False)
    columns = np.array([0])
    running.loop = JointLoop([Member("a", loop, columns, columns)], 1, 1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP, signal.SIGINT):
        running._on_signal(number, None)
    assert loop.asked == [""]
    running._on_signal(signal.SIGINT, None)
    assert loop.asked == ["", "off"]


def test_an_e_stop_holds_and_stays_latched():
    robot, loop = vendor()
    loop.arm()
    loop.estop()
    assert loop.wait(2.0)
    loop.request_stop()
    loop.request_stop()
    loop.close()
    assert robot.stops == ["hold"]
    assert loop.snapshot().state == "ESTOP"
    assert loop.report()["exit_code"] == 1


def test_a_second_request_releases_the_arm():
    robot, loop = vendor()
    robot.rest_pose = lambda: np.array([80.0, 80.0])
    loop.arm()
    loop.request_stop()
    loop.request_stop()
    assert loop.wait(2.0)
    loop.close()
    assert robot.stops == ["off"]


def test_a_vendors_stop_that_raises_anything_still_ends_the_loop_and_is_told():
    robot, loop = vendor()

    def stop(policy):
        raise KeyError("axis 2")

    robot.stop = stop
    loop.request_stop()
    assert loop.wait(2.0)
    loop.close()
    assert "axis 2" in loop.snapshot().reason
    assert loop.snapshot().state == "FAULT"


def test_a_pose_that_is_no_number_is_not_armed():
    robot, loop = vendor()
    robot.values = np.array([np.nan, 0], np.float32)
    time.sleep(0.1)
    with pytest.raises(RlError, match=r"no number: shoulder\.pos"):
        loop.arm()
    loop.close()


def test_a_rest_pose_that_is_no_number_is_none():
    robot, loop = vendor()
    robot.rest_pose = lambda: np.array([np.nan, 1.0])
    loop.arm()
    loop.request_stop()
    assert loop.wait(3.0)
    loop.close()
    assert all(np.isfinite(values).all() for _, values in robot.sent)
    assert loop.snapshot().state == "OFF"


def test_a_goal_that_is_no_number_is_a_fault_and_is_not_sent():
    robot, loop = vendor()
    loop.arm()
    loop.limiter.goal = np.array([np.nan, 0.0])
    assert loop.wait(2.0)
    loop.close()
    assert loop.snapshot().state == "FAULT"
    assert "no number" in loop.snapshot().reason
    assert robot.stops == ["hold"]


def test_an_old_state_holds_the_robot():
    robot, loop = vendor(heartbeat_timeout_s=60.0)
    loop.arm()
    stamp = time.monotonic_ns()
    robot.snapshot = lambda: Snapshot(robot.values.copy(), stamp, np.zeros(2, np.float32))
    assert until(loop, "HOLD") == "HOLD"
    assert "stale" in loop.snapshot().reason
    loop.close()


def test_a_set_point_that_is_older_or_comes_twice_is_refused():
    _, loop = vendor()
    answers = [loop.push_setpoint(np.zeros(2), at) for at in (100, 100, 50, 101)]
    loop.close()
    assert answers == ["", "duplicate", "stale", ""]


def test_a_loop_that_cannot_start_is_the_failure_that_is_told():
    robot = VendorArm()
    robot.snapshot = lambda: (_ for _ in ()).throw(RlError("no pose", where="vendor arm"))
    begun = time.monotonic()
    with (
        pytest.raises(RlError, match="no pose"),
        session(robot, LeaderSource(Fixed(robot.action, lambda: [0, 0]))) as running,
    ):
        running.run()
    assert time.monotonic() - begun < 5


def test_a_sink_that_breaks_is_named_and_the_others_still_end():
    ended = []

    class Disk:
        def begin(self, session):
            """Nothing yet."""

        def poll(self, session):
            """Nothing to see."""

        def end(self, session):
            ended.append(self)
            raise OSError(28, "No space left on device", "/data/trace.npz")

    robot, before = VendorArm(), signal.getsignal(signal.SIGINT)
    with (
        pytest.raises(RlError, match=r"^disk: /data/trace\.npz: No space left on device$"),
        session(robot, LeaderSource(Fixed(robot.action, lambda: [0, 0])), sinks=[Disk(), Disk()]) as running,
    ):
        running.run()
    assert len(ended) == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert robot.stops == ["rest"]


def core_error(code):
    error = _core.CoreError("port: is gone")
    error.code = code
    return error


def test_a_thread_gives_the_cores_errors_as_those_of_rl():
    threads = Threads()

    def work():
        raise core_error("absent")

    threads.run("x", work)
    threads.stop()
    with pytest.raises(RlError, match="is gone") as caught:
        threads.check()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("code", "wanted"), [("busy", 3), ("calibration", 2), ("timeout", 1)])
def test_a_stray_error_of_the_core_is_one_line_with_its_exit_code(monkeypatch, capsys, code, wanted):
    def execute(*_):
        raise core_error(code)

    monkeypatch.setattr(program, "execute", execute)
    assert program.main(["teleop"]) == wanted
    assert capsys.readouterr().err == "error: port: is gone\n"


def test_a_coefficient_of_zero_is_kept():
    assert [_coefficient(*given) for given in ((0.0, 0.5), (None, 0.0), (None, None))] == [0.0, 0.0, 0.01]


def test_rows_whose_cycles_are_gone_are_an_error_not_a_wait():
    class Loop:
        def __init__(self):
            self.first = 0

        def snapshot(self):
            return SimpleNamespace(cycle=self.first)

        def records(self, since):
            cycle = np.arange(self.first + 1, self.first + 11)
            wide = np.zeros((10, 1))
            return {
                "cycle": cycle, "captured": cycle * 20_000_000, "wrote": cycle,
                "values": wide, "goal": wide, "requested": wide,
            }  # fmt: skip

    part, columns = Loop(), np.array([0])
    cycles = Cycles(JointLoop([Member("a", part, columns, columns)], 1, 1))
    cycles.refresh()
    assert cycles.at(100_000_000) is not None
    part.first = 1000
    cycles.refresh()
    with pytest.raises(RlError, match="too slow"):
        cycles.at(100_000_000)


def test_an_inference_that_goes_on_after_the_stop_is_known():
    goes_on = threading.Event()
    source = PolicySource(lambda *_: None, inputs={}, cameras=Cameras({}), fps=10, execute=1)
    source._threads.run("work", lambda: goes_on.wait(5))
    source._threads.stop(timeout_s=0.05)
    assert source.running
    goes_on.set()
    time.sleep(0.2)
    assert not source.running


def test_what_runs_already_is_closed_when_another_part_does_not_start():
    first, second, columns = Part("DISARMED", False), Part("DISARMED", False), np.array([0])
    closed = []

    def fail():
        raise core_error("busy")

    first.start, first.close = (lambda: None), lambda: closed.append(first)
    second.start, second.close = fail, lambda: closed.append(second)
    whole = JointLoop([Member("a", first, columns, columns), Member("b", second, columns, columns)], 1, 1)
    with pytest.raises(RlError, match="is gone"):
        whole.start()
    assert closed == [first]


def test_an_episode_of_another_calibration_is_not_replayed_on_hardware(monkeypatch):
    robot = VendorArm()
    robot.simulated, robot.fingerprint = False, lambda: "bbbb"
    wanted = Wanted({}, {"action": robot.action}, "vendor", "aaaa")
    monkeypatch.setattr(replay, "_episode", lambda config: (wanted, np.zeros((3, 2), np.float32), 25.0))
    monkeypatch.setattr("rl.control.composite.build_robot", lambda selected: robot)
    options = {
        "rate": 50,
        "stop": "rest",
        "estop": "hold",
        "realtime": False,
        "limits": LimitsConfig(),
        "trace": None,
        "units": None,
        "speed": 1.0,
        "json": False,
    }
    config = SimpleNamespace(robot=None, **options)
    with pytest.raises(InputError, match=r"the data set was made with calibration aaaa, this arm has bbbb"):
        replay.run(SimpleNamespace(config=config))
    assert not robot.sent


def test_what_a_teleoperator_says_is_due_a_little_later_so_that_the_loop_goes_straight_between():
    pushed, told = [], []
    device = Fixed(VendorArm().action, lambda: [1, 2])
    read = device.read

    def noted():
        told.append(read())
        return told[-1]

    device.read = noted
    looks = SimpleNamespace(state="ACTIVE", as_snapshot=lambda: Snapshot(np.zeros(2), 0, np.zeros(2)))

    def push(values, at):
        pushed.append(at)
        return ""

    loop = SimpleNamespace(axes=(), snapshot=lambda: looks, push_setpoint=push, heartbeat=lambda: None, estop=None)
    source = LeaderSource(device, rate=10)  # read at 50 Hz: signs of life at 10 Hz would come too late
    source.start(loop)
    begun = time.monotonic()
    while len(pushed) < 10 and time.monotonic() - begun < 10:
        time.sleep(0.01)
    source.stop()
    ahead = [at - intent.captured for at, intent in zip(pushed, told, strict=False)]
    assert set(ahead) == {25_000_000}
    assert len(device.seen) >= len(pushed) >= 10


def test_a_terminal_that_somebody_reads_already_is_left_to_them():
    import os
    import pty
    import tty

    from rl.control.keys import Keys

    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as stream, Keys(stream=stream) as first:
        assert first.live
        first.close()
        tty.setcbreak(stream)
        with Keys(stream=stream) as second:
            assert not second.live
    os.close(master)


def test_two_spellings_of_a_unit_are_one():
    spelled = {
        unit: Feature("action", "action", (2,), unit=unit, names=("a.pos", "b.pos")) for unit in ("deg", "degrees")
    }
    check_actions(spelled["deg"], spelled["degrees"], "the teleoperator")
    other = Feature("action", "action", (2,), unit="percent", names=("a.pos", "b.pos"))
    with pytest.raises(InputError, match=r"a\.pos percent.*a\.pos deg\b.*--teleop\.joints"):
        check_actions(other, spelled["deg"], "the teleoperator")


def test_an_arm_without_a_rest_pose_is_told_of_before_it_moves(monkeypatch):
    said = []
    robot = So101(So101Config(port="sim"))
    monkeypatch.setattr(So101, "rest_pose", lambda self: None)
    with session(robot, leader(), said.append, duration=0.3) as running:
        assert running.run().exit_code == 1
    (warning,) = (line for line in said if "no rest pose is known" in line)
    assert "rl calibrate" in warning
    assert said.index(warning) < next(i for i, line in enumerate(said) if "torque stays on" in line)
