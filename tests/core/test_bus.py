"""The handle of a bus: what it finds, what it says, what it cannot do."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl import _core


@pytest.fixture
def arm() -> Iterator[_core.Emulator]:
    emulator = _core.Emulator()
    yield emulator
    emulator.close()


@pytest.fixture
def bus(arm: _core.Emulator) -> Iterator[_core.ServoBus]:
    handle = _core.ServoBus(arm.port, "sts3215", arm.calibration())
    handle.open()
    yield handle
    handle.close()


def error_of(call: Any) -> _core.CoreError:
    with pytest.raises(_core.CoreError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_healthy_arm_passes_and_reads_its_pose(arm: _core.Emulator, bus: _core.ServoBus) -> None:
    bus.configure()
    assert bus.check() == []
    values, captured, age, faults = bus.read()
    want = [j.to_unit(int(p)) for j, p in zip(arm.calibration(), arm.positions(), strict=True)]
    np.testing.assert_allclose(values, want, atol=0.5)
    assert abs(_core.monotonic_ns() - captured) < 1e9
    assert (age < 0.5).all()
    assert faults == []


def test_configuring_twice_writes_nothing_the_second_time(arm: _core.Emulator, bus: _core.ServoBus) -> None:
    bus.configure()
    before = arm.statistics()
    assert bus.configure() == 0
    after = arm.statistics()
    assert after["writes"] == before["writes"]
    assert after["eeprom_writes"] == before["eeprom_writes"]
    assert bus.read_register(3, "Lock") == 1


def test_a_calibration_that_differs_is_named_and_can_be_written(arm: _core.Emulator, bus: _core.ServoBus) -> None:
    joints = arm.calibration()
    joints[2].homing_offset += 17
    bus.close()
    other = _core.ServoBus(arm.port, "sts3215", joints)
    other.open()
    error = error_of(other.check)
    assert error.code == "calibration"
    assert "elbow_flex (id 3)" in str(error)
    assert other.configure() > 0
    assert other.read_register(3, "Homing_Offset") == joints[2].homing_offset
    other.close()


def test_a_missing_motor_is_named(arm: _core.Emulator, bus: _core.ServoBus) -> None:
    arm.fault("mute", id=3)
    error = error_of(bus.check)
    assert error.code == "motor-missing"
    assert str(error) == f"motor missing: elbow_flex (id 3) does not answer on {arm.port}; check its cable"
    assert bus.ping(3) is None
    assert bus.ping(4) == 777


def test_a_wrong_model_is_named(arm: _core.Emulator, bus: _core.ServoBus) -> None:
    arm.fault("model", id=2, number=2825)
    error = error_of(bus.check)
    assert error.code == "wrong-model"
    assert "shoulder_lift (id 2)" in str(error)
    assert "sts3250 (2825)" in str(error)


def test_an_echoing_adapter_is_recognised(arm: _core.Emulator) -> None:
    arm.fault("echo", on=True)
    bus = _core.ServoBus(arm.port, "sts3215", arm.calibration())
    bus.open()
    bus.configure()
    assert bus.check() == []
    assert bus.read()[3] == []
    bus.close()


def test_an_absent_port_a_busy_port_and_a_file_say_so(arm: _core.Emulator, bus: _core.ServoBus, tmp_path: Any) -> None:
    def opened(port: str) -> Any:
        return _core.ServoBus(port, "sts3215", arm.calibration()).open

    assert error_of(opened("/dev/ttyNONE7")).code == "absent"
    assert error_of(opened(arm.port)).code == "busy"
    (tmp_path / "plain").write_text("no port")
    assert error_of(opened(str(tmp_path / "plain"))).code == "usage"
    assert "no serial port" in str(error_of(opened(str(tmp_path / "plain"))))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every port: needs an ordinary user")
def test_a_forbidden_port_names_the_group(arm: _core.Emulator) -> None:
    Path(arm.port).chmod(0)
    error = error_of(_core.ServoBus(arm.port, "sts3215", arm.calibration()).open)
    assert error.code == "permission"
    assert "usermod -aG" in str(error)


def test_wrong_use_is_an_error(arm: _core.Emulator) -> None:
    joints = arm.calibration()
    closed = _core.ServoBus(arm.port, "sts3215", joints)
    assert closed.closed
    assert error_of(closed.read).code == "usage"
    assert error_of(lambda: _core.ServoBus(arm.port, "sts9999", joints)).code == "usage"
    joints[1].id = joints[0].id
    assert "both have id" in str(error_of(lambda: _core.ServoBus(arm.port, "sts3215", joints)))


def test_a_handle_has_no_call_that_moves_anything() -> None:
    public = {name for name in dir(_core.ServoBus) if not name.startswith("_")}
    assert public == {"check", "close", "closed", "configure", "open", "ping", "port", "read", "read_register"}


def test_a_register_that_is_not_there_is_named(bus: _core.ServoBus) -> None:
    error = error_of(lambda: bus.read_register(1, "Goal_Colour"))
    assert error.code == "usage"
    assert "Goal_Colour" in str(error)
