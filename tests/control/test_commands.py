"""The commands for robots as a person runs them, on emulated arms: exit codes, lines, files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ARM = ["--robot", "so101", "--robot.port", "sim"]
PAIR = [*ARM, "--teleop", "so101-leader", "--teleop.port", "sim"]


def rl(*words, cwd, timeout=120, **environment):
    command = [sys.executable, "-m", "rl.cli.main", *map(str, words)]
    done = subprocess.run(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two episodes of a second each, with a drawn camera."""
    pytest.importorskip("av", reason="the extra record (av, pyarrow) is not installed")
    folder = tmp_path_factory.mktemp("recorded")
    camera = "{front: {type: synthetic, width: 48, height: 32}}"
    length = ["--dataset.num_episodes=2", "--dataset.episode_time_s=1", "--dataset.reset_time_s=0"]
    done = rl(
        "record", *PAIR, "--robot.cameras", camera, "--dataset.root", "wave", "--task", "wave", *length, cwd=folder
    )
    assert done.returncode == 0, done.stdout
    assert "2 episodes, 60 rows saved" in done.stdout
    return folder / "wave"


def test_teleop_ends_with_the_timing_table(tmp_path):
    done = rl("teleop", *PAIR, "--duration", 1, "--trace", "t.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for line in ("target rate", "reached rate", "p50", "p99.9", "misses", "late reads", "first goal after"):
        assert line in done.stdout
    with np.load(tmp_path / "t.npz", allow_pickle=False) as trace:
        assert trace["values"].shape[1] == 6
        assert (trace["state"] == 2).sum() == pytest.approx(50, abs=1)


def test_a_recorded_set_holds_units_capture_times_and_the_robot(recorded):
    info = json.loads((recorded / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["robot_type"] == "so101_follower"
    assert info["total_episodes"] == 2
    assert {"rl.capture_ns", "rl.action_requested", "observation.images.front"} <= set(info["features"])
    assert "degrees" in json.dumps(info["features"]["action"])


def test_a_set_that_is_there_is_not_recorded_over(recorded):
    done = rl("record", *PAIR, "--dataset", recorded, "--episodes", 1, "--episode-time", 1, cwd=recorded.parent)
    assert done.returncode == 2
    assert "--resume" in done.stdout


def test_replay_plays_an_episode_as_it_was_sent(recorded, tmp_path):
    done = rl("replay", recorded, "--episode", 1, *ARM, "--trace", tmp_path / "r.npz", cwd=recorded.parent)
    assert done.returncode == 0, done.stdout
    assert "30 rows at 30 Hz" in done.stdout
    from rl.data import open_dataset

    actions = open_dataset(recorded).rows(np.arange(30, 60), ["action"])["action"]
    with np.load(tmp_path / "r.npz", allow_pickle=False) as trace:
        goals = trace["goal"][trace["state"] == 2]
    nearest = np.abs(goals[:, None] - actions[None]).max(-1).min(0)
    assert np.median(nearest) < 1.0, done.stdout  # every recorded action was passed


def test_an_episode_that_is_not_there_is_named_with_those_that_are(recorded):
    done = rl("replay", recorded, "--episode", 7, *ARM, cwd=recorded.parent)
    assert done.returncode == 2
    assert "0, 1" in done.stdout


def test_an_absent_port_is_exit_3_in_one_line(tmp_path):
    from rl.plugins.so101 import JOINTS, calibration

    joints = {name: calibration.Joint(i + 1, 0, 0, 700, 3300) for i, name in enumerate(JOINTS)}
    calibration.write(tmp_path / "a.json", joints)
    arm = ["--robot", "so101", "--robot.port", "/dev/no-such-port", "--robot.id", "a"]
    leader = ["--teleop", "so101-leader", "--teleop.port", "sim"]
    done = rl("teleop", *arm, "--robot.calibration_dir", tmp_path, *leader, cwd=tmp_path)
    assert done.returncode == 3
    assert "/dev/no-such-port" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1


def test_a_real_arm_without_a_calibration_file_is_told_where_it_must_lie(tmp_path):
    arm = ["--robot", "so101", "--robot.port", "/dev/null", "--robot.id", "mine"]
    leader = ["--teleop", "so101-leader", "--teleop.port", "sim"]
    done = rl("teleop", *arm, *leader, cwd=tmp_path, HF_LEROBOT_CALIBRATION=str(tmp_path / "cal"))
    assert done.returncode == 2
    assert "cal/robots/so_follower/mine.json" in done.stdout


@pytest.mark.parametrize("command", ["teleop", "record"])
def test_a_command_without_a_robot_says_which_there_are(command, tmp_path):
    done = rl(command, "--dataset", "x", cwd=tmp_path) if command == "record" else rl(command, cwd=tmp_path)
    assert done.returncode == 2
    assert "so101" in done.stdout


def test_ctrl_c_keeps_saved_episodes_and_says_so(tmp_path):
    pytest.importorskip("av", reason="the extra record (av, pyarrow) is not installed")
    words = ["record", *PAIR, "--dataset", "kept", "--episodes", "50", "--episode-time", "0.5", "--reset-time", "0"]
    child = subprocess.Popen(
        [sys.executable, "-u", "-m", "rl.cli.main", *words],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = []
    with child, child.stdout as lines:
        for line in lines:
            seen.append(line)
            if "saved episode 1" in line:
                child.send_signal(signal.SIGINT)
                break
        begun = time.monotonic()
        seen += lines.read().splitlines(keepends=True)
        assert child.wait(timeout=30) == 130
    assert time.monotonic() - begun < 25
    text = "".join(seen)
    assert "Traceback" not in text
    assert "episodes, " in text
    assert "stopping" in text
    info = json.loads((tmp_path / "kept" / "meta" / "info.json").read_text())
    assert info["total_episodes"] >= 2


def test_cameras_saves_a_picture_of_each(tmp_path):
    words = ["--camera.a.type", "synthetic", "--camera.a.width", 32, "--camera.a.height", 16, "--warmup", 0]
    done = rl("cameras", *words, "-o", "seen", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "seen" / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    cv2 = pytest.importorskip("cv2", reason="the extra camera (opencv) is not installed")
    assert cv2.imread(str(tmp_path / "seen" / "a.png")).shape == (16, 32, 3)


def test_cameras_that_do_not_open_are_named(tmp_path):
    pytest.importorskip("cv2", reason="the extra camera (opencv) is not installed")
    done = rl("cameras", "--camera.a.type", "opencv", "--camera.a.index_or_path", "/dev/no-camera", cwd=tmp_path)
    assert done.returncode == 1
    assert "/dev/no-camera" in done.stdout


@pytest.mark.parametrize("name", ["so101", "so101-sim", "so101-bimanual"])
def test_every_configuration_of_a_robot_is_readable(name, checkout):
    from rl.cli.teleop import SPEC
    from rl.config.command_line import resolve
    from rl.registry import registry

    found = resolve(SPEC, ["--config", str(checkout / "configs" / "robots" / f"{name}.yaml")], registry())
    assert found.config.robot.name == "so101"
    assert found.config.teleop.name == "so101-leader"


def test_the_demos_file_fits_its_command():
    from rl.cli.demo import SPEC, stages
    from rl.config.command_line import resolve
    from rl.registry import registry

    config = resolve(SPEC, [], registry()).config
    assert config.policy_options["chunk_size"] == "25"
    names = list(stages(config, Path("x")))
    assert names == ["teleoperate", "record", "train", "export", "deploy"]


def test_lerobots_words_for_teleoperation_mean_the_same():
    from rl.cli.record import SPEC as record
    from rl.cli.teleop import SPEC as teleop
    from rl.config.command_line import resolve
    from rl.registry import registry

    words = ["--robot.type=so101_follower", "--robot.port=/dev/ttyACM0", "--robot.id=a", "--teleop.type=so101_leader"]
    words += ["--teleop.port=/dev/ttyACM1", "--teleop.id=b", "--display_data=true"]
    found = resolve(teleop, [*words, "--fps=60", "--teleop_time_s=5"], registry())
    assert (found.config.rate, found.config.duration) == (60, 5)
    assert any("display_data" in note for note in found.notes)
    cameras = "--robot.cameras={ front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}"
    words += [cameras, "--dataset.repo_id=me/set", "--dataset.num_episodes=5", "--dataset.single_task=Grab"]
    found = resolve(record, words, registry())
    assert found.config.task == "Grab"
    assert found.config.robot.config.cameras["front"].config.width == 640


def test_limits_looser_than_usual_want_to_be_asked_for(tmp_path):
    refused = rl("teleop", *PAIR, "--robot.max_speed", 350, "--duration", 1, cwd=tmp_path)
    assert refused.returncode == 2
    assert "shoulder_pan 350 degrees/s instead of 300" in refused.stdout
    assert "--limits.unsafe true" in refused.stdout
    loosened = ["--robot.max_speed", 350, "--limits.unsafe", "true"]
    done = rl("teleop", *PAIR, *loosened, "--duration", 1, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "warning: limits loosened: shoulder_pan 350 degrees/s instead of 300" in done.stdout
    answer = json.loads(done.stdout[done.stdout.index("\n{") :])
    assert len(answer["limits_loosened"]) == 5
    tightened = rl("teleop", *PAIR, "--robot.max_speed", 100, "--duration", 1, cwd=tmp_path)
    assert tightened.returncode == 0
    assert "loosened" not in tightened.stdout
