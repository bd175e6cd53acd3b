"""Sessions whose loop is a process of its own: what kills, stops and emergency stops leave of an arm."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

from rl import _core
from rl.api import InputError, RlError
from rl.cli import blackbox
from rl.cli.main import main
from rl.control import black_box, guardians
from tests.fixtures.robots.rig import reached, when

PATIENCE_S = 30.0

CHILD = """
import json, sys, time
import numpy as np
from rl import _core

given = json.loads(sys.argv[1])
joints = [_core.JointCalibration(*j) for j in given["joints"]]
n = len(joints)
column = lambda v: np.full(n, float(v))
most = (column(-110), column(110), column(240), column(4000), column(1e5), column(30), column(5))
limits = _core.Limits(*most, [False] * n)
config = _core.LoopConfig()
config.source, config.house, config.soft_start_s = "setpoints", "guardian", 0.3
config.stop_policy, config.hold_to_rest_s = given["stop"], given["hold_to_rest_s"]
if given["rest"]:
    config.rest_pose = np.array(given["rest"])
bus = _core.ServoBus(given["port"], "sts3215", joints)
bus.open()
bus.configure()
leaders = []
if "leader" in given:
    config.source = "leader"
    leads = [_core.JointCalibration(*j) for j in given["leads"]]
    lead = _core.ServoBus(given["leader"], "sts3215", leads, energise=False)
    lead.open()
    leaders = [(slice(0, n), lead)]
loop = _core.ControlLoop([(slice(0, n), bus)], limits, config, leaders)
loop.start()
loop.arm()
pose = loop.snapshot().values
began = time.monotonic()
while True:
    wanted = pose + np.array([15 * np.sin(3 * (time.monotonic() - began)), 0, 0, 0, 0, 0])
    if not leaders:
        loop.push_setpoint(wanted, _core.monotonic_ns())
    if loop.snapshot().state == "HOLD":
        loop.resume()
    state = loop.snapshot().state
    print(state, loop.report()["guardian"], loop.report()["second_hand"], flush=True)
    time.sleep(0.02)
