"""The bus of set-up: what it finds on a line of unknown motors, what it changes, and that nothing gains torque."""

import os
import pty
import re
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rl import _core

TORQUE, LOCK = 40, 55


@pytest.fixture
def arm() -> Iterator[_core.Emulator]:
    emulator = _core.Emulator()
    yield emulator
    moved = [r for r in range(1, 7) if emulator.registers(r)[TORQUE] == 1]
    statistics = emulator.statistics()
    emulator.close()
    assert moved == []
    assert statistics["goal_writes"] == 0


@pytest.fixture
def bus(arm: _core.Emulator) -> Iterator[_core.SetupBus]:
    made = _core.SetupBus(arm.port, "sts3215", {3: "elbow_flex"})
    made.open()
    yield made
    made.close()


def error_of(call: Any) -> _core.CoreError:
    with pytest.raises(_core.CoreError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value


def alone(arm: _core.Emulator, *places: int) -> None:
    for place in range(1, 7):
        arm.fault("unmute" if place in places else "mute", id=place)


def test_a_scan_finds_every_motor(bus: _core.SetupBus) -> None:
    found = bus.scan()
    assert [m["id"] for m in found] == [1, 2, 3, 4, 5, 6]
    assert {m["model_name"] for m in found} == {"sts3215"}
    assert {m["firmware"] for m in found} == {310}
    assert not any(m["several"] for m in found)


@pytest.mark.parametrize("model", ["sts3215", "scs0009"])
def test_a_motor_that_misses_its_call_is_found_by_the_next(arm: _core.Emulator, model: str) -> None:
    bus = _core.SetupBus(arm.port, model)
    bus.open()
    arm.fault("mute", id=4)
    back = threading.Timer(0.4, lambda: arm.fault("unmute", id=4))
    back.start()
    assert [m["id"] for m in bus.scan()] == [1, 2, 3, 4, 5, 6]
    back.join()
    bus.close()


def test_an_echoing_adapter_is_seen_without_a_motor(arm: _core.Emulator) -> None:
    arm.fault("echo", on=True)
    bus = _core.SetupBus(arm.port, "sts3215")
    alone(arm)
    bus.open()
    assert bus.echoes
    assert bus.look(1) is None
    alone(arm, 4)
    assert bus.look(4)["model"] == 777
    assert [m["id"] for m in bus.scan()] == [4]
    bus.close()


def test_two_motors_with_one_id_are_recognised(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    arm.set_register(2, 5, bytes([5]))
    assert bus.look(5)["several"]
    assert [m["id"] for m in bus.scan() if m["several"]] == [5]
    before = arm.statistics()["writes"]
    error = error_of(lambda: bus.readdress(5, 9))
    assert error.code == "usage"
    assert "two motors with id 5" in str(error)
    assert arm.statistics()["writes"] == before


def test_a_motor_is_found_at_another_rate_and_brought_to_the_usual_one(arm: _core.Emulator) -> None:
    alone(arm, 6)
    arm.set_register(6, 5, bytes([1]))
    arm.set_register(6, 6, bytes([4]))
    bus = _core.SetupBus(arm.port, "sts3215")
    bus.open()
    assert bus.scan() == []
    bus.open(115_200)
    assert [(m["id"], m["baud"]) for m in bus.scan()] == [(1, 115_200)]
    changes = bus.readdress(1, 6)
    assert changes == [(6, "ID", 1, 6, True), (6, "Baud_Rate", 4, 0, True)]
    assert bus.baud == 1_000_000
    assert bus.look(6)["id"] == 6
    registers = arm.registers(6)
    assert (registers[5], registers[6], registers[LOCK]) == (6, 0, 1)
    bus.close()


def test_the_same_id_again_writes_nothing(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    before = arm.statistics()["eeprom_writes"]
    assert [written for *_, written in bus.readdress(3, 3)] == [False, False]
    assert arm.statistics()["eeprom_writes"] == before


def test_an_id_that_another_motor_has_is_not_given_again(bus: _core.SetupBus) -> None:
    assert "id 4 is another motor's" in str(error_of(lambda: bus.readdress(3, 4)))


def test_registers_are_written_only_where_they_differ_and_the_lock_ends_closed(
    arm: _core.Emulator, bus: _core.SetupBus
) -> None:
    for motor in range(1, 7):
        arm.set_register(motor, LOCK, bytes([0]))
    held = bus.read(3, "Homing_Offset")
    values = [(3, "Homing_Offset", -17), (3, "Operating_Mode", 0), (2, "Operating_Mode", 0)]
    done = bus.store(values)
    assert sorted(done) == sorted(
        [
            (2, "Operating_Mode", 0, 0, False),
            (3, "Homing_Offset", held, -17, True),
            (3, "Operating_Mode", 0, 0, False),
        ]
    )
    assert bus.read(3, "Homing_Offset") == -17
    assert [arm.registers(m)[LOCK] for m in (2, 3)] == [1, 1]
    before = arm.statistics()["writes"]
    bus.store(values)
    assert arm.statistics()["writes"] == before


def test_nothing_is_stored_in_a_motor_with_torque(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    arm.set_register(3, TORQUE, bytes([1]))
    before = arm.statistics()["writes"]
    error = error_of(lambda: bus.store([(2, "Homing_Offset", 5), (3, "Homing_Offset", 5)]))
    assert "elbow_flex (id 3)" in str(error)
    assert "energised" in str(error)
    assert arm.statistics()["writes"] == before
    assert bus.relax([3]) == []
    assert arm.registers(3)[TORQUE] == 0


def test_what_was_written_before_a_failure_is_put_back(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    old = bus.read(2, "Homing_Offset")
    arm.fault("mute", id=3)
    assert error_of(lambda: bus.store([(2, "Homing_Offset", 5), (3, "Homing_Offset", 5)])).code == "motor-missing"
    assert bus.read(2, "Homing_Offset") == old
    assert arm.registers(2)[LOCK] == 1


@pytest.mark.parametrize("name", ["Torque_Enable", "Goal_Position", "Lock", "Present_Position", "ID", "Goal_Colour"])
def test_what_could_move_or_lose_a_motor_cannot_be_stored(bus: _core.SetupBus, name: str) -> None:
    assert "no register that set-up stores" in str(error_of(lambda: bus.store([(1, name, 1)])))


def test_a_value_that_does_not_fit_is_refused(bus: _core.SetupBus) -> None:
    for value in (2048, -2048):
        assert "does not fit" in str(error_of(lambda v=value: bus.store([(1, "Homing_Offset", v)])))


def test_positions_come_at_once_and_leave_a_silent_motor_out(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    arm.fault("mute", id=4)
    found = bus.positions([1, 2, 3, 4, 5, 6])
    assert sorted(found) == [1, 2, 3, 5, 6]
    assert [found[i][0] for i in sorted(found)] == [int(arm.positions()[i - 1]) for i in sorted(found)]


def test_a_restart_and_factory_values_leave_a_motor_without_torque(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    bus.reboot(2)
    assert arm.statistics()["reboots"] == 1
    assert bus.restore_factory(2) == 2
    assert bus.read(2, "Homing_Offset") == 0
    arm.set_register(2, TORQUE, bytes([1]))
    assert "energised" in str(error_of(lambda: bus.reboot(2)))
    arm.set_register(2, TORQUE, bytes([0]))


def test_lost_and_damaged_replies_do_not_invent_motors(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    arm.fault("corrupt", rate=0.05)
    arm.fault("drop", rate=0.05)
    assert all(bus.read(3, "Model_Number") == 777 for _ in range(20))
    arm.fault("noise", rate=0.1)
    assert not any(motor["several"] for motor in map(bus.look, range(1, 7)))
    assert bus.look(200) is None


def test_an_scs_line_is_asked_one_by_one(arm: _core.Emulator) -> None:
    bus = _core.SetupBus(arm.port, "scs0009")
    bus.open()
    assert [m["id"] for m in bus.scan()] == [1, 2, 3, 4, 5, 6]
    statistics = arm.statistics()
    assert statistics["pings"] >= 254
    assert bus.positions([1, 2])
    assert arm.statistics()["sync_reads"] == 0
    bus.close()


def test_a_motor_that_acknowledges_no_write_is_stored_all_the_same(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    arm.set_register(2, 8, bytes([0]))
    assert bus.store([(2, "P_Coefficient", 20)])[0][-1]
    assert (arm.registers(2)[21], arm.registers(2)[LOCK]) == (20, 1)


class BigEndianServo(threading.Thread):
    """One SCS0009, id 7, as the facts have it: words big-endian, the lock at 48, silent at a sync-read."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.memory = bytearray(128)
        self.memory[0:6] = bytes([1, 7, 1, 5, 4, 7])
        self.memory[48] = 1
        self.memory[56:58] = (700).to_bytes(2, "big")
        self.instructions: list[int] = []
        self.start()

    def run(self) -> None:
        data = b""
        while True:
            try:
                data += os.read(self.master, 256)
            except OSError:
                return
            while len(data) >= 4 and len(data) >= data[3] + 4:
                request, data = data[: data[3] + 4], data[data[3] + 4 :]
                self.instructions.append(request[4])
                if request[2] == 7:
                    self.answer(request[4], request[5:-1])

    def answer(self, instruction: int, body: bytes) -> None:
        data = b""
        if instruction == 2:
            data = bytes(self.memory[body[0] : body[0] + body[1]])
        elif instruction == 3:
            self.memory[body[0] : body[0] + len(body) - 1] = body[1:]
        packet = bytes([7, len(data) + 2, 0]) + data
        os.write(self.master, b"\xff\xff" + packet + bytes([~sum(packet) & 0xFF]))

    def close(self) -> None:
        os.close(self.slave)
        os.close(self.master)


def test_an_scs_motor_is_read_and_stored_big_endian() -> None:
    servo = BigEndianServo()
    bus = _core.SetupBus(os.ttyname(servo.slave), "scs0009")
    bus.open()
    found = bus.look(7)
    assert (found["model"], found["model_name"], found["firmware"]) == (1284, "scs0009", 107)
    assert bus.positions([7])[7][0] == 700
    assert bus.store([(7, "Max_Position_Limit", 1000)]) == [(7, "Max_Position_Limit", 0, 1000, True)]
    assert bytes(servo.memory[11:13]) == (1000).to_bytes(2, "big")
    assert servo.memory[48] == 1
    assert 0x82 not in servo.instructions
    bus.close()
    servo.close()


def test_a_port_that_is_gone_or_closed_says_so(arm: _core.Emulator, bus: _core.SetupBus) -> None:
    other = _core.SetupBus("/dev/ttyNONE7", "sts3215")
    assert error_of(other.open).code == "absent"
    assert error_of(other.scan).code == "usage"
    assert error_of(lambda: _core.SetupBus(arm.port, "sts9999")).code == "usage"
    arm.fault("hangup")
    assert error_of(lambda: bus.read(1, "ID")).code == "lost"


@pytest.mark.shared
def test_the_register_tables_are_those_of_the_facts(shared: Path) -> None:
    facts = (shared / "facts" / "realtime.md").read_text()
    section = facts[facts.index("### A7 Register tables") : facts.index("### A7b Models")]
    row = re.compile(r"^\| (\d+) \| (\d) \| (\w+) \| (RW?|) \|", re.M)
    wanted = {n: (int(a), int(s), acc) for a, s, n, acc in row.findall(section[: section.index("**SCS0009**")])}
    for model in ("sts3215", "sts3250", "sm8512bl"):
        table = {name: (address, size, writable) for name, address, size, _, writable in _core.register_table(model)}
        compared = 0
        for name, (address, size, access) in wanted.items():
            if name.startswith("Goal") and "copy" in section.split(name)[1][:8]:
                continue
            assert table[name][:2] == (address, size), name
            assert not access or table[name][2] == (access == "RW"), name
            compared += 1
        assert compared >= 50
    signs = {name: sign for name, _, _, sign, _ in _core.register_table("sts3215")}
    assert (signs["Homing_Offset"], signs["Present_Position"], signs["Present_Load"]) == (11, 15, 10)
    scs = {name: (address, size) for name, address, size, *_ in _core.register_table("scs0009")}
    assert scs["Lock"] == (48, 1)
    assert scs["PWM_Maximum_Step"] == (78, 1)
    assert all(sign is None for _, _, _, sign, _ in _core.register_table("scs0009"))
    assert "Homing_Offset" not in scs


# --- ports


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A machine with two adapters: CDC-ACM with a serial number, FTDI with a latency timer."""
    sys, dev = tmp_path / "sys", tmp_path / "dev"
    (dev / "serial" / "by-id").mkdir(parents=True)
    for name, serial, levels, vendor in (
        ("ttyACM0", "5A46", "1-1/1-1:1.0", "1a86"),
        ("ttyUSB3", "FT99", "1-2/1-2:1.0/ttyUSB3", "0403"),
    ):
        device = sys / "devices" / levels
        device.mkdir(parents=True)
        usb = sys / "devices" / levels.split("/")[0]
        (usb / "serial").write_text(serial + "\n")
        (usb / "idVendor").write_text(vendor + "\n")
        (usb / "idProduct").write_text("55d3\n")
        (usb / "product").write_text("USB \x1b[31mSerial\n")
        (sys / "class" / "tty" / name).mkdir(parents=True)
        (sys / "class" / "tty" / name / "device").symlink_to(device)
        (dev / name).touch()
        (dev / "serial" / "by-id" / f"usb-{serial}").symlink_to(dev / name)
    (sys / "devices" / "1-2/1-2:1.0/ttyUSB3" / "latency_timer").write_text("16\n")
    (sys / "class" / "tty" / "tty0").mkdir()
    return {"sys": str(sys), "dev": str(dev)}


def test_ports_are_listed_with_name_serial_number_and_latency(machine: dict[str, str]) -> None:
    first, second = _core.usb_ports(**machine)
    assert (first["path"], first["serial"], first["latency_ms"]) == (f"{machine['dev']}/ttyACM0", "5A46", -1)
    assert first["by_id"] == f"{machine['dev']}/serial/by-id/usb-5A46"
    assert first["name"] == "USB [31mSerial"  # an adapter cannot command the terminal
    assert (second["serial"], second["latency_ms"]) == ("FT99", 16)
    assert first["slow"] == ""
    assert f"for 16 ms; set its timer with: echo 1 | sudo tee {second['latency_file']}" in second["slow"]
    Path(second["latency_file"]).write_text("1")
    assert _core.usb_ports(**machine)[1]["slow"] == ""


def test_an_adapter_is_found_again_by_its_serial_number(machine: dict[str, str]) -> None:
    assert _core.find_port_by_serial("FT99", **machine) == f"{machine['dev']}/ttyUSB3"
    assert error_of(lambda: _core.find_port_by_serial("nope", **machine)).code == "absent"
    assert error_of(lambda: _core.find_port_by_serial("", **machine)).code == "usage"
    (Path(machine["sys"]) / "devices/1-2/serial").write_text("5A46")
    assert "two adapters" in str(error_of(lambda: _core.find_port_by_serial("5A46", **machine)))
    assert _core.usb_port(f"{machine['dev']}/serial/by-id/usb-5A46", **machine)["serial"] == "5A46"


def test_a_pseudo_terminal_has_no_usb_facts(arm: _core.Emulator) -> None:
    assert _core.usb_port(arm.port)["serial"] == ""
