"""Somebody who does with an emulated arm what the screen asks: moves its joints, plugs its motors in one at a time."""

from collections.abc import Sequence
from typing import Any

from rl.api.protocols import Mark, Screen
from rl.plugins.so101 import JOINTS

TURN = 4096
STEP = 60  # steps between two looks: a hand's pace
PLACES = {name: at + 1 for at, name in enumerate(JOINTS)}
REGISTER_ID, REGISTER_POSITION = 5, 56


class SimulatedPerson:
    """A screen whose questions an emulated person answers; findings go on to the screen behind it."""

    def __init__(self, screen: Screen, emulator: Any) -> None:
        self.screen, self.emulator = screen, emulator
        self.rest = [int(steps) for steps in emulator.positions()]
        self.stops = [(joint.range_min, joint.range_max) for joint in emulator.calibration()]
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
        here = [int(steps) for steps in self.emulator.positions()]
        self._paths = [_there_and_back(at, low, high) for at, (low, high) in zip(here, self.stops, strict=True)]

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

    def _stand(self, pose: Sequence[int]) -> None:
        for place, steps in enumerate(pose, 1):
            self.emulator.set_register(place, REGISTER_POSITION, (steps % TURN).to_bytes(2, "little"))

    def _plug(self, which: str) -> None:
        for name, place in PLACES.items():
            self.emulator.fault("unmute" if which in (name, "all") else "mute", id=place)
            if which == name:  # as it left the factory
                self.emulator.set_register(place, REGISTER_ID, bytes([1]))


def _there_and_back(here: int, low: int, high: int) -> list[int]:
    """Steps from `here` to both stops and back, `STEP` apart."""
    path = [here]
    for goal in (low, high, here):
        way = STEP if goal > path[-1] else -STEP
        path += [*range(path[-1] + way, goal, way), goal]
    return path