"""


def eventually(condition) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(condition())


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def torque(arm) -> list[int]:
    return [arm.registers(i)[40] for i in range(1, 7)]


@pytest.fixture
def arm():
    emulator = _core.Emulator("so101-follower")
    yield emulator
    emulator.close()


def moving(arm, **given):
    """A process that moves `arm` through a guardian; (process, guardian, second hand) once it is in motion."""
    joints = [
        (j.name, j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max, j.mode) for j in arm.calibration()
    ]
    given = {"port": arm.port, "joints": joints, "hold_to_rest_s": 1.0, "rest": None, "stop": "rest"} | given
    child = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(given)], stdout=subprocess.PIPE, text=True)
    words = [""]
    while words[0] != "ACTIVE":
        words = child.stdout.readline().split()
        assert words, "the source ended"
    yield child, int(words[1]), int(words[2])
    child.kill()
    child.wait()
    child.stdout.close()
    for left in (int(words[1]), int(words[2])):
        if alive(left):
            os.kill(left, signal.SIGKILL)


@pytest.fixture
def source(arm):
    yield from moving(arm, rest=arm.rest_pose("degrees").tolist())


@pytest.fixture(params=["no rest pose", "off", "hold"])
def restless(arm, request):
    """Its session knows no rest pose, or is not to go there."""
    if request.param == "no rest pose":
        yield from moving(arm)
    else:
        yield from moving(arm, rest=arm.rest_pose("degrees").tolist(), stop=request.param)


@pytest.fixture
def follower(arm):
    """It follows a leader that waves by itself, session or not."""
    leader = _core.Emulator("so101-leader", wave=True)
    joints = [
        (j.name, j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max, j.mode) for j in leader.calibration()
    ]
    yield from moving(arm, rest=arm.rest_pose("degrees").tolist(), leader=leader.port, leads=joints)
    leader.close()


def test_the_guardian_outlives_a_killed_session_and_lays_the_arm_down(arm, source):
    child, guardian, second = source
    child.kill()
    child.wait()
    killed = _core.monotonic_ns()
    assert alive(guardian)
    assert torque(arm) == [1] * 6
    assert eventually(lambda: torque(arm) == [0] * 6)  # HOLD, after a second of silence REST, then OFF
    assert eventually(lambda: not alive(guardian) and not alive(second))
    times = np.array(arm.goal_times())
    assert times.max() > killed + 500_000_000  # it went on writing while it held and rested


def test_a_stopped_session_is_held_and_moves_nothing_when_it_wakes_without_being_resumed(arm, source):
    child, guardian, _ = source
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(0.6)  # of silence: HOLD after 0.1 s, braked soon after
    held = np.array(arm.goals())[-5:]
    assert (held == held[0]).all()
    assert alive(guardian)
    assert torque(arm) == [1] * 6


def test_a_killed_sessions_arm_that_cannot_be_laid_down_keeps_its_torque_and_frees_its_port(arm, restless):
    child, guardian, second = restless
    child.kill()
    child.wait()
    assert eventually(lambda: not alive(guardian) and not alive(second))
    assert torque(arm) == [1] * 6
    bus = _core.ServoBus(arm.port, "sts3215", arm.calibration())
    bus.open()  # as `rl release` does
    bus.close()


def test_an_arm_that_follows_a_leader_is_laid_down_when_its_session_is_killed(arm, follower):
    child, guardian, second = follower
    child.kill()
    child.wait()
    assert eventually(lambda: torque(arm) == [0] * 6)
    assert eventually(lambda: not alive(guardian) and not alive(second))


def test_a_guardian_alone_lays_its_arm_down_and_ends(arm, source):
    child, guardian, second = source
    os.kill(second, signal.SIGKILL)
    child.kill()
    child.wait()
    assert eventually(lambda: torque(arm) == [0] * 6)
    assert eventually(lambda: not alive(guardian))


def test_a_datagram_stops_the_arm_and_leaves_a_black_box(arm, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sources import LeaderSource
    from rl.plugins.so101.config import LeaderConfig, So101Config
    from rl.plugins.so101.leader import So101Leader
    from rl.plugins.so101.robot import So101

    robot, leader = So101(So101Config(port="sim")), So101Leader(LeaderConfig(port="sim", wave=True))
    stopped = []

    class Stop:
        """A sink that sends the emergency stop once the arm moves."""

        def begin(self, session):
            assert not stopped

        def poll(self, session):
            if session.loop.snapshot().state == "ACTIVE" and not stopped:
                second = session.loop.members[0].loop.report()["second_hand"]
                name = f"{guardians.PREFIX}{second}"
                assert name in guardians.listeners(guardians.table())
                stopped.append(guardians.send_estop(name))

        def end(self, session):
            assert stopped

    settings = Settings(duration=20)
    with Session(robot, LeaderSource(leader), sinks=[Stop()], settings=settings, say=print) as session:
        with pytest.raises(RlError, match="emergency stop"):
            session.run()
        assert stopped == [True]
        assert torque(robot.emulator) == [1] * 6  # it holds
    assert f"black box: {blackbox.newest()}" in capsys.readouterr().out
    box = black_box.read(blackbox.newest())
    assert box.axes[0] == "shoulder_pan"
    assert box.events[-1].state == "ESTOP"
    assert box.states[0] in ("DISARMED", "SOFT_START", "ACTIVE")
    assert np.isfinite(box.goal).all()
    blackbox.show(blackbox.newest(), box, 5)
    assert "emergency stop" in capsys.readouterr().out
    blackbox.plot(box, tmp_path / "curves.html")
    assert "<svg" in (tmp_path / "curves.html").read_text()


def box_bytes(axes: int = 1, records: int = 2) -> bytes:
    head = f"rl black box 3\nrate 50\naxes {axes}\n" + "axis j\n" * axes
    head += f"event 5 FAULT 0 a motor is too hot\nwords {10 + 3 * axes}\nrecords {records}\n\n"
    return sealed(head.encode() + np.zeros((records, 10 + 3 * axes), "<i8").tobytes())


def sealed(content: bytes) -> bytes:
    return content + zlib.crc32(content).to_bytes(8, "little")


def test_a_black_box_is_read_as_it_was_written(tmp_path):
    (tmp_path / "a.blackbox").write_bytes(box_bytes(2, 3))
    box = black_box.read(tmp_path / "a.blackbox")
    assert box.goal.shape == (3, 2)
    assert box.events[0].reason == "a motor is too hot"
    assert box.states == ["DISARMED"] * 3


def test_the_cycles_around_each_change_are_shown(capsys):
    count = 200
    head = {name: np.arange(count) for name in black_box.HEAD}
    head |= {"state": np.repeat([2, 3], [50, 150]), "missing": np.zeros(count, int), "skipped": np.zeros(count, int)}
    head["missing"][100:] = 1
    values = np.zeros((count, 2))
    box = black_box.BlackBox(50.0, ("a", "b"), (), head, values, values, values)
    assert box.changes() == [48, 49, 50, 51, 52, 98, 99, 100, 101, 102, 196, 197, 198, 199]
    assert box.changes(most=5) == [102, 196, 197, 198, 199]
    blackbox.show("x", box, None)
    shown = capsys.readouterr().out
    assert shown.count("...") == 2
    assert shown.count("missing") == 7
    empty = {name: column[:0] for name, column in head.items()}
    assert black_box.BlackBox(50.0, ("a", "b"), (), empty, values[:0], values[:0], values[:0]).changes() == []
    one = {name: column[:1] for name, column in head.items()}
    assert black_box.BlackBox(50.0, ("a", "b"), (), one, values[:1], values[:1], values[:1]).changes() == [0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no black box"),
        (b"PK\x03\x04" * 50, "no black box"),
        (box_bytes()[:-8], "cut short"),
        (box_bytes() + b"x", "cut short"),
        (box_bytes().replace(b"records 2", b"records 99999999999"), "contradicts|cut short"),
        (box_bytes().replace(b"axes 1", b"axes 9"), "contradicts"),
        (box_bytes().replace(b"rate 50", b"rate x"), "damaged"),
        (box_bytes().replace(b"event 5 FAULT 0", b"event FAULT"), "damaged"),
    ],
)
def test_a_damaged_black_box_is_refused_with_its_name(content, said, tmp_path):
    (tmp_path / "b.blackbox").write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        black_box.read(tmp_path / "b.blackbox")
    assert "b.blackbox" in str(caught.value)


def test_a_flipped_bit_anywhere_in_a_black_box_is_noticed(tmp_path):
    whole = box_bytes(6, 4)
    random = np.random.default_rng(5)
    for at in random.integers(0, len(whole), 50).tolist():
        content = bytearray(whole)
        content[at] ^= 1 << int(random.integers(8))
        (tmp_path / "c.blackbox").write_bytes(content)
        with pytest.raises(InputError, match=r"c\.blackbox"):
            black_box.read(tmp_path / "c.blackbox")


def two_arms(records: int = 30) -> black_box.BlackBox:
    joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    axes = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in joints)
    head = {name: np.zeros(records, np.int64) for name in black_box.HEAD}
    head["deadline"], head["woke"] = np.arange(records) * 20_000_000, np.arange(records) * 20_000_000 + 7_000
    head["missing"][-2:] = 1 << 8
    values = np.full((records, 12), -133.6)
    return black_box.BlackBox(50, axes, (), head, values, values + 1, values)


def test_the_last_cycles_are_readable_in_a_narrow_terminal():
    blocks = blackbox.tables(two_arms(), range(10, 30), 80)
    assert len(blocks) > 1
    assert all(len(line) <= 80 for lines in blocks for line in lines)
    assert all(len(lines) == 21 for lines in blocks)
    headings = " ".join(lines[0] for lines in blocks)
    assert all(headings.count(name) == 1 for name in two_arms().axes)
    assert all("\u2026" not in line for lines in blocks for line in lines)
    assert all("-132.6 /" in line for lines in blocks for line in lines[1:])


def test_a_pipe_gets_one_line_a_cycle_and_the_motors_that_were_silent(tmp_path, capsys):
    (wide,) = blackbox.tables(two_arms(), range(10, 30), None)
    assert all(line.count("/") == 12 for line in wide[1:])
    assert [line.count("missing") for line in wide[1:]] == [0] * 18 + [1] * 2
    blackbox.show(tmp_path / "x", two_arms(), 5)
    out = capsys.readouterr().out
    assert "no reply: right_elbow_flex in 2 of 30 cycles" in out
    assert max(line.count("/") for line in out.splitlines()) == 12
    assert "not asked" not in out


def test_a_motor_that_was_not_asked_is_told_from_one_that_did_not_answer(tmp_path, capsys):
    box = two_arms()
    box.head["skipped"][-4:] = 0b11
    blackbox.show(tmp_path / "x", box, 5)
    out = capsys.readouterr().out
    assert 'not asked ("-"), a cycle had no room for all motors: in 0 to 4 cycles a motor' in out
    assert out.count("/       -") == 8
    assert blackbox._plain(box)["not_asked"][-4:] == [["left_shoulder_pan", "left_shoulder_lift"]] * 4


def test_curves_go_into_a_folder_that_is_there(tmp_path, capsys):
    (tmp_path / "a.blackbox").write_bytes(box_bytes(2, 3))
    words = ["blackbox", str(tmp_path / "a.blackbox"), "--plot", str(tmp_path / "none" / "x.html")]
    assert main(words) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    words[-1] = str(tmp_path / "x.html")
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["silent"] == [[], [], []]
    assert (tmp_path / "x.html").is_file()


def test_without_a_black_box_it_is_said_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="there is none"):
        blackbox.newest()


def test_the_table_of_sockets_gives_the_guardians_alone():
    table = "Num RefCount\n0: 02 @rl-estop-12\n0: 02 /run/x\n0: 02 @rl-estop-evil\n0: 02 @rl-estop-7\n"
    assert guardians.listeners(table) == ["@rl-estop-12", "@rl-estop-7"]
    assert not guardians.send_estop("@rl-estop-0")


def test_of_two_arms_the_one_that_fell_silent_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    from rl.control.composite import Composite, CompositeTeleoperator
    from rl.control.screen import rows_of
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sources import LeaderSource
    from rl.plugins.so101.config import LeaderConfig, So101Config
    from rl.plugins.so101.leader import So101Leader
    from rl.plugins.so101.robot import So101

    robot = Composite({side: So101(So101Config(port="sim")) for side in ("left", "right")})
    leader = CompositeTeleoperator({side: So101Leader(LeaderConfig(port="sim", wave=True)) for side in robot.parts})
    marked = set()

    class Silence:
        def begin(self, session):
            pass

        def poll(self, session):
            look = session.loop.snapshot()
            if look.state == "ACTIVE":
                robot.parts["right"].emulator.fault("mute", id=3)
            marked.update(row.joint for row in rows_of(look, robot) if row.fault)

        def end(self, session):
            pass

    with Session(robot, LeaderSource(leader), sinks=[Silence()], settings=Settings(duration=30), say=print) as session:
        with pytest.raises(RlError, match="right_elbow_flex"):
            session.run()
        missing = session.outcome.reports["core"]["missing"]
    assert max(missing, key=missing.get) == "right_elbow_flex"
    assert "right_elbow_flex" in marked
    assert black_box.read(blackbox.newest()).axes[6:8] == ("right_shoulder_pan", "right_shoulder_lift")


def test_load_and_temperature_reach_the_table_of_a_session():
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sources import LeaderSource
    from rl.plugins.so101.config import LeaderConfig, So101Config
    from rl.plugins.so101.leader import So101Leader
    from rl.plugins.so101.robot import So101

    robot, leader = So101(So101Config(port="sim")), So101Leader(LeaderConfig(port="sim", wave=True))
    with Session(robot, LeaderSource(leader), settings=Settings(duration=0.5), say=print) as session:
        session.run()
        look = session.loop.snapshot()
    assert (look.temperature > 10).all()
    assert (look.temperature < 60).all()
    assert np.isfinite(look.load).all()


def test_a_session_whose_guardian_is_killed_ends_with_its_arm_laid_down(tmp_path, monkeypatch):
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sources import LeaderSource
    from rl.plugins.so101.config import LeaderConfig, So101Config
    from rl.plugins.so101.leader import So101Leader
    from rl.plugins.so101.robot import So101

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    robot, hand = So101(So101Config(port="sim")), LeaderSource(So101Leader(LeaderConfig(port="sim", wave=True)))
    settings = Settings(duration=0, soft_start_s=0.3, house="guardian")
    with Session(robot, hand, settings=settings, say=lambda line: None) as running:
        running.connect()
        running.join()

        def kill():
            os.kill(running.loop.members[0].loop.report()["guardian"], signal.SIGKILL)

        when(reached(running, "ACTIVE"), kill)
        with pytest.raises(RlError, match="guardian died"):
            running.run()
        report = running.loop.reports()["core"]
        torque = [robot.emulator.registers(motor)[40] for motor in range(1, 7)]
    assert torque == [0] * 6
    assert ("OFF", "rest pose reached") in [(state[0], state[2]) for state in report["states"]]
