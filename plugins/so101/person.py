"""Somebody who does with an emulated arm what the screen asks: moves its joints, plugs its motors in one at a time."""

from collections.abc import Sequence
from typing import Any

from rl.api.protocols import Mark, Screen
from rl.plugins.so101 import JOINTS

TURN = 4096
STEP = 60  # steps between two looks: a hand's pace
PLACES = {name: at + 1 for at, name in enumerate(JOINTS)}
REGISTER_ID, REGISTER_OFFSET, REGISTER_POSITION = 5, 31, 56


class SimulatedPerson:
    """A screen whose questions an emulated person answers; findings go on to the screen behind it."""

    def __init__(self, screen: Screen, emulator: Any) -> None:
        self.screen, self.emulator = screen, emulator
        self.stops = [(j.range_min + j.homing_offset, j.range_max + j.homing_offset) for j in emulator.calibration()]
        self.rest = self._pose()
        self._paths: list[list[int]] = []

    def ask(self, step: str, sentence: str) -> None:
        self.screen.result("note", f"{sentence} (done by the emulated person)")
        kind, _, which = step.partition(":")
        if kind == "middle":
            self._stand([(low + high) // 2 for low, high in self.stops])
        elif kind == "rest":
            self._stand(self.rest)
        elif kind == "plug":
            self._plug(which)

    def begin(self, step: str, sentence: str) -> None:
        self.screen.result("note", f"{sentence} (done by the emulated person)")
        self._paths = [self._path(at, low, high) for at, (low, high) in zip(self._pose(), self.stops, strict=True)]

    def answered(self) -> bool:
        """Moves every joint a little further; True once all are back where they began."""
        if not any(self._paths):
            return True
        self._stand([path.pop(0) if len(path) > 1 else path[0] for path in self._paths])
        if all(len(path) == 1 for path in self._paths):
            self._paths = []
        return False

    def show(self, rows: Sequence[str]) -> None:
        self.screen.show(rows)

    def result(self, mark: Mark, what: str, todo: str = "") -> None:
        self.screen.result(mark, what, todo)

    def _offset(self, place: int) -> int:
        word = int.from_bytes(self.emulator.registers(place)[REGISTER_OFFSET : REGISTER_OFFSET + 2], "little")
        return -(word & 0x7FF) if word & 0x800 else word

    def _pose(self) -> list[int]:
        """Where the joints stand, in steps of the encoder; inside the way between the stops where that is a turn
        away."""
        found = []
        for place, ((low, _), steps) in enumerate(zip(self.stops, self.emulator.positions(), strict=True), 1):
            found.append(low + (int(steps) + self._offset(place) - low) % TURN)
        return found

    def _stand(self, pose: Sequence[int]) -> None:
        for place, encoder in enumerate(pose, 1):
            steps = (encoder - self._offset(place)) % TURN
            self.emulator.set_register(place, REGISTER_POSITION, steps.to_bytes(2, "little"))

    def _path(self, here: int, low: int, high: int) -> list[int]:
        """Steps from `here` to both stops and back, `STEP` apart."""
        path = [here]
        for goal in (low, high, here):
            way = STEP if goal > path[-1] else -STEP
            path += [*range(path[-1] + way, goal, way), goal]
        return path

    def _plug(self, which: str) -> None:
        for name, place in PLACES.items():
            self.emulator.fault("unmute" if which in (name, "all") else "mute", id=place)
            if which == name:  # as it left the factory
                self.emulator.set_register(place, REGISTER_ID, bytes([1]))
