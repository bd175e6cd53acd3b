"""LeRobot's calibration files: read, refused, written back byte for byte, found where LeRobot keeps them."""

import json

import pytest

from rl.api import InputError
from rl.plugins.so101 import JOINTS, calibration


@pytest.fixture
def good():
    return {name: calibration.Joint(i + 1, 0, -10 * i, 700, 3300) for i, name in enumerate(JOINTS)}


@pytest.mark.shared
@pytest.mark.parametrize("name", ["so101_follower.json", "so101_drive_mode.json"])
def test_a_file_of_the_reference_comes_back_byte_for_byte(shared, tmp_path, name):
    original = shared / "golden" / "calibration" / name
    copy = tmp_path / "arm.json"
    calibration.write(copy, calibration.read(original))
    assert copy.read_bytes() == original.read_bytes()


@pytest.mark.shared
def test_units_are_those_of_the_reference_in_every_mode(shared):
    from rl import _core

    folder = shared / "golden" / "calibration"
    compared = 0
    for entry in json.loads((folder / "samples.json").read_text())["files"]:
        joints = calibration.read(folder / entry["file"])
        for name, modes in entry["joints"].items():
            for mode, samples in modes.items():
                j = joints[name]
                made = _core.JointCalibration(name, j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max, mode)
                for raw, unit in samples["to_unit"]:
                    assert made.to_unit(raw) == pytest.approx(unit, rel=1e-12, abs=1e-12)
                for unit, raw in samples["to_raw"]:
                    assert made.to_raw(unit) == raw
                compared += len(samples["to_unit"]) + len(samples["to_raw"])
    assert compared == 1068


def test_a_file_is_looked_for_where_lerobot_keeps_it(tmp_path):
    own = calibration.places("robots", "arm", None, {"HF_LEROBOT_CALIBRATION": str(tmp_path)})
    home = calibration.places("teleoperators", "arm", None, {"HF_LEROBOT_HOME": str(tmp_path)})
    usual = calibration.places("robots", "arm", None, {})
    assert own[0] == tmp_path / "robots" / "so_follower" / "arm.json"
    assert home[0] == tmp_path / "calibration" / "teleoperators" / "so_leader" / "arm.json"
    assert usual[0].as_posix().endswith(".cache/huggingface/lerobot/calibration/robots/so_follower/arm.json")
    assert calibration.places("robots", "arm", str(tmp_path), {}) == [tmp_path / "arm.json"]


def test_a_file_of_an_older_version_is_found_too(tmp_path, good, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_CALIBRATION", str(tmp_path))
    old = tmp_path / "robots" / "so101_follower" / "arm.json"
    calibration.write(old, good)
    assert calibration.find("robots", "arm", None, "robot") == old


def test_a_missing_file_is_named_with_its_path(tmp_path):
    with pytest.raises(InputError, match=r"arm\.json.*calibrate"):
        calibration.find("robots", "arm", str(tmp_path), "robot")


@pytest.mark.parametrize("name", ["../arm", "a/b", "", ".", "..", "a\\b"])
def test_an_id_cannot_leave_its_folder(name, tmp_path):
    with pytest.raises(InputError, match="no name of an arm"):
        calibration.places("robots", name, str(tmp_path))


def test_the_file_of_an_arm_without_an_id_is_read_but_never_written(tmp_path, good):
    path = calibration.places("robots", None, str(tmp_path))[0]
    path.write_text(calibration.text(good))
    assert calibration.read(path) == good
    with pytest.raises(InputError, match="without an id"):
        calibration.write(path, good)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("elbow_flex"), "lacks elbow_flex"),
        (lambda c: c.update(hand=c["gripper"]), "unknown hand"),
        (lambda c: c["gripper"].update(range_min=True), "range_min True"),
        (lambda c: c["gripper"].update(range_max=1.5), "range_max 1.5"),
        (lambda c: c["gripper"].update(homing_offset=2048), "homing_offset 2048"),
        (lambda c: c["gripper"].update(range_min=3300), "not below"),
        (lambda c: c["gripper"].update(id=1), "same id"),
        (lambda c: c["gripper"].pop("id"), "does not hold exactly"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, good, change, said):
    path = tmp_path / "arm.json"
    content = json.loads(calibration.text(good))
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        calibration.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "1", "\x00", "[" * 50_000])
def test_what_is_no_calibration_is_refused(tmp_path, content):
    path = tmp_path / "arm.json"
    path.write_text(content)
    with pytest.raises(InputError):
        calibration.read(path)


def test_a_fingerprint_follows_the_units_not_the_order(good):
    turned = dict(reversed(good.items()))
    other = good | {"gripper": calibration.Joint(6, 1, 0, 700, 3300)}
    assert calibration.fingerprint(turned) == calibration.fingerprint(good)
    assert calibration.fingerprint(other) != calibration.fingerprint(good)
