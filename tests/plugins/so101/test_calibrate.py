"""Calibrating an arm as a person does, on an emulated arm behind a port: what is stored, and what stops it."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rl import _core
from rl.api import InputError, MissingPart, RlError
from rl.plugins.so101 import JOINTS, calibration
from rl.plugins.so101.archive import Archive
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.person import SimulatedPerson
from rl.plugins.so101.robot import So101

TORQUE, LOCK = 40, 55


class Log:
    """A screen that keeps what was said."""

    def __init__(self):
        self.lines, self.rows = [], []

    def show(self, rows):
        self.rows = list(rows)

    def result(self, mark, what, todo=""):
        self.lines.append(f"{mark}: {what}" + (f"; {todo}" if todo else ""))

    def said(self, text):
        return any(text in line for line in self.lines)


class Person(SimulatedPerson):
    """The emulated person, with a habit: `asked` may do anything at a step, `moving` at every look of the sweep."""

    def __init__(self, log, emulator):
        super().__init__(log, emulator)
        self.log, self.steps, self.looks = log, [], 0
        self.asked = lambda step: None
        self.moving = lambda look: None

    def ask(self, step, sentence):
        self.steps.append(step)
        self.asked(step)
        super().ask(step, sentence)

    def begin(self, step, sentence):
        self.steps.append(step)
        self.looks = 0
        self.asked(step)
        super().begin(step, sentence)

    def answered(self):
        self.looks += 1
        self.moving(self.looks)
        return super().answered()


@pytest.fixture(autouse=True)
def quick_hand(monkeypatch):
    monkeypatch.setattr("rl.plugins.so101.person.STEP", 300)
    monkeypatch.setattr("rl.plugins.so101.calibrating.PERIOD_NS", 2_000_000)


@pytest.fixture
def arm() -> Iterator[_core.Emulator]:
    emulator = _core.Emulator()
    yield emulator
    assert emulator.statistics()["goal_writes"] == 0
    emulator.close()


@pytest.fixture
def person(arm):
    return Person(Log(), arm)


@pytest.fixture
def robot(arm, tmp_path):
    made = So101(So101Config(port=arm.port, id="arm", calibration_dir=str(tmp_path)))
    yield made
    made.close()


def registers(emulator):
    """What must not change when nothing is stored: ids, limits, offsets, modes."""
    return [emulator.registers(i)[:40] for i in range(1, 7)]


def unchanged(emulator, before, folder):
    assert registers(emulator) == before
    assert [emulator.registers(i)[LOCK] for i in range(1, 7)] == [1] * 6
    assert [emulator.registers(i)[TORQUE] for i in range(1, 7)] == [0] * 6
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_an_arm_is_calibrated_connects_and_has_its_rest_pose(arm, person, robot, tmp_path):
    rest = list(person.rest)
    robot.calibrate(person)
    assert person.steps == ["sweep", "middle", "rest", "store"]
    file = calibration.read(tmp_path / "arm.json")
    spans = {j.name: j.range_max - j.range_min for j in arm.calibration()}
    assert {n: j.range_max - j.range_min for n, j in file.items()} == spans
    robot.connect()
    assert robot.fingerprint() == calibration.fingerprint(file)
    pose, axes = robot.rest_pose(), robot.axes
    lift = file["shoulder_lift"]
    steps = rest[1] - lift.homing_offset
    middle = (lift.range_min + lift.range_max) / 2
    assert pose[1] == pytest.approx((steps - middle) * 360 / 4095, abs=0.2)
    assert all(axis.low <= value <= axis.high for axis, value in zip(axes, pose, strict=True))


def test_motors_and_file_agree_afterwards_and_again_nothing_is_written(arm, person, robot, tmp_path):
    robot.calibrate(person)
    content = (tmp_path / "arm.json").read_bytes()
    before = arm.statistics()["eeprom_writes"]
    log = Log()
    robot.check_calibration(Person(log, arm))
    assert not log.said("fail")
    assert log.said("a rest pose is known")
    robot.calibrate(Person(Log(), arm))
    assert arm.statistics()["eeprom_writes"] == before
    assert (tmp_path / "arm.json").read_bytes() == content
    assert [v.number for v in robot.versions()] == [1]


def test_a_leader_is_calibrated_without_a_rest_pose(tmp_path):
    emulator = _core.Emulator("so101-leader")
    leader = So101Leader(LeaderConfig(port=emulator.port, id="lead", calibration_dir=str(tmp_path)))
    person = Person(Log(), emulator)
    leader.calibrate(person)
    assert "rest" not in person.steps
    leader.connect()
    leader.close()
    assert Archive(tmp_path / "lead.json").profile().rest is None
    emulator.close()


@pytest.mark.parametrize("shift", [0, 1500, 3000])
def test_horns_mounted_anywhere_give_ranges_that_do_not_wrap(arm, person, robot, tmp_path, shift):
    for place in range(1, 7):
        arm.set_register(place, 31, bytes([0, 0]))
    person.stops = [(low + shift, high + shift) for low, high in person.stops]
    person.rest = [at + shift for at in person.rest]
    person._stand(person.rest)
    robot.calibrate(person)
    for joint in calibration.read(tmp_path / "arm.json").values():
        assert abs(joint.range_min + joint.range_max - 4094) <= 3
    robot.connect()


def test_the_sweep_is_read_at_least_fifty_times_a_second(arm, person, robot):
    robot.calibrate(person)
    assert not person.log.said("times a second")
    assert any("shoulder_pan" in row for row in person.log.rows)


def test_a_joint_that_was_not_moved_is_asked_for_again(arm, person, robot, tmp_path):
    stops, person.stops = (
        person.stops,
        [(at, at) if i == 2 else s for i, (at, s) in enumerate(zip(person.rest, person.stops, strict=True))],
    )
    rounds = []

    def asked(step):
        if step == "sweep":
            rounds.append(step)
            if len(rounds) == 2:
                person.stops = stops

    person.asked = asked
    robot.calibrate(person)
    assert len(rounds) == 2
    assert person.log.said("fail: elbow_flex was not moved")
    assert (tmp_path / "arm.json").is_file()


def gives_up(person, rounds=3):
    """Presses Ctrl-C when asked for the sweep once more than so often."""

    def asked(step):
        if person.steps.count("sweep") > rounds:
            raise KeyboardInterrupt

    person.asked = asked


def test_a_joint_that_is_never_moved_is_asked_for_until_the_person_gives_up_and_stores_nothing(
    arm, person, robot, tmp_path
):
    person.stops[2] = (person.rest[2], person.rest[2])
    before = registers(arm)
    gives_up(person, rounds=5)
    with pytest.raises(KeyboardInterrupt):
        robot.calibrate(person)
    assert person.steps == ["sweep"] * 6
    assert person.log.said("fail: elbow_flex was not moved")
    unchanged(arm, before, tmp_path)


def test_joints_that_were_moved_well_stay_done_however_often_another_one_fails(arm, person, robot, tmp_path):
    stops = list(person.stops)
    person.stops[2] = (person.rest[2], person.rest[2])

    def asked(step):
        if person.steps.count("sweep") == 5:  # the others are not touched any more
            person.stops = [(at, at) if i != 2 else stops[2] for i, at in enumerate(person.rest)]

    person.asked = asked
    robot.calibrate(person)
    assert person.steps == [*["sweep"] * 5, "middle", "rest", "store"]
    spans = {j.name: j.range_max - j.range_min for j in arm.calibration()}
    assert {n: j.range_max - j.range_min for n, j in calibration.read(tmp_path / "arm.json").items()} == spans


def test_an_implausible_span_stores_nothing(arm, person, robot, tmp_path):
    low, high = person.stops[0]
    person.stops[0] = (low + 600, high - 600)
    before = registers(arm)
    gives_up(person)
    with pytest.raises(KeyboardInterrupt):
        robot.calibrate(person)
    assert person.log.said("fail: shoulder_pan moves through 119 degrees, less than")
    unchanged(arm, before, tmp_path)


def test_an_arm_built_otherwise_is_calibrated_and_checked_where_that_is_asked_for(arm, person, tmp_path):
    low, high = person.stops[0]
    person.stops[0] = (low + 600, high - 600)
    config = So101Config(port=arm.port, id="arm", calibration_dir=str(tmp_path), unusual_ranges=True)
    robot = So101(config)
    robot.calibrate(person)
    assert person.log.said("warn: shoulder_pan moves through 119 degrees, less than")
    found = calibration.read(tmp_path / "arm.json")["shoulder_pan"]
    assert found.range_max - found.range_min == high - low - 1200
    robot.check_calibration(person.log)
    robot.close()
    usual = So101(replace(config, unusual_ranges=False))
    with pytest.raises(RlError, match="1 finding;"):
        usual.check_calibration(person.log)
    usual.close()


def test_a_lost_track_is_named(arm, person, robot, tmp_path):
    def moving(look):
        if look == 20:
            person._paths[3][:0] = [person._paths[3][0] + 1500] * 2

    person.moving = moving
    before = registers(arm)
    gives_up(person)
    with pytest.raises(KeyboardInterrupt):
        robot.calibrate(person)
    assert person.log.said("fail: wrist_flex jumped by")
    unchanged(arm, before, tmp_path)


def test_a_motor_that_falls_silent_in_the_sweep_is_named(arm, person, robot, tmp_path, monkeypatch):
    monkeypatch.setattr("rl.plugins.so101.calibrating.SILENT_NS", 500_000_000)
    person.moving = lambda look: arm.fault("mute", id=4) if look == 10 else None
    endless = person.answered
    person.answered = lambda: endless() and False
    before = registers(arm)
    with pytest.raises(MissingPart, match=r"wrist_flex \(id 4\)"):
        robot.calibrate(person)
    arm.fault("unmute", id=4)
    unchanged(arm, before, tmp_path)


def test_a_missing_motor_two_with_one_id_and_a_wrong_model_are_named(arm, person, robot, tmp_path):
    arm.fault("mute", id=3)
    with pytest.raises(MissingPart, match=r"elbow_flex \(id 3\)"):
        robot.calibrate(person)
    arm.fault("unmute", id=3)
    arm.fault("model", id=2, number=1284)
    with pytest.raises(InputError, match=r"shoulder_lift \(id 2\) is model scs0009 \(1284\)"):
        robot.calibrate(person)
    arm.fault("model", id=2, number=777)
    arm.set_register(5, 5, bytes([6]))
    with pytest.raises(InputError, match=r"two motors with id 6 \(gripper\)"):
        robot.calibrate(person)
    for place in range(1, 7):
        arm.fault("mute", id=place)
    with pytest.raises(MissingPart, match=r"no motor answers.*setup-motors"):
        robot.calibrate(person)
    assert not list(tmp_path.iterdir())


def test_an_arm_that_stands_by_its_own_force_is_released_after_a_warning(arm, person, robot):
    arm.set_register(2, TORQUE, bytes([1]))
    person.asked = lambda step: (
        None if step != "hold" else person.log.lines.append(f"torque {arm.registers(2)[TORQUE]}")
    )
    robot.calibrate(person)
    assert person.steps[0] == "hold"
    assert person.log.said("torque 1")
    assert arm.registers(2)[TORQUE] == 0


@pytest.mark.parametrize("step", ["sweep", "middle", "rest", "store"])
def test_an_interruption_at_any_step_leaves_everything_as_it_was(arm, person, robot, tmp_path, step):
    def asked(now):
        if now == step:
            raise KeyboardInterrupt

    for place in range(1, 7):
        arm.set_register(place, LOCK, bytes([0]))  # as LeRobot leaves it
    person.asked = asked
    before = registers(arm)
    with pytest.raises(KeyboardInterrupt):
        robot.calibrate(person)
    unchanged(arm, before, tmp_path)


def test_an_interruption_while_it_is_stored_waits_until_all_of_it_is(arm, person, robot, tmp_path, monkeypatch):
    import signal

    from rl.plugins.so101 import archive

    whole = archive.write_durably

    def interrupted(path, content):
        os.kill(os.getpid(), signal.SIGINT)
        whole(path, content)

    monkeypatch.setattr("rl.plugins.so101.calibrating.write_durably", interrupted)
    with pytest.raises(KeyboardInterrupt):
        robot.calibrate(person)
    robot.connect()
    assert robot.versions()[0].current


def test_a_disk_that_refuses_the_file_leaves_the_motors_as_they_were(arm, person, robot, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("rl.plugins.so101.calibrating.write_durably", full)
    before = registers(arm)
    with pytest.raises(OSError, match="No space"):
        robot.calibrate(person)
    assert registers(arm) == before
    assert [arm.registers(i)[LOCK] for i in range(1, 7)] == [1] * 6


def test_an_arm_that_moves_while_it_is_stored_keeps_its_old_calibration(arm, person, robot, tmp_path, monkeypatch):
    from rl.plugins.so101 import calibrating

    check = calibrating._check_drift

    def pushed(*given):
        person._stand([at + 200 for at in person.rest])
        check(*given)

    monkeypatch.setattr(calibrating, "_check_drift", pushed)
    before = registers(arm)
    with pytest.raises(RlError, match=r"steps from where its new offset puts it"):
        robot.calibrate(person)
    unchanged(arm, before, tmp_path)


def test_a_rest_pose_outside_the_range_is_refused(arm, person, robot, tmp_path):
    person.rest[0] = person.stops[0][1] + 300
    with pytest.raises(RlError, match=r"shoulder_pan rests \d+ degrees outside"):
        robot.calibrate(person)
    assert not list(tmp_path.iterdir())


def test_versions_are_kept_compared_and_restored(arm, person, robot, tmp_path):
    known = {n: calibration.Joint(i + 1, 0, -10 * i, 700, 3300) for i, n in enumerate(JOINTS)}
    calibration.write(tmp_path / "arm.json", known)
    theirs = (tmp_path / "arm.json").read_bytes()
    os.utime(tmp_path / "arm.json", (1_700_000_000, 1_700_000_000))
    assert [(v.number, v.current) for v in robot.versions()] == [(1, True)]
    made = robot.versions()[0].made
    robot.calibrate(person)
    assert robot.versions()[0].made == made != robot.versions()[1].made
    assert [(v.number, v.current) for v in robot.versions()] == [(1, False), (2, True)]
    assert robot.versions()[0].values["gripper"]["homing_offset"] == -50
    robot.restore(1, Person(Log(), arm))
    assert (tmp_path / "arm.json").read_bytes() == theirs
    assert int.from_bytes(arm.registers(2)[9:11], "little") == 700
    assert Archive(tmp_path / "arm.json").profile() is None
    robot.restore(2, Person(Log(), arm))
    assert Archive(tmp_path / "arm.json").profile().rest is not None
    kept = Archive(tmp_path / "arm.json").path(4)  # the newest already: stored again it keeps its date
    os.utime(kept, (1_700_000_000, 1_700_000_000))
    robot.restore(4, Person(Log(), arm))
    assert kept.stat().st_mtime == 1_700_000_000
    with pytest.raises(InputError, match=r"no version 9; there are: 1, 2, 3, 4"):
        robot.restore(9, Person(Log(), arm))


def test_the_file_that_lerobot_wrote_is_stored_in_the_motors_as_version_1(arm, person, robot, tmp_path):
    offset, low, high = -1088, 1500, 2700
    known = {
        j.name: calibration.Joint(j.id, 0, j.homing_offset, j.range_min + 5, j.range_max - 5) for j in arm.calibration()
    } | {"gripper": calibration.Joint(6, 0, offset, low, high)}
    calibration.write(tmp_path / "arm.json", known)
    robot.restore(1, person)
    assert calibration.read(tmp_path / "arm.json") == known
    robot.connect()
    assert [v.number for v in robot.versions()] == [1]


def test_a_broken_file_stops_the_check_and_is_kept_when_a_new_one_is_made(arm, person, robot, tmp_path):
    (tmp_path / "arm.json").write_text("{ broken")
    with pytest.raises(InputError, match=r"arm\.json: not readable as JSON; rl calibrate makes a new one"):
        robot.check_calibration(person)
    robot.calibrate(person)
    assert person.log.said("kept as a version")
    assert Archive(tmp_path / "arm.json").path(1).read_text() == "{ broken"
    assert calibration.read(tmp_path / "arm.json")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 2}', '{"format": 1, "calibration": "x", "rest": {"gripper": 1}}']
)
def test_a_broken_profile_is_named_and_the_arm_still_connects(arm, person, robot, tmp_path, content):
    robot.calibrate(person)
    Archive(tmp_path / "arm.json").profile_path(1).write_text(content)
    robot.connect()
    assert robot.rest_pose() is None
    assert any("is no profile" in note for note in robot.notes)


def test_a_rest_pose_of_another_calibration_is_not_used(arm, person, robot, tmp_path):
    robot.calibrate(person)
    path = Archive(tmp_path / "arm.json").profile_path(1)
    changed = json.loads(path.read_text()) | {"calibration": "0123456789abcdef"}
    path.write_text(json.dumps(changed))
    robot.connect()
    assert robot.rest_pose() is None


def test_a_damaged_file_is_told_and_nothing_is_stored_until_a_version_is_restored(arm, person, robot, tmp_path):
    robot.calibrate(person)
    (tmp_path / "arm.json").write_text((tmp_path / "arm.json").read_text()[:300])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [(v.number, v.current, bool(v.values)) for v in robot.versions()] == [(1, False, True), (2, True, False)]
    for attempt in (lambda: robot.check_calibration(person), robot.connect):
        with pytest.raises(InputError, match=r"arm\.json: not readable as JSON; rl calibrate --roll-back 1 stores"):
            attempt()
    with pytest.raises(InputError, match="no version 9; there are: 1, 2"):
        robot.restore(9, person)
    with pytest.raises(InputError, match=r"arm\.json: not readable"):
        robot.restore(2, person)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    robot.restore(1, person)
    assert [(v.number, v.current, bool(v.values)) for v in robot.versions()][1:] == [(2, False, False), (3, True, True)]
    robot.connect()


def test_a_check_looks_at_the_other_motors_when_one_is_silent(arm, person, robot):
    robot.calibrate(person)
    arm.fault("mute", id=3)
    arm.fault("model", id=5, number=1284)
    arm.set_register(4, 33, bytes([1]))
    arm.set_register(2, TORQUE, bytes([1]))
    log = Log()
    with pytest.raises(RlError, match="3 findings") as caught:
        robot.check_calibration(Person(log, arm))
    assert caught.value.exit_code == 1
    for text in (
        "fail: elbow_flex (id 3) does not answer",
        "fail: wrist_roll (id 5) is model scs0009",
        "fail: wrist_flex is in mode 1",
        "warn: shoulder_lift has torque",
        "pass: gripper: motor and file agree",
    ):
        assert log.said(text), (text, log.lines)
    for place in range(1, 7):
        arm.fault("mute", id=place)
    with pytest.raises(MissingPart, match="no motor answers"):
        robot.check_calibration(Person(Log(), arm))


def test_a_motor_that_falls_silent_while_it_is_checked_is_a_finding(arm, person, robot, monkeypatch):
    robot.calibrate(person)
    from rl.plugins.so101.checking import Checking

    look = Checking._look

    def mute(self, name, joint):
        if name == "wrist_flex":
            arm.fault("mute", id=4)
        look(self, name, joint)

    monkeypatch.setattr(Checking, "_look", mute)
    log = Log()
    with pytest.raises(RlError, match="1 finding;"):
        robot.check_calibration(Person(log, arm))
    assert log.said("fail: wrist_flex (id 4) stopped answering")
    assert log.said("pass: gripper: motor and file agree")


def test_check_and_session_name_the_same_ways_out_of_a_mismatch(arm, person, robot):
    robot.calibrate(person)
    arm.set_register(3, 31, bytes([17, 0]))
    log = Log()
    with pytest.raises(RlError):
        robot.check_calibration(Person(log, arm))
    with pytest.raises(InputError) as caught:
        robot.connect()
    for text in ("--robot.write_calibration true", "rl calibrate --roll-back N"):
        assert log.said(text)
        assert text in str(caught.value)


def test_a_check_names_what_differs_and_writes_nothing(arm, person, robot):
    robot.calibrate(person)
    arm.set_register(3, 31, bytes([17, 0]))
    arm.set_register(4, 33, bytes([1]))
    arm.set_register(5, 18, bytes([12 | 16]))
    arm.set_register(6, 63, bytes([75]))
    arm.set_register(2, 62, bytes([90]))
    before = (arm.statistics()["writes"], arm.statistics()["sync_writes"])
    log = Log()
    with pytest.raises(RlError, match="findings"):
        robot.check_calibration(Person(log, arm))
    for text in (
        "elbow_flex: the motor holds Homing_Offset 17",
        "wrist_flex is in mode 1",
        "wrist_roll counts turns",
        "gripper is 75 degrees C hot",
        "shoulder_lift has 9.0 V",
    ):
        assert log.said(text), (text, log.lines)
    assert (arm.statistics()["writes"], arm.statistics()["sync_writes"]) == before


def test_an_arm_that_holds_another_calibration_is_refused_with_the_ways_on(arm, person, robot):
    robot.calibrate(person)
    arm.set_register(3, 31, bytes([17, 0]))
    with pytest.raises(
        InputError, match=r"holds Homing_Offset 17, .*; is it the right arm.*--robot.write_calibration true"
    ):
        robot.connect()
    robot.close()


@pytest.mark.parametrize("write", [False, True])
def test_an_arm_at_the_port_of_another_is_named_and_nothing_is_written(arm, tmp_path, write):
    right = {j.name: calibration.Joint(j.id, 0, j.homing_offset, j.range_min, j.range_max) for j in arm.calibration()}
    wrong = {name: calibration.Joint(j.id, 0, j.homing_offset + 40, 900, 3100) for name, j in right.items()}
    calibration.write(tmp_path / "lead.json", right)
    calibration.write(tmp_path / "arm.json", wrong)
    (tmp_path / "other.json").write_text("{}")
    robot = So101(So101Config(port=arm.port, id="arm", calibration_dir=str(tmp_path), write_calibration=write))
    with pytest.raises(
        InputError, match=r"holds the calibration of .*lead\.json, not of arm\.json; are the ports swapped"
    ):
        robot.connect()
    robot.close()
    assert arm.statistics()["writes"] == 0


def test_a_file_in_an_older_folder_is_read_and_the_new_one_lies_where_lerobot_looks(arm, person, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_CALIBRATION", str(tmp_path))
    known = {n: calibration.Joint(i + 1, 0, -10 * i, 700, 3300) for i, n in enumerate(JOINTS)}
    calibration.write(tmp_path / "robots" / "so101_follower" / "arm.json", known)
    So101(So101Config(port=arm.port, id="arm")).calibrate(person)
    assert person.log.said("changes gripper: homing_offset -50")
    assert (tmp_path / "robots" / "so_follower" / "arm.json").is_file()


def test_a_joint_that_was_turned_round_in_the_file_stays_so(arm, person, robot, tmp_path):
    known = {n: calibration.Joint(i + 1, int(n == "gripper"), 0, 700, 3300) for i, n in enumerate(JOINTS)}
    calibration.write(tmp_path / "arm.json", known)
    robot.calibrate(person)
    assert {n: j.drive_mode for n, j in calibration.read(tmp_path / "arm.json").items()}["gripper"] == 1


def test_the_file_of_an_arm_without_a_name_is_checked(arm, person, tmp_path):
    joints = {j.name: calibration.Joint(j.id, 0, j.homing_offset, j.range_min, j.range_max) for j in arm.calibration()}
    (tmp_path / "None.json").write_text(calibration.text(joints))
    So101(So101Config(port=arm.port, calibration_dir=str(tmp_path))).check_calibration(person)
    assert person.log.said("no sweep of this calibration is known")


def test_a_session_ends_in_the_rest_pose_that_was_recorded(tmp_path):
    from rl.cli.main import main

    emulator = _core.Emulator()
    person = Person(Log(), emulator)
    words = ["--robot.port", emulator.port, "--robot.id", "arm", "--robot.calibration_dir", str(tmp_path)]
    So101(So101Config(port=emulator.port, id="arm", calibration_dir=str(tmp_path))).calibrate(person)
    pair = ["--robot", "so101", *words, "--teleop", "so101-leader", "--teleop.port", "sim"]
    assert main(["teleop", *pair, "--duration", "1"]) == 0
    assert emulator.statistics()["goal_writes"] > 20
    assert [emulator.registers(place)[TORQUE] for place in range(1, 7)] == [0] * 6
    assert max(abs(a - b) for a, b in zip(person._pose(), person.rest, strict=True)) < 60  # 5 degrees: limits
    emulator.close()


def test_without_a_file_a_port_or_a_name_it_says_what_to_give(arm, person, tmp_path):
    with pytest.raises(InputError, match=r"no calibration file.*rl calibrate"):
        So101(So101Config(port=arm.port, id="new", calibration_dir=str(tmp_path))).check_calibration(person)
    with pytest.raises(InputError, match=r"--robot\.id NAME"):
        So101(So101Config(port=arm.port)).calibrate(person)
    with pytest.raises(InputError, match=r"--robot\.port"):
        So101(So101Config(id="x")).calibrate(person)
    with pytest.raises(_core.CoreError, match="no serial port"):
        So101(So101Config(port="/dev/ttyNONE7", id="x")).calibrate(person)


def test_an_emulated_arm_does_not_take_a_real_arms_file(tmp_path, arm, person, robot):
    robot.calibrate(person)
    emulated = So101(So101Config(port="sim", id="arm", calibration_dir=str(tmp_path)))
    with pytest.raises(InputError, match="belongs to a real arm"):
        emulated.calibrate(Log())
