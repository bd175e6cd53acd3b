"""Setting an arm's motors up: ids and rates, one motor at a time, the gripper first. Nothing gains torque."""

from collections.abc import Sequence
from typing import Any

from rl.api import InputError, RlError
from rl.api.protocols import Mark, Screen
from rl.plugins.so101 import JOINTS
from rl.plugins.so101.bench import BAUD, MODEL, Bench
from rl.plugins.so101.config import LeaderConfig, So101Config

ROUNDS = 3  # of asking for one motor


def set_up(config: So101Config | LeaderConfig, screen: Screen, *, leader: bool) -> None:
    """Gripper (id 6) first, shoulder_pan (id 1) last, then all of them together. Errors: RlError, InputError; what was
    set up before stays, and can be gone through again without a write."""
    with Bench(config, screen, leader=leader) as bench:
        for name in reversed(JOINTS):
            _one(bench, name)
        bench.screen.ask("plug:all", "Connect all motors in their chain, then press Enter.")
        bench.identify()
        bench.screen.result("pass", f"{len(JOINTS)} motors answer together", "next: rl calibrate")


def _one(bench: Bench, name: str) -> None:
    wanted = bench.ids[name]
    sentence = f"Connect the motor of {name} alone, then press Enter."
    for turn in range(ROUNDS):
        bench.screen.ask(f"plug:{name}", sentence)
        found = find(bench)
        what, todo = problem(found)
        if not what:
            break
        bench.screen.result("fail", what, todo)
        if turn + 1 == ROUNDS:
            raise RlError(f"{name}: {what}", where=bench.bus.port, todo=f"{todo}; then run the command again")
    motor = found[0]
    firmware = f"{motor['firmware'] // 100}.{motor['firmware'] % 100}"
    bench.screen.result(
        "note", f"found id {motor['id']} at {motor['baud']} baud, {motor['model_name']}, firmware {firmware}"
    )
    changes = bench.bus.readdress(motor["id"], wanted, BAUD)
    told = [
        f"{'id' if register == 'ID' else 'baud rate code'} {old} -> {new}" for _, register, old, new, w in changes if w
    ]
    bench.screen.result("pass", f"{name} is id {wanted}: {', '.join(told) or 'it was already, nothing written'}")


def find(bench: Bench) -> list[dict[str, Any]]:
    """The motors on the line, at the first rate where any answers; that rate stays open."""
    from rl import _core

    for rate in _core.SCAN_RATES:
        if rate != BAUD:
            bench.screen.show([f"nothing yet; listening at {rate} baud"])
        bench.bus.open(rate)
        found = bench.bus.scan()
        if found:
            return list(found)
    bench.bus.open(BAUD)
    return []


def problem(found: list[dict[str, Any]]) -> tuple[str, str]:
    """Why what was found is not the one motor that is wanted, and what to do; ('', '') when it is. Errors: InputError
    for a motor of another model."""
    if not found:
        return "no motor answers at any rate", "check its cable and the supply"
    if found[0]["several"]:
        return f"two motors with id {found[0]['id']}?", "unplug all but one"
    if len(found) > 1:
        ids = ", ".join(str(motor["id"]) for motor in found)
        return f"{len(found)} motors answer (ids {ids})", "unplug all but one"
    if found[0]["model_name"] != MODEL:
        named = found[0]["model_name"] or "unknown"
        what = f"id {found[0]['id']} is model {named} ({found[0]['model']}), not {MODEL}"
        raise InputError(what, where="setup-motors", todo="it belongs to another arm; nothing was changed")
    return "", ""


class Watch:
    """A port that is looked at, to see whether it is the arm that somebody moves."""

    def __init__(self, config: So101Config | LeaderConfig, *, leader: bool) -> None:
        self._bench = Bench(config, _Nobody(), leader=leader)
        self._looks = 0

    def positions(self) -> dict[str, int]:
        """joint -> steps of the motors 1 to 6 that answer. An emulated arm is moved a little before each further
        look."""
        bench = self._bench
        if bench.bus is None:
            bench.__enter__()
        if bench.emulator is not None and self._looks:
            here = [int(steps) for steps in bench.emulator.positions()]
            for place, steps in enumerate(here, 1):
                bench.emulator.set_register(place, 56, (steps + 150).to_bytes(2, "little"))
        self._looks += 1
        return {name: steps for name, (steps, _) in bench.positions().items()}

    def close(self) -> None:
        """Releases the port; may be called twice."""
        self._bench.close()


class _Nobody:
    """A screen for what asks nothing."""

    def ask(self, step: str, sentence: str) -> None:
        raise InputError(sentence, todo="nobody is asked here")

    def begin(self, step: str, sentence: str) -> None:
        raise InputError(sentence, todo="nobody is asked here")

    def answered(self) -> bool:
        return True

    def show(self, rows: Sequence[str]) -> None:
        """Nobody looks."""

    def result(self, mark: Mark, what: str, todo: str = "") -> None:
        """Nobody looks."""
