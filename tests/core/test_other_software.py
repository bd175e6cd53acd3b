"""Programs that are not ours, on the emulated arm: Feetech's own library, and LeRobot's SO-101 classes.

LeRobot is asked through LEROBOT_PYTHON, the interpreter of an environment that has it; without it that test is skipped.
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rl import _core

scs = pytest.importorskip("scservo_sdk", reason="feetech-servo-sdk is not installed")

OK = 0
TORQUE, GOAL, LOCK, PRESENT, P_GAIN = 40, 42, 55, 56, 21
IDS = range(1, 7)
WORKER = Path(__file__).parents[1] / "fixtures" / "lerobot_arms.py"


class Line:
    """The library's two handlers on an emulated arm. Its time-out is 34 ms: a host may stand still for longer, so what
    may be repeated is."""

    def __init__(self) -> None:
        self.emulator = _core.Emulator()
        self.port = scs.PortHandler(self.emulator.port)
        assert self.port.openPort()
        self.packets = scs.PacketHandler(0)

    def until_ok(self, call: Callable[[], tuple[Any, ...]]) -> Any:
        """The value of a call that ends with (value, result, error), or (result, error), tried up to ten times."""
        for _ in range(10):
            *value, result, _ = call()
            if result == OK:
                return value[0] if value else None
            time.sleep(0.05)
            self.port.ser.reset_input_buffer()
        raise AssertionError(self.packets.getTxRxResult(result))

    def read(self, servo: int, address: int, size: int = 1) -> int:
        call = self.packets.read1ByteTxRx if size == 1 else self.packets.read2ByteTxRx
        return int(self.until_ok(lambda: call(self.port, servo, address)))

    def write(self, servo: int, address: int, value: int, size: int = 1) -> None:
        call = self.packets.write1ByteTxRx if size == 1 else self.packets.write2ByteTxRx
        self.until_ok(lambda: call(self.port, servo, address, value))

    def close(self) -> None:
        self.port.closePort()
        self.emulator.close()


@pytest.fixture
def line() -> Iterator[Line]:
    one = Line()
    yield one
    one.close()


def test_the_vendors_library_pings_reads_and_writes(line: Line) -> None:
    for servo in IDS:
        assert line.until_ok(lambda s=servo: line.packets.ping(line.port, s)) == 777
    line.write(3, LOCK, 0)
    line.write(3, P_GAIN, 17)
    line.write(3, LOCK, 1)
    assert line.read(3, P_GAIN) == 17
    assert line.read(3, PRESENT, 2) == line.emulator.positions()[2]
    assert line.packets.ping(line.port, 9)[1] != OK
    assert line.emulator.statistics()["eeprom_writes"] >= 1


def test_the_vendors_library_moves_all_motors_at_once(line: Line) -> None:
    start = [int(p) for p in line.emulator.positions()]
    goals = [p + 60 for p in start]
    group = scs.GroupSyncWrite(line.port, line.packets, GOAL, 2)
    for servo, goal in zip(IDS, goals, strict=True):
        assert group.addParam(servo, [goal & 255, goal >> 8])
    assert group.txPacket() == OK
    for servo in IDS:
        line.write(servo, TORQUE, 1)
    reader = scs.GroupSyncRead(line.port, line.packets, PRESENT, 2)
    for servo in IDS:
        assert reader.addParam(servo)
    seen: list[int] = []
    until = time.monotonic() + 20
    while seen != goals and time.monotonic() < until:
        if reader.txRxPacket() == OK:
            seen = [reader.getData(servo, PRESENT, 2) for servo in IDS]
        else:
            line.port.ser.reset_input_buffer()
    assert seen == goals
    assert [int(g) for g in line.emulator.goals()[-1]] == goals


def test_the_vendors_library_hears_every_motor_answer_a_broadcast(line: Line) -> None:
    found: list[int] = []
    for _ in range(10):  # it has no broadcast ping of its own: the request is sent by it, the burst read here
        line.port.ser.reset_input_buffer()
        ping = [0, 0, scs.BROADCAST_ID, 2, scs.INST_PING, 0]
        assert line.packets.txPacket(line.port, ping) == OK
        line.port.is_using = False
        burst, until = b"", time.monotonic() + 1
        while len(burst) < 36 and time.monotonic() < until:
            burst += line.port.readPort(36)
        found = [burst[at + 2] for at in range(0, len(burst), 6)]
        if len(burst) == 36:
            break
    assert found == list(IDS)


def test_the_vendors_library_changes_ids_and_rates(line: Line) -> None:
    line.packets.write1ByteTxRx(line.port, 6, 5, 16)  # not repeated: the second would be for nobody
    assert line.read(16, 5) == 16
    assert line.packets.ping(line.port, 6)[1] != OK
    line.packets.write1ByteTxRx(line.port, 16, 6, 1)
    assert line.packets.ping(line.port, 16)[1] != OK
    line.port.closePort()
    assert line.port.setBaudRate(500_000)
    assert line.read(16, 6) == 1
    line.port.closePort()
    assert line.port.setBaudRate(1_000_000)
    assert line.read(1, 5) == 1


# --- LeRobot


class Worker:
    """LeRobot's classes in their own interpreter, typed to like a person."""

    def __init__(self, python: str, *words: object) -> None:
        command = [python, str(WORKER), *map(str, words)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.told = ""

    def hear(self, text: str, seconds: float = 120) -> str:
        """What it said up to and with the text; that is forgotten then."""
        until = time.monotonic() + seconds
        while text not in self.told:
            assert self.child.stdout is not None
            ready, _, _ = select.select([self.child.stdout], [], [], max(0.0, until - time.monotonic()))
            more = os.read(self.child.stdout.fileno(), 65536).decode() if ready else ""
            assert more, f"it never said {text!r}:\n{self.told[-3000:]}"
            self.told += more
        before, self.told = self.told.split(text, 1)
        return before

    def type(self, line: str = "") -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def result(self) -> Any:
        self.hear("RESULT ")
        return json.loads(self.hear("\n"))


def place(emulator: _core.Emulator, encoders: list[int]) -> None:
    """A hand puts the joints there and waits until the program has looked three times."""
    for servo, encoder in zip(IDS, encoders, strict=True):
        emulator.carry(servo, encoder)
    seen, until = emulator.statistics()["sync_reads"], time.monotonic() + 20
    while emulator.statistics()["sync_reads"] < seen + 3:
        assert time.monotonic() < until
        time.sleep(0.01)


def calibrate(worker: Worker, emulator: _core.Emulator) -> None:
    """LeRobot's two steps: the middle, then the ranges. The middle lies somewhere else on each encoder."""
    middle = [1500 + 100 * servo for servo in IDS]
    worker.hear("to the middle of its range of motion and press ENTER")
    for servo, encoder in zip(IDS, middle, strict=True):
        emulator.carry(servo, encoder)
    worker.type()
    worker.hear("Press ENTER to stop")
    place(emulator, middle)
    for step in (-700, 800, 0):
        place(emulator, [m + step for m in middle])
    worker.type()


def wanted_calibration() -> dict[str, dict[str, int]]:
    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    found = {}
    for servo, name in zip(IDS, names, strict=True):
        full = name == "wrist_roll"
        offset, low, high = 1500 + 100 * servo - 2047, 0 if full else 2047 - 700, 4095 if full else 2047 + 800
        found[name] = {"id": servo, "drive_mode": 0, "homing_offset": offset, "range_min": low, "range_max": high}
    return found


def registers_of(emulator: _core.Emulator) -> list[tuple[int, int, int]]:
    """(offset, lowest, highest) that each servo has stored."""
    found = []
    for servo in IDS:
        memory = emulator.registers(servo)
        low, high, offset = (int.from_bytes(memory[at : at + 2], "little") for at in (9, 11, 31))
        found.append(((offset & 0x7FF) * (-1 if offset & 0x800 else 1), low, high))
    return found


def test_lerobots_arms_connect_calibrate_and_move(tmp_path: Path) -> None:
    python = os.environ.get("LEROBOT_PYTHON")
    if not python:
        pytest.skip("LEROBOT_PYTHON is not set: LeRobot's own classes were not tried")
    follower, leader = _core.Emulator(), _core.Emulator("so101-leader")
    worker = Worker(python, follower.port, leader.port, tmp_path)
    try:
        for emulator, kind in ((follower, "follower"), (leader, "leader")):
            calibrate(worker, emulator)
            worker.hear(f"{kind} connected")
            assert json.loads((tmp_path / kind / "arm.json").read_text()) == wanted_calibration()
            joints = wanted_calibration().values()
            assert registers_of(emulator) == [(j["homing_offset"], j["range_min"], j["range_max"]) for j in joints]
        moved = worker.result()
        assert moved["error"] < 1.5
        assert [follower.registers(i)[TORQUE] for i in IDS] == [1] * 6
        for servo in IDS:
            leader.carry(servo, 1500 + 100 * servo + 300)
        worker.type()
        pose = worker.result()
        assert pose["shoulder_pan.pos"] == pytest.approx((2047 + 300 - (1347 + 2847) / 2) * 360 / 4095, abs=0.2)
        assert pose["gripper.pos"] == pytest.approx((700 + 300) / 1500 * 100, abs=0.2)
        worker.hear("disconnected")
        assert worker.child.wait(30) == 0
        assert [follower.registers(i)[TORQUE] for i in IDS] == [0] * 6
    finally:
        worker.child.kill()
        worker.child.communicate()
        follower.close()
        leader.close()
