"""The emulated servo chain as a stranger sees it: a serial port, spoken to with bytes made here."""

import errno
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rl import _core

PING, READ, WRITE, REBOOT, SYNC_READ, SYNC_WRITE, EVERYBODY = 0x01, 0x02, 0x03, 0x08, 0x82, 0x83, 0xFE
IDS = range(1, 7)
JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
# Golden replies that need a body in a given motion: the emulator's registers follow its own.
MOVING = {"read present load -300 (sign bit 10)", "read state block 56..70 (15 bytes)"}
MOVING |= {"sync read 15-byte state block, ids 1,2"}


def packet(servo: int, instruction: int, *params: int) -> bytes:
    body = bytes([servo, len(params) + 2, instruction, *params])
    return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


class Line:
    """An emulator and its opened port."""

    def __init__(self, *args: object, **options: object) -> None:
        self.emulator = _core.Emulator(*args, **options)
        self.fd = os.open(self.emulator.port, os.O_RDWR | os.O_NOCTTY)

    def hear(self, size: int, timeout: float = 0.5) -> bytes:
        """What comes until `size` bytes are there or nothing more comes for `timeout` s."""
        got = b""
        while len(got) < size and select.select([self.fd], [], [], timeout)[0]:
            got += os.read(self.fd, 256)
        return got

    def ask(self, request: bytes, size: int, timeout: float = 0.5) -> bytes:
        os.write(self.fd, request)
        return self.hear(size, timeout)

    def write(self, servo: int, address: int, *data: int) -> None:
        assert self.ask(packet(servo, WRITE, address, *data), 6) == packet(servo, 0)

    def read(self, servo: int, address: int, size: int) -> bytes:
        reply = self.ask(packet(servo, READ, address, size), 6 + size)
        assert reply[:4] == bytes([0xFF, 0xFF, servo, size + 2]), reply.hex()
        assert reply[-1] == ~sum(reply[2:-1]) & 0xFF
        return reply[5:-1]

    def close(self) -> None:
        os.close(self.fd)
        self.emulator.close()


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    lines: list[Line] = []

    def make(*args: object, **options: object) -> Line:
        lines.append(Line(*args, **options))
        return lines[-1]

    yield make
    for each in lines:
        each.close()


def set_up(emulator: _core.Emulator, name: str) -> None:
    """Puts the servos into the state that a golden transaction starts from."""
    registers: dict[str, list[tuple[int, int, bytes]]] = {
        "ping id 2, voltage and overheat": [(2, 62, b"\x14"), (2, 63, b"\x60")],
        "read homing offset -769 (sign bit 11)": [(1, 31, words(2817))],
        "read temperature 31": [(4, 63, b"\x1f")],
        "read voltage 7.4 V": [(4, 62, b"\x4a")],
        "response level 0: write without reply": [(1, 8, b"\x00")],
        "read present position 2047": [(3, 56, words(2047))],
        "read present position -12 (sign bit 15)": [(3, 56, words(0x800C))],
        "sync read present position, ids 1..6": [
            (servo, 56, words(at)) for servo, at in zip(IDS, (2047, 1024, 3071, 2048, 512, 1800), strict=True)
        ],
    }
    faults: dict[str, list[tuple[str, dict[str, int]]]] = {
        "ping id 6, overload": [("overload", {"id": 6, "on": 1})],
        "write answered with overload bit": [("overload", {"id": 3, "on": 1})],
        "broadcast ping, motors 1,2,3 present": [("mute", {"id": servo}) for servo in (4, 5, 6)],
        "read model number, STS3250": [("model", {"id": 1, "number": 2825})],
        "read model number, SM8512BL": [("model", {"id": 1, "number": 11272})],
    }
    for servo, address, data in registers.get(name, ()):
        emulator.set_register(servo, address, data)
    for kind, fields in faults.get(name, ()):
        emulator.fault(kind, **fields)


