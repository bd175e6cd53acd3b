"""An arm on the bench: its port open for set-up and calibration, its motors known, nothing of it ever energised."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import Screen
from rl.plugins.so101 import JOINTS, calibration
from rl.plugins.so101.archive import Archive, archive_of, written_archive_of
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.person import SimulatedPerson

MODEL = "sts3215"
BAUD = 1_000_000


def refuse_twin(found: Mapping[str, Any] | None, name: str, port: str) -> None:
    """Errors: InputError when what was found at an id are two motors."""
    if found is not None and found["several"]:
        todo = "unplug one of them and run `rl setup-motors`"
        raise InputError(f"two motors with id {found['id']} ({name})?", where=port, todo=todo)


class Bench:
    """One arm's set-up bus. Opened by `with`; a port `sim` opens an emulated arm and a simulated person beside it."""

    def __init__(self, config: So101Config | LeaderConfig, screen: Screen, *, leader: bool) -> None:
        self.config, self.screen, self.leader = config, screen, leader
        self.option = "teleop" if leader else "robot"
        self.emulator: Any = None
        self.bus: Any = None
        self.ids: dict[str, int] = {name: at + 1 for at, name in enumerate(JOINTS)}

    def __enter__(self) -> "Bench":
        if not self.config.port:
            option = self.option
            raise InputError("no port is given", where=option, todo=f"use --{option}.port /dev/ttyACM0, or sim")
        from rl import _core

        port = self.config.port
        if port == "sim":
            self.emulator = _core.Emulator("so101-leader" if self.leader else "so101-follower")
            self.screen = SimulatedPerson(self.screen, self.emulator)
            port = self.emulator.port
        self.bus = _core.SetupBus(port, MODEL, {motor: name for name, motor in self.ids.items()})
        try:
            self.bus.open(BAUD)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Releases the port; may be called twice."""
        if self.bus is not None:
            self.bus.close()
        if self.emulator is not None:
            self.emulator.close()
            self.emulator = None

    @property
    def role(self) -> calibration.Role:
        return "teleoperators" if self.leader else "robots"

    def archive(self) -> Archive:
        """Of the calibration file that the arm has, or would have."""
        return archive_of(self.config, leader=self.leader)

    def written_archive(self) -> Archive:
        """Of the file that is written. Errors: InputError for an arm without a name."""
        return written_archive_of(self.config, leader=self.leader)

    def remember(self, known: Mapping[str, calibration.Joint]) -> None:
        """An emulated arm forgets what was stored in it when it ends: it gets its registers from the file again."""
        if self.emulator is None:
            return
        for joint in known.values():
            offset = abs(joint.homing_offset) | (0x800 if joint.homing_offset < 0 else 0)
            for address, value in ((31, offset), (9, joint.range_min), (11, joint.range_max)):
                self.emulator.set_register(joint.id, address, value.to_bytes(2, "little"))

    def name_motors(self, known: Mapping[str, calibration.Joint]) -> None:
        """The ids are those of the arm's calibration file, when it has one."""
        self.ids = {name: joint.id for name, joint in known.items()}

    def identify(self) -> None:
        """Every joint has one motor of the right model. Errors name the joints that do not."""
        port = self.bus.port
        if not self.positions() and not self.positions():
            todo = "is its supply on? motors that never had an id get one by `rl setup-motors`"
            raise MissingPart(f"no motor answers at {BAUD} baud", where=port, todo=todo)
        found = {name: self.bus.look(motor) for name, motor in self.ids.items()}
        for name, motor in found.items():
            refuse_twin(motor, name, port)
        motors = {name: motor for name, motor in found.items() if motor is not None}
        silent = [f"{name} (id {self.ids[name]})" for name, motor in found.items() if motor is None]
        if silent:
            todo = "check the cable between them; `rl setup-motors` finds motors with another id or rate"
            raise MissingPart(f"motor missing: {', '.join(silent)}", where=port, todo=todo)
        for name, motor in motors.items():
            if motor["model_name"] != MODEL:
                named = motor["model_name"] or "unknown"
                what = f"{name} (id {motor['id']}) is model {named} ({motor['model']}), not {MODEL}"
                raise InputError(what, where=port, todo="is this the right arm?")
        versions = {motor["firmware"] for motor in motors.values()}
        if len(versions) > 1:
            told = ", ".join(f"{name} {m['firmware'] // 100}.{m['firmware'] % 100}" for name, m in motors.items())
            self.screen.result("warn", f"the motors' firmware differs: {told}", "LeRobot refuses such an arm")

    def go_limp(self) -> None:
        """Torque off, after a word of warning where an arm is held by it."""
        held = [name for name, motor in self.ids.items() if self.bus.read(motor, "Torque_Enable") != 0]
        if not held:
            return
        self.screen.ask("hold", f"The arm stands by its own force ({', '.join(held)}): hold it, it will go limp.")
        self.relax()

    def relax(self) -> None:
        """Torque off, from the wrist down; what is held falls last. Errors: RlError naming each motor that still holds,
        with the reason."""
        order = [*reversed(JOINTS[:-1]), JOINTS[-1]]
        held = self.bus.relax([self.ids[name] for name in order])
        why = {name: reason for name in order if self.ids[name] in held and (reason := self._holding(name))}
        if why:
            names = ", ".join(f"{name} (id {self.ids[name]}): {reason}" for name, reason in why.items())
            todo = "switch the arm's supply off while somebody holds it"
            raise RlError(f"still energised: {names}", where=self.bus.port, todo=todo)

    def _holding(self, name: str) -> str:
        """'' for a motor that says that it has no torque, else why it counts as holding."""
        from rl import _core

        try:
            return "keeps its torque" if self.bus.read(self.ids[name], "Torque_Enable") else ""
        except _core.CoreError as error:
            return "no reply" if error.code == "motor-missing" else str(error)

    def close_locks(self) -> None:
        """EEPROM that somebody left open is closed, also of the motors behind one that fails. Errors: of the first."""
        from rl import _core

        failures = []
        for motor in self.ids.values():
            try:
                self.bus.store([(motor, "Operating_Mode", self.bus.read(motor, "Operating_Mode"))])
            except _core.CoreError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def offsets(self) -> dict[str, int]:
        """Homing_Offset of each joint."""
        return {name: self.bus.read(motor, "Homing_Offset") for name, motor in self.ids.items()}

    def positions(self) -> dict[str, tuple[int, int]]:
        """joint -> (present position in steps, capture time ns), of those that answered."""
        found = self.bus.positions(list(self.ids.values()))
        return {name: found[motor] for name, motor in self.ids.items() if motor in found}

    def pose(self) -> dict[str, int]:
        """Present position of every joint. Errors: MissingPart naming one that does not answer."""
        found = self.positions()
        for name, motor in self.ids.items():
            if name not in found:
                found[name] = (self.bus.read(motor, "Present_Position"), 0)
        return {name: found[name][0] for name in self.ids}
