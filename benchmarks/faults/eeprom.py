"""What a second connect writes into the servos' flash, which bears some ten thousand writes."""

from __future__ import annotations

from benchmarks.faults.rig import Outcome, bus_of
from rl import _core


def run(connects: int = 3) -> Outcome:
    """Figures: first and later: EEPROM bytes written by the first connect and by all the later ones."""
    arm = _core.Emulator()
    try:
        arm.fault("model", id=1, number=777)  # as it is: the arm has not been seen by this program before
        arm.set_register(2, 21, bytes([32]))  # a gain that a program of another taste left behind
        stored, reads = [], 0
        for _ in range(connects + 1):
            before = arm.statistics()
            bus = bus_of(arm)
            bus.check()
            bus.close()
            after = arm.statistics()
            stored.append(after["eeprom_bytes"] - before["eeprom_bytes"])
            reads += after["reads"] - before["reads"]
    finally:
        arm.close()
    return Outcome(reads, 6 * connects, {"first": stored[0], "later": sum(stored[1:])})
