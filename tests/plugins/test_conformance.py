"""Every built-in plugin keeps the contract: the kit that third parties run, on all of ours, none left out."""

import os
import pty

import numpy as np
import pytest

from rl.api import Feature
from rl.registry import discover
from rl.testing import listing, policy, runtime
from rl.testing.camera import check_camera
from rl.testing.conformance import check_rules
from rl.testing.exporter import check_exporter
from rl.testing.format import check_format
from rl.testing.policy import check_policy
from rl.testing.robot import check_robot
from rl.testing.runtime import check_runtime
from rl.testing.step import check_step
from rl.testing.teleoperator import TeleoperatorSubject, check_teleoperator, releases

STATE = Feature("observation.state", "state", (6,), unit="deg")
FRONT = Feature("observation.images.front", "image", (64, 64, 3), "uint8")
WRIST = Feature("observation.images.wrist", "image", (64, 96, 3), "uint8")
PUSHED = Feature("observation.environment_state", "environment_state", (5,), unit="m")
ACTION = Feature("action", "action", (6,), unit="deg")


def by_name(*features):
    return {feature.name: feature for feature in features}


def installed(module):
    return pytest.importorskip(module, reason=f"{module} is not installed")


def hang_up(device):
    """The emulated arm's cable is pulled."""
    device.emulator.fault("hangup")


# --- one function a plugin: a built-in plugin without one fails the last test


def test_policy_act_keeps_the_contract():
    installed("torch")
    check_policy("act", by_name(STATE, FRONT), by_name(ACTION), pretrained_backbone_weights=None)


@pytest.mark.parametrize("inputs", [(FRONT, WRIST), (STATE, PUSHED)], ids=["two cameras, no state", "no camera"])
def test_policy_act_keeps_the_contract_with_other_features(inputs):
    installed("torch")
    options = {"pretrained_backbone_weights": None}
    own = [rule for rule in policy.RULES if rule not in listing.RULES]
    check_rules(policy.PolicySubject("act", by_name(*inputs), by_name(ACTION), options), own)


def test_robot_so101_keeps_the_contract():
    installed("rl._core")
    check_robot("so101", unplug=hang_up, port="sim")


def test_teleoperator_so101_leader_keeps_the_contract():
    installed("rl._core")
    check_teleoperator("so101-leader", unplug=hang_up, port="sim")


def test_teleoperator_keyboard_keeps_the_contract():
    installed("rl._core")
    master, slave = pty.openpty()
    options = {"port": os.ttyname(slave)}
    try:
        check_teleoperator("keyboard", **options)
        pulled = TeleoperatorSubject("teleoperator", "keyboard", options, lambda keyboard: os.close(master))
        check_rules(pulled, [releases])  # last: a terminal that is gone does not come back
    finally:
        os.close(slave)


def test_teleoperator_gamepad_keeps_the_contract():
    installed("rl._core")
    installed("pygame")
    check_teleoperator("gamepad", port="sim")


def test_teleoperator_scripted_keeps_the_contract():
    installed("rl._core")
    check_teleoperator("scripted")


def test_camera_synthetic_keeps_the_contract():
    check_camera("synthetic", width=64, height=48)


def test_camera_opencv_keeps_the_contract(tmp_path):
    cv2 = installed("cv2")
    path = tmp_path / "grey.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50.0, (64, 48))
    for level in range(40):
        video.write(np.full((48, 64, 3), 5 * level, np.uint8))
    video.release()

    def unplug(camera):  # the driver gives no more pictures
        camera.config = camera.config.__class__(index_or_path=str(path), loop=False)

    check_camera("opencv", unplug=unplug, index_or_path=str(path), width=64, height=48, loop=True)


def test_format_lerobot_keeps_the_contract():
    installed("pyarrow")
    installed("av")
    check_format("lerobot", kills=4)


def test_exporter_onnx_keeps_the_contract():
    for module in ("torch", "onnx", "onnxscript", "onnxruntime"):
        installed(module)
    check_exporter("onnx", runtime="onnx")


def test_runtime_onnx_keeps_the_contract():
    for module in ("torch", "onnx", "onnxscript", "onnxruntime"):
        installed(module)
    subject = runtime.RuntimeSubject("onnx", {}, "onnx")  # its parity: every program above runs in it
    check_rules(subject, [rule for rule in runtime.RULES if rule is not runtime.has_parity])


def test_exporter_torchscript_keeps_the_contract():
    installed("torch")
    check_exporter("torchscript", runtime="torchscript")


def test_runtime_torchscript_keeps_the_contract():
    installed("torch")
    check_runtime("torchscript", exporter="torchscript")


def test_runtime_eager_keeps_the_contract():
    installed("torch")
    check_runtime("eager")  # runs checkpoints, which no exporter writes: listing and options


TYPES = {
    "observation.state": {"type": "STATE", "shape": [6]},
    "action": {"type": "ACTION", "shape": [6]},
}
STATISTICS = {
    f"{name}.{key}": np.full(6, value, np.float32)
    for name in TYPES
    for key, value in {"mean": 3.0, "std": 20.0, "min": -50.0, "max": 50.0}.items()
}


NORMALISE = {"features": TYPES, "norm_map": {"STATE": "MEAN_STD", "ACTION": "MIN_MAX"}}


def test_step_normalise_keeps_the_contract():
    check_step("normalise", by_name(STATE, ACTION), state=STATISTICS, **NORMALISE)


def test_step_unnormalise_keeps_the_contract():
    check_step("unnormalise", by_name(STATE, ACTION), state=STATISTICS, **NORMALISE)


def test_step_rename_keeps_the_contract():
    check_step("rename", rename_map={"observation.images.front": "observation.images.top"})


def test_step_batch_keeps_the_contract():
    check_step("batch")


def test_step_device_keeps_the_contract():
    check_step("device")


def test_no_built_in_plugin_is_left_out():
    ours = [(kind, spec.name) for kind, spec, source in discover({}).all() if "rl-toolkit" in source.distribution]
    unchecked = [
        f"{kind} {name}"
        for kind, name in ours
        if f"test_{kind}_{name.replace('-', '_')}_keeps_the_contract" not in globals()
    ]
    assert len(ours) >= 16
    assert unchecked == []