def test_every_golden_transaction_gets_the_golden_bytes(shared: Path, line: Callable[..., Line]) -> None:
    frames = json.loads((shared / "golden" / "feetech_frames" / "frames.json").read_text())
    played = 0
    for frame in frames["transactions_protocol0"]:
        if frame["name"] in MOVING:
            continue
        one = line()
        set_up(one.emulator, frame["name"])
        wanted = "".join(frame["rx"])
        got = one.ask(bytes.fromhex(frame["tx"]), len(wanted) // 2 or 1, 0.5 if wanted else 0.01)
        assert got.hex() == wanted, frame["name"]
        played += 1
    assert played == len(frames["transactions_protocol0"]) - len(MOVING)


def test_registers_hold_the_calibration_that_it_tells(line: Callable[..., Line]) -> None:
    for kind in ("so101-follower", "so101-leader"):
        one = line(kind)
        joints = one.emulator.calibration("range_m100_100")
        assert [joint.name for joint in joints] == JOINTS
        assert [joint.id for joint in joints] == list(IDS)
        assert [joint.mode for joint in joints] == ["range_m100_100"] * 5 + ["range_0_100"]
        assert len({joint.homing_offset for joint in joints}) == 6
        for joint in joints:
            low, high = np.frombuffer(one.read(joint.id, 9, 4), "<u2")
            offset = int.from_bytes(one.read(joint.id, 31, 2), "little")
            assert (low, high) == (joint.range_min, joint.range_max)
            assert (offset & 0x7FF) * (-1 if offset & 0x800 else 1) == joint.homing_offset
            assert one.read(joint.id, 0, 6) == bytes([3, 10, 0, 9, 3, joint.id])


def test_units_of_the_poses_are_the_cores_units(line: Callable[..., Line]) -> None:
    follower, leader = line().emulator, line("so101-leader", wave=True).emulator
    for mode in ("degrees", "range_m100_100"):
        pose = follower.rest_pose(mode)
        raw = follower.positions()
        seen = [joint.to_unit(int(r)) for joint, r in zip(follower.calibration(mode), raw, strict=True)]
        np.testing.assert_allclose(seen, pose, atol=0.1)
        np.testing.assert_allclose(leader.rest_pose(mode), pose, atol=1e-9)
        np.testing.assert_allclose(leader.wave_at(np.zeros(1), mode)[0], pose, atol=1e-9)


def test_wave_is_smooth_periodic_and_tells_its_phase(line: Callable[..., Line]) -> None:
    leader = line("so101-leader", wave=True).emulator
    t = np.arange(0, 13, 0.002)
    poses = leader.wave_at(t)
    speed = np.abs(np.diff(poses, axis=0)) / 0.002
    assert poses.shape == (len(t), 6)
    assert speed.max() <= 60
    assert speed[0].max() < 0.01, "it starts at rest"
    np.testing.assert_allclose(leader.wave_at(t + leader.wave_period_s)[t > 1], poses[t > 1], atol=1e-9)
    circle = poses[t > 1][:, :2] - [0.0, -30.0]
    np.testing.assert_allclose(np.hypot(*circle.T), 25.0, atol=1e-9)


def test_waving_leader_stands_where_the_wave_says(line: Callable[..., Line]) -> None:
    one = line("so101-leader", wave=True)
    joints = one.emulator.calibration()
    for _ in range(5):
        time.sleep(0.2)
        before = time.monotonic_ns()
        values = [joint.to_unit(int(r)) for joint, r in zip(joints, one.emulator.positions(), strict=True)]
        after = time.monotonic_ns()
        span = one.emulator.wave_at((np.linspace(before, after, 20) - one.emulator.started) / 1e9)
        assert np.all(values >= span.min(0) - 0.1)
        assert np.all(values <= span.max(0) + 0.1)


def test_goals_move_the_arm_and_are_logged_with_their_time(line: Callable[..., Line]) -> None:
    one = line()
    start = one.emulator.positions()
    goals = start + 60
    for servo in IDS:
        one.write(servo, 40, 1)
    payload = [b for servo, goal in zip(IDS, goals, strict=True) for b in (servo, *words(int(goal)))]
    before = time.monotonic_ns()
    os.write(one.fd, packet(EVERYBODY, SYNC_WRITE, 42, 2, *payload))
    time.sleep(0.8)
    np.testing.assert_array_equal(one.emulator.positions(), goals)
    np.testing.assert_array_equal(one.emulator.goals(), [goals])
    (arrived,) = one.emulator.goal_times()
    assert before + 260_000 <= arrived <= time.monotonic_ns()
    assert one.emulator.goals().dtype == one.emulator.goal_times().dtype == np.int64


def test_positions_read_over_the_bus_take_at_least_the_wire_time(line: Callable[..., Line]) -> None:
    request = packet(EVERYBODY, SYNC_READ, 56, 2, *IDS)
    for usb_us in (0, 125, 1000):
        one = line(usb_us=usb_us)
        took = []
        for _ in range(20):
            before = time.monotonic()
            reply = one.ask(request, 48)
            took.append(time.monotonic() - before)
            assert [reply[i + 2] for i in range(0, 48, 8)] == list(IDS)
        assert min(took) >= 740e-6
        np.testing.assert_array_equal(
            [int.from_bytes(reply[i + 5 : i + 7], "little") for i in range(0, 48, 8)], one.emulator.positions()
        )


def test_locked_eeprom_forgets_at_reboot_and_open_one_remembers(line: Callable[..., Line]) -> None:
    one = line()
    one.write(1, 21, 77)
    one.write(2, 55, 0)
    one.write(2, 21, 77)
    assert (one.read(1, 21, 1), one.read(2, 21, 1)) == (b"\x4d", b"\x4d")
    assert one.emulator.statistics()["eeprom_writes"] == 1
    for servo in (1, 2):
        assert one.ask(packet(servo, REBOOT), 1, 0.02) == b""
    time.sleep(0.45)
    assert (one.read(1, 21, 1), one.read(2, 21, 1)) == (b"\x10", b"\x4d")
    assert one.read(2, 55, 1) == b"\x01"


def test_each_fault_does_what_it_says(line: Callable[..., Line]) -> None:
    one = line(usb_us=0, seed=3)
    fault, ping = one.emulator.fault, packet(1, PING)
    sound = packet(1, 0)

    fault("drop", rate=1.0, count=1)
    assert one.ask(ping, 6, 0.03) == b""
    assert one.ask(ping, 6) == sound

    fault("corrupt", rate=1.0, count=1)
    damaged = one.ask(ping, 6)
    assert sum(a != b for a, b in zip(damaged, sound, strict=True)) == 1

    fault("noise", rate=1.0, count=1)
    noisy = one.ask(ping, 15, 0.03)
    assert noisy.endswith(sound)
    assert len(noisy) > 6

    fault("late", rate=1.0, ms=60, count=1)
    assert one.ask(ping, 6, 0.02) == b""
    assert one.hear(6) == sound

    fault("mute", id=1)
    assert one.ask(ping, 6, 0.03) == b""
    fault("unmute", id=1)
    assert one.ask(ping, 6) == sound

    fault("stall", ms=60)
    before = time.monotonic()
    assert one.ask(ping, 6) == sound
    assert time.monotonic() - before >= 0.055

    fault("echo", on=True)
    assert one.ask(ping, 12) == ping + sound
    fault("echo", on=False)

    fault("overload", id=1, on=True)
    assert one.ask(ping, 6)[4] == 32
    assert one.read(1, 65, 1) == b"\x20"
    counted = one.emulator.statistics()
    assert [counted[key] for key in ("dropped", "corrupted", "noisy", "late")] == [1, 1, 1, 1]


def test_damaged_requests_get_no_answer_and_are_counted(line: Callable[..., Line]) -> None:
    one = line()
    request = bytearray(packet(1, PING))
    request[-1] ^= 1
    assert one.ask(bytes(request), 1, 0.03) == b""
    assert one.emulator.statistics()["checksum_errors"] == 1
    assert one.ask(b"\x00\xff" + packet(1, PING), 6) == packet(1, 0)


def test_no_packet_falls_into_another_one_whatever_noise_comes_before_it(line: Callable[..., Line]) -> None:
    one = line("so101-follower", profile="usb", seed=3)
    wanted = [bytes([0xFF, 0xFF, k, 4, 0, *one.read(k, 56, 2)]) for k in IDS]
    wanted = [body + bytes([~sum(body[2:]) & 0xFF]) for body in wanted]
    one.emulator.fault("noise", rate=0.5)
    for _ in range(100):
        heard = one.ask(packet(EVERYBODY, SYNC_READ, 56, 2, *IDS), 8 * 12, 0.01)
        places = [heard.find(each) for each in wanted]
        assert -1 not in places, heard.hex(" ")
        assert places == sorted(places)


def test_hangup_ends_the_port(line: Callable[..., Line]) -> None:
    one = line()
    one.emulator.fault("hangup")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.write(one.fd, packet(1, PING))
    assert len(one.emulator.positions()) == 6, "what it was can still be asked"


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("fire", {}, "no fault 'fire'"),
        ("drop", {}, "needs rate"),
        ("drop", {"rate": 2.0}, "rate is outside"),
        ("drop", {"rate": float("nan")}, "not finite"),
        ("mute", {"id": 7}, "id is outside"),
        ("stall", {"seconds": 1}, "needs ms"),
        ("hangup", {"id": 1}, "no field 'id'"),
    ],
)
def test_faults_that_do_not_fit_are_refused(
    line: Callable[..., Line], kind: str, fields: dict[str, float], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        line().emulator.fault(kind, **fields)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "so100"}, "no kind 'so100'"),
        ({"wave": True}, "only a so101-leader waves"),
        ({"usb_us": -1}, "usb_us"),
        ({"lag_s": float("inf")}, "lag_s"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        _core.Emulator(**options)


def test_idle_emulator_costs_no_processor_time(line: Callable[..., Line]) -> None:
    one = line()
    one.ask(packet(1, PING), 6)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02


EXCLUSIVE = """
import fcntl, os, sys, termios
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for _ in range(2):
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(fd, termios.TIOCEXCL)
    os.close(fd)
    import time; time.sleep(0.1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the test changes to an unprivileged user: it needs root")
def test_exclusive_use_ends_with_the_close_as_on_a_real_port(line: Callable[..., Line]) -> None:
    port = line().emulator.port
    Path(port).chmod(0o666)
    done = subprocess.run([sys.executable, "-S", "-c", EXCLUSIVE, port], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
