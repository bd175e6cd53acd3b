"""From encoder positions of a sweep to a calibration: pure arithmetic, no bus, no clock of its own.

The encoder counts 0..4095 and begins again at 0 wherever the horn was mounted. A joint's path is unwrapped first; only
then the offset is chosen, so that the whole range lies inside 0..4095 and no joint wraps while it works.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rl.api.protocols import Mark
from rl.plugins.so101 import JOINTS, calibration

TURN = 4096
MIDDLE = 2047  # where the centre of a range comes to lie, as LeRobot has it
LOST = 600  # steps between two samples: faster than a hand, so a turn may have been missed
GAP_NS = 500_000_000  # without a sample for this long anything may have happened
FULL_TURN = TURN - 64
STILL = 64  # steps: a joint that moved less was not moved
SPANS = {  # steps between the mechanical stops of the SO-101's drawings
    "shoulder_pan": 2503,
    "shoulder_lift": 2275,
    "elbow_flex": 2203,
    "wrist_flex": 2161,
    "wrist_roll": 3640,
    "gripper": 1251,
}
BANDS = dict.fromkeys(JOINTS, (0.8, 1.3)) | {"gripper": (0.7, 1.5)}  # of the span; the wrist may turn as far as it will
TURNS_ROUND = "wrist_roll"


class Track:
    """The unwrapped path of one joint, in steps; its first sample lies in 0..4095."""

    def __init__(self) -> None:
        self.now: int | None = None
        self.low = self.high = 0
        self.lost = ""  # why the path is not known, '' while it is
        self._at = 0

    @property
    def span(self) -> int:
        return self.high - self.low

    def add(self, encoder: int, at: int) -> None:
        """One sample: encoder position (any multiple of a turn is taken off), capture time ns."""
        if self.now is None:
            self.now = self.low = self.high = encoder % TURN
        else:
            step = (encoder - self.now + TURN // 2) % TURN - TURN // 2
            if abs(step) > LOST:
                self.lost = f"jumped by {abs(step)} steps between two samples"
            elif at - self._at > GAP_NS:
                self.lost = f"was not read for {(at - self._at) / 1e9:.1f} s"
            self.now += step
        self.low, self.high = min(self.low, self.now), max(self.high, self.now)
        self._at = at


@dataclass(frozen=True)
class Verdict:
    """What a sweep of one joint is worth."""

    mark: Mark
    what: str
    todo: str = ""


def judge(joint: str, track: Track, *, unusual: bool = False) -> Verdict:
    """Whether the path is known and as long as the arm's drawings say; `unusual`: the drawings are another arm's."""
    if track.lost:
        return Verdict("fail", f"{joint} {track.lost}", "move it again, slowly; check its cable")
    if track.span < STILL:
        return Verdict("fail", f"{joint} was not moved", "move it from stop to stop")
    return judge_span(joint, track.span, unusual=unusual)


def judge_span(joint: str, span: int, *, unusual: bool = False) -> Verdict:
    """Whether a range of `span` steps is plausible for the joint; `unusual`: it is taken in any case."""
    part = span / SPANS[joint]
    moved = f"{joint} moves through {degrees(span):.0f} degrees"
    if joint == TURNS_ROUND:
        if part >= BANDS[joint][0]:
            return Verdict("pass", moved)
        return Verdict("warn", f"{moved}, of {degrees(SPANS[joint]):.0f}", "turn it further if it goes further")
    low, high = BANDS[joint]
    usual = f"{moved}, {'less' if part < low else 'more'} than an SO-101's {degrees(SPANS[joint]):.0f}"
    if unusual and not low <= part <= high and span < TURN:
        return Verdict("warn", usual, "taken as it is")
    if part < low:
        return Verdict("fail", usual, "move it again, from stop to stop")
    if part > high:
        return Verdict("fail", usual, "move it again, slowly; look for a loose horn")
    return Verdict("pass", moved)


def degrees(steps: int) -> float:
    """Steps as degrees."""
    return steps * 360 / TURN


def turns_round(joint: str, span: int) -> bool:
    """A joint without a stop: its range is the whole turn, its centre a pose that a person shows."""
    return joint == TURNS_ROUND and span >= FULL_TURN


def offset_for(centre: int) -> int:
    """Homing_Offset that puts encoder position `centre` at 2047 (at 2046 for the one that sign bit 11 cannot hold)."""
    offset = (centre - MIDDLE + TURN // 2) % TURN - TURN // 2
    return max(offset, -MIDDLE)


def present(encoder: int, offset: int) -> int:
    """What the servo says: Present = Actual - Offset, inside one turn."""
    return (encoder - offset) % TURN


def settle(motor: int, low: int, high: int, centre: int | None = None) -> calibration.Joint:
    """The calibration of a joint whose unwrapped path goes from `low` to `high`; `centre`: it turns all the way round
    and this is its middle. No position of the path wraps under it."""
    if centre is not None:
        return calibration.Joint(motor, 0, offset_for(centre), 0, TURN - 1)
    middle = (low + high + 1) // 2
    offset = offset_for(middle)
    shift = present(middle, offset) - middle
    return calibration.Joint(motor, 0, offset, low + shift, high + shift)


def differences(old: Mapping[str, calibration.Joint], new: Mapping[str, calibration.Joint]) -> list[str]:
    """What changes from one calibration to the other, a line a joint."""
    lines = []
    for name in new:
        fields = ("id", "drive_mode", "homing_offset", "range_min", "range_max")
        before = old.get(name)
        if before is None or before == new[name]:
            continue
        changed = [
            f"{field} {getattr(before, field)} -> {getattr(new[name], field)}"
            for field in fields
            if getattr(before, field) != getattr(new[name], field)
        ]
        lines.append(f"{name}: {', '.join(changed)}")
    return lines
