"""`rl calibrate --check`: motors against file against what was measured. Reads only."""

from collections.abc import Mapping

from rl.api import InputError, RlError
from rl.api.protocols import Screen
from rl.plugins.so101 import calibration, sweep
from rl.plugins.so101.bench import MODEL, Bench
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
        self.volts: dict[str, float] = {}  # of those that answer

    def run(self) -> None:
        """Errors: RlError when something is wrong, after all of it was shown; InputError for an unusable file."""
        if not self.archive.file.is_file():
            option = self.bench.option
            todo = f"run rl calibrate with the same --{option} options"
            raise InputError(f"there is no calibration file {self.archive.file}", where=option, todo=todo)
        known = self.archive.read()
        self.screen.result("pass", f"{self.archive.file} is sound")
        self.bench.remember(known)
        self.bench.name_motors(known)
        for name in self._motors():
            self._look(name, known[name])
        self._voltages()
        self._measured(known)
        if self.failures:
            found = f"{self.failures} finding{'s' * (self.failures > 1)}"
            raise RlError(found, where="calibrate --check", todo="see the lines above")

    def _motors(self) -> list[str]:
        """The joints whose motor answers and is the right one; a finding for each other. Errors: MissingPart when none
        answers at all."""
        bench = self.bench
        found = {name: bench.bus.look(motor) for name, motor in bench.ids.items()}
        motors = {name: motor for name, motor in found.items() if motor is not None}
        if not motors:
            bench.identify()  # says what to do
        right = []
        for name, motor in bench.ids.items():
            seen = motors.get(name)
            if seen is None:
                self._fail(f"{name} (id {motor}) does not answer", "check its cable; rl setup-motors finds other ids")
            elif seen["several"]:
                self._fail(f"two motors with id {motor} ({name})?", "unplug one of them and run rl setup-motors")
            elif seen["model_name"] != MODEL:
                named = seen["model_name"] or "unknown"
                what = f"{name} (id {motor}) is model {named} ({seen['model']}), not {MODEL}"
                self._fail(what, "is this the right arm?")
            else:
                right.append(name)
        if len(right) == len(bench.ids):
            self.screen.result("pass", f"{len(right)} motors answer, with the right ids and models")
        told = {name: f"{motors[name]['firmware'] // 100}.{motors[name]['firmware'] % 100}" for name in right}
        if len(set(told.values())) > 1:
            each = ", ".join(f"{name} {version}" for name, version in told.items())
            self.screen.result("warn", f"the motors' firmware differs: {each}", "LeRobot refuses such an arm")
        return right

    def _look(self, name: str, joint: calibration.Joint) -> None:
        """At one joint; a motor that falls silent meanwhile is a finding."""
        from rl import _core

        try:
            self._joint(name, joint)
        except _core.CoreError as error:
            if error.code != "motor-missing":
                raise
            self._fail(f"{name} (id {joint.id}) stopped answering", "check its cable")

    def _fail(self, what: str, todo: str) -> None:
        self.failures += 1
        self.screen.result("fail", what, todo)

    def _joint(self, name: str, joint: calibration.Joint) -> None:
        before = self.failures
        values = calibration.stored({name: joint})[joint.id]
        wanted = dict(zip(calibration.REGISTERS, values, strict=True))
        held = {register: self._read(joint, register) for register in wanted}
        differing = [f"{r} {held[r]}, file {v}" for r, v in wanted.items() if held[r] != v]
        if differing:
            self._fail(f"{name}: the motor holds {'; '.join(differing)}", calibration.ways(self.bench.option))
        self._mode(name, joint)
        self._place(name, joint)
        self._health(name, joint)
        unusual = self.bench.config.unusual_ranges
        verdict = sweep.judge_span(name, joint.range_max - joint.range_min, unusual=unusual)
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
        if self._read(joint, "Torque_Enable"):
            self.screen.result("warn", f"{name} has torque", "hold the arm; rl release lets go of it")
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
        self.volts[name] = self._read(joint, "Present_Voltage") / 10
        heat, status = self._read(joint, "Present_Temperature"), self._read(joint, "Status")
        if heat >= HOT:
            self._fail(f"{name} is {heat} degrees C hot", "let it cool down")
        elif heat >= WARM:
            self.screen.result("warn", f"{name} is {heat} degrees C warm", "let it cool down")
        if status:
            bits = [text for bit, text in enumerate(STATUS) if status >> bit & 1]
            self._fail(f"{name} reports {', '.join(bits) or status}", "switch its supply off and on")

    def _voltages(self) -> None:
        volts = self.volts
        if not volts:
            return
        middle = sorted(volts.values())[len(volts) // 2]
        low = {name: v for name, v in volts.items() if v < 0.9 * middle}
        for name, v in low.items():
            self.screen.result("warn", f"{name} has {v:.1f} V, the others {middle:.1f} V", "check its cable")
        if not low:
            self.screen.result("pass", f"supply {middle:.1f} V at every motor that answers")

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
