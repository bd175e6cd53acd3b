"""One chain of six servos with its calibration, real or emulated: what follower and leader share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rl.api import Feature, InputError, MissingPart, RlError
from rl.plugins.so101 import JOINTS, NAMES, calibration
from rl.plugins.so101.archive import Archive, archive_of
from rl.plugins.so101.config import LeaderConfig, So101Config

if TYPE_CHECKING:
    from rl.api.protocols import Screen, Version
    from rl.plugins.so101.motors import Watch

SPANS = (220.0, 200.0, 193.6, 190.0, 320.0)  # degrees between the mechanical stops, until a calibration says it
PORTS = "check the cable; `rl doctor` lists the ports"
DEGREES_A_STEP = 360 / 4095  # LeRobot's degrees


def feature(name: str, kind: Literal["state", "action"], units: str) -> Feature:
    """The arm's state or action: five body joints and the gripper."""
    return Feature(name, kind, (6,), unit=(units,) * 5 + ("percent",), names=NAMES)


class OnArm:
    """What follower and leader say of the one arm that they stand on."""

    _arm: Arm
    _watch: Watch | None = None

    @property
    def prefix(self) -> str:
        """Before each joint's name in what the core says of it; a composition sets it."""
        return self._arm.prefix

    @prefix.setter
    def prefix(self, value: str) -> None:
        self._arm.prefix = value

    @property
    def simulated(self) -> bool:
        return self._arm.simulated

    @property
    def emulator(self) -> Any:
        """The emulated arm of port sim, None otherwise or before `connect`."""
        return self._arm.emulator

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the connection."""
        return tuple(self._arm.notes)

    def connect(self) -> None:
        self._arm.connect()

    def core(self) -> list[tuple[slice, Any]]:
        return [(slice(0, 6), self._connected())]

    def close(self) -> None:
        self._arm.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def fingerprint(self) -> str:
        return self._arm.fingerprint()

    def calibrate(self, screen: Screen) -> None:
        from rl.plugins.so101.calibrating import calibrate

        calibrate(self._arm.config, screen, leader=self._arm.leader)

    def check_calibration(self, screen: Screen) -> None:
        from rl.plugins.so101.checking import check

        check(self._arm.config, screen, leader=self._arm.leader)

    def versions(self) -> list[Version]:
        return archive_of(self._arm.config, leader=self._arm.leader).versions()

    def restore(self, number: int, screen: Screen) -> None:
        from rl.plugins.so101.calibrating import restore

        restore(self._arm.config, number, screen, leader=self._arm.leader)

    def set_up(self, screen: Screen) -> None:
        from rl.plugins.so101.motors import set_up

        set_up(self._arm.config, screen, leader=self._arm.leader)

    def release(self, screen: Screen) -> None:
        from rl.plugins.so101.releasing import release

        release(self._arm.config, screen, leader=self._arm.leader)

    def raw_positions(self) -> dict[str, int]:
        from rl.plugins.so101.motors import Watch

        if self._watch is None:
            self._watch = Watch(self._arm.config, leader=self._arm.leader)
        return self._watch.positions()

    def _connected(self) -> Any:
        if self._arm.bus is None:
            raise RlError("not connected", where=self._arm.option, todo="call connect first")
        return self._arm.bus


class Arm:
    """The bus of one arm. Nothing is opened before `connect`.

    `calibration` (joint -> calibration.Joint) and `bus` are known after it, `notes` are lines for a person.
    """

    def __init__(self, config: So101Config | LeaderConfig, *, leader: bool) -> None:
        self.config, self.leader = config, leader
        self.option = "teleop" if leader else "robot"
        self.simulated = config.port == "sim"
        self.calibration: calibration.Calibration = {}
        self.bus: Any = None
        self.emulator: Any = None
        self.path: Path | None = None  # of its calibration; None for an emulated one
        self.rest: Any = None  # (6,) in units, as the arm's profile has it
        self.notes: list[str] = []
        self.prefix = ""

    def connect(self) -> None:
        """Errors: InputError without port or calibration; rl._core.CoreError naming port, joint and id."""
        if self.bus is not None:
            return
        option = self.option
        if not self.config.port:
            raise InputError("no port is given", where=option, todo=f"use --{option}.port /dev/ttyACM0, or sim")
        if not self.simulated and not Path(self.config.port).exists():  # before a calibration is asked for
            raise MissingPart(f"no serial port {self.config.port}", where=option, todo=PORTS)
        from rl import _core  # only an arm that is used pays for the core

        if self.simulated:
            joints, port = self._emulate(_core), self.emulator.port
        else:
            joints, port = self._joints(_core, option), self.config.port
        for joint in joints:
            joint.name = self.prefix + joint.name
        bus = _core.ServoBus(port, "sts3215", joints, energise=not self.leader)
        self.bus = bus
        try:
            self._meet(bus)
        except _core.CoreError as error:
            if error.code == "motor-missing":
                self._refuse_twins(port, joints)
            raise

    def _meet(self, bus: Any) -> None:
        """Open it, and compare what its motors hold."""
        from rl import _core

        option = self.option
        bus.open()
        if self.config.write_calibration and not self.simulated:
            self._refuse_another()
            self.notes.append(f"{option}: {bus.configure()} registers written")
        try:
            self.notes += [f"{option}: {warning}" for warning in bus.check()]
        except _core.CoreError as error:
            if error.code != "calibration":
                raise
            self._refuse_another()
            raise InputError(str(error).partition("; ")[0], todo=calibration.ways(option)) from None
        bus.configure()

    def _refuse_twins(self, port: str, joints: list[Any]) -> None:
        """Two motors with one id look like one that does not answer. Errors: InputError naming it."""
        from rl import _core
        from rl.plugins.so101.bench import BAUD, MODEL, refuse_twin

        self.bus.close()
        bus = _core.SetupBus(port, MODEL, {joint.id: joint.name for joint in joints})
        bus.open(BAUD)
        try:
            for joint in joints:
                refuse_twin(bus.look(joint.id), joint.name, port)
        finally:
            bus.close()

    def _refuse_another(self) -> None:
        """Errors: InputError when the motors hold what another arm's file says."""
        if self.path is None:
            return
        wanted = calibration.stored(self.calibration)
        held = {m: tuple(self.bus.read_register(m, name) for name in calibration.REGISTERS) for m in wanted}
        other = None if held == wanted else calibration.owner(held, self.path)
        if other is not None:
            what = f"the arm at {self.config.port} holds the calibration of {other}, not of {self.path.name}"
            todo = "are the ports swapped, or the ids? nothing was written"
            raise InputError(what, where=self.option, todo=todo)

    def _emulate(self, core: Any) -> Any:
        kind = "so101-leader" if self.leader else "so101-follower"
        self.emulator = core.Emulator(kind, wave=self.leader and getattr(self.config, "wave", False))
        joints = self.emulator.calibration(self.config.units)
        self.calibration = calibration.of_core(joints)
        what = "leader" if self.leader else "arm"
        self.notes.append(f"port sim: an emulated {what} at {self.emulator.port}, with the emulator's own calibration")
        return joints

    def _joints(self, core: Any, option: str) -> Any:
        role: calibration.Role = "teleoperators" if self.leader else "robots"
        path = calibration.find(role, self.config.id, self.config.calibration_dir, option)
        self.calibration, self.path = Archive(path).read(), path
        self.notes.append(f"{option}: calibration {path}")
        modes = dict.fromkeys(JOINTS, self.config.units) | {"gripper": "range_0_100"}
        found = self.calibration
        joints = [
            core.JointCalibration(
                name,
                found[name].id,
                found[name].drive_mode,
                found[name].homing_offset,
                found[name].range_min,
                found[name].range_max,
                modes[name],
            )
            for name in JOINTS
        ]
        self._take_rest(path, joints)
        return joints

    def _take_rest(self, path: Path, joints: list[Any]) -> None:
        """The rest pose that was recorded with this calibration; with another one its steps mean another pose."""
        try:
            profile = Archive(path).profile()
        except InputError as error:
            self.notes.append(f"{self.option}: {error}")
            return
        if profile is None or profile.rest is None or profile.calibration != self.fingerprint():
            return
        self.rest = [joint.to_unit(profile.rest[joint.name]) for joint in joints]

    def spans(self) -> tuple[float, ...]:
        """Degrees that each body joint may turn through: of the calibration, before `connect` of the drawing."""
        if not self.calibration:
            return SPANS
        return tuple(
            (self.calibration[j].range_max - self.calibration[j].range_min) * DEGREES_A_STEP for j in JOINTS[:5]
        )

    def fingerprint(self) -> str:
        return calibration.fingerprint(self.calibration) if self.calibration else ""

    def close(self) -> None:
        """Releases the port; may be called twice."""
        if self.bus is not None:
            self.bus.close()
            self.bus = None
        if self.emulator is not None:
            self.emulator.close()
            self.emulator = None
