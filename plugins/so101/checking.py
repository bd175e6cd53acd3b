"""`rl calibrate --check`: motors against file against what was measured. Reads only."""

from collections.abc import Mapping

from rl.api import InputError, RlError
from rl.api.protocols import Screen
from rl.plugins.so101 import calibration, sweep
from rl.plugins.so101.bench import Bench
from rl.plugins.so101.config import LeaderConfig, So101Config

WARM, HOT = 60, 70  # deg C: not armed above; faults above
SLACK = 3  # percent of the range by which a joint may stand outside
GAINS = {"P_Coefficient": 16, "I_Coefficient": 0, "D_Coefficient": 32}  # what the core gives a follower
STATUS = ("voltage", "angle sensor", "overheated", "over-current", "angle", "overload")


class Checking:
    """One arm on the open bench, against its file."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.screen = bench, bench.screen
        self.archive = bench.archive()
        self.failures = 0

    def run(self) -> None:
        """Errors: RlError when something is wrong, after all of it was shown; InputError for an unusable file."""
        if not self.archive.file.is_file():
            option = self.bench.option
            todo = f"run rl calibrate with the same --{option} options"
            raise InputError(f"there is no calibration file {self.archive.file}", where=option, todo=todo)
        known = calibration.read(self.archive.file)
        self.screen.result("pass", f"{self.archive.file} is sound")
        self.bench.remember(known)
        self.bench.name_motors(known)
        self.bench.identify()
        self.screen.result("pass", f"{len(known)} motors answer, with the right ids and models")
        for name, joint in known.items():
            self._joint(name, joint)
        self._voltages(known)
        self._measured(known)
        if self.failures:
            raise RlError(f"{self.failures} findings", where="calibrate --check", todo="see the lines above")

    def _fail(self, what: str, todo: str) -> None:
        self.failures += 1
        self.screen.result("fail", what, todo)

    def _joint(self, name: str, joint: calibration.Joint) -> None:
        before = self.failures
        wanted = {
            "Homing_Offset": joint.homing_offset,
            "Min_Position_Limit": joint.range_min,
            "Max_Position_Limit": joint.range_max,
        }
        held = {register: self._read(joint, register) for register in wanted}
        differing = [f"{r} {held[r]}, file {v}" for r, v in wanted.items() if held[r] != v]
        if differing:
            self._fail(
                f"{name}: the motor holds {'; '.join(differing)}", "--roll-back N stores a version, or calibrate"
            )
        self._mode(name, joint)
        self._place(name, joint)
        self._health(name, joint)
        verdict = sweep.judge_span(name, joint.range_max - joint.range_min)
        if verdict.mark == "fail":
            self._fail(verdict.what, "calibrate again")
        elif before == self.failures:
            self.screen.result(verdict.mark, f"{name}: motor and file agree; {verdict.what}", verdict.todo)

    def _mode(self, name: str, joint: calibration.Joint) -> None:
        if mode := self._read(joint, "Operating_Mode"):
            self._fail(f"{name} is in mode {mode}, not 0", "calibrate again: it sets the mode")
        if self._read(joint, "Phase") & 16:
            self._fail(f"{name} counts turns", "calibrate again: it clears that bit of Phase")
        if self._read(joint, "Lock") == 0:
            self.screen.result("warn", f"{name}: its memory stands open", "the next calibration or session closes it")
        if delay := self._read(joint, "Return_Delay_Time"):
            self.screen.result("warn", f"{name} answers {delay * 2} us late", "the next session sets its delay to 0")
        if not self.bench.leader:
            other = [f"{r} {v}" for r, want in GAINS.items() if (v := self._read(joint, r)) != want]
            if other:
                self.screen.result("warn", f"{name} has other gains: {', '.join(other)}", "the next session sets them")

    def _place(self, name: str, joint: calibration.Joint) -> None:
        steps = self._read(joint, "Present_Position")
        slack = (joint.range_max - joint.range_min) * SLACK // 100
        outside = max(joint.range_min - steps, steps - joint.range_max)
        if outside > slack:
            off = f"{sweep.degrees(outside):.0f} degrees outside its range"
            self._fail(f"{name} stands {off}", "move it by hand; when that is its place, calibrate")

    def _health(self, name: str, joint: calibration.Joint) -> None:
        heat, status = self._read(joint, "Present_Temperature"), self._read(joint, "Status")
        if heat >= HOT:
            self._fail(f"{name} is {heat} degrees C hot", "let it cool down")
        elif heat >= WARM:
            self.screen.result("warn", f"{name} is {heat} degrees C warm", "let it cool down")
        if status:
            bits = [text for bit, text in enumerate(STATUS) if status >> bit & 1]
            self._fail(f"{name} reports {', '.join(bits) or status}", "switch its supply off and on")

    def _voltages(self, known: Mapping[str, calibration.Joint]) -> None:
        volts = {name: self._read(joint, "Present_Voltage") / 10 for name, joint in known.items()}
        middle = sorted(volts.values())[len(volts) // 2]
        low = {name: v for name, v in volts.items() if v < 0.9 * middle}
        for name, v in low.items():
            self.screen.result("warn", f"{name} has {v:.1f} V, the others {middle:.1f} V", "check its cable")
        if not low:
            self.screen.result("pass", f"supply {middle:.1f} V at every motor")

    def _measured(self, known: Mapping[str, calibration.Joint]) -> None:
        profile = self.archive.profile()
        if profile is None:
            what = "no sweep of this calibration is known: it was made elsewhere"
            self.screen.result(
                "note", what, "" if self.bench.leader else "no rest pose either: rl calibrate records one"
            )
            return
        for name, ends in profile.measured.items():
            joint = known.get(name)
            if joint is not None and tuple(ends) != (joint.range_min, joint.range_max):
                wanted = f"{joint.range_min}..{joint.range_max}"
                self._fail(f"{name}: moved through {ends[0]}..{ends[1]}, the file says {wanted}", "calibrate again")
        if profile.rest is not None:
            self.screen.result("pass", "a rest pose is known")
        elif not self.bench.leader:
            self.screen.result("warn", "no rest pose is known", "rl calibrate records one")

    def _read(self, joint: calibration.Joint, register: str) -> int:
        return int(self.bench.bus.read(joint.id, register))


def check(config: So101Config | LeaderConfig, screen: Screen, *, leader: bool) -> None:
    """The whole check on the arm's port."""
    with Bench(config, screen, leader=leader) as bench:
        Checking(bench).run()
