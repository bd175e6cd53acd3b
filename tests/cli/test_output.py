"""Commands whose reader goes away, whose disk is full, or that are asked for nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

RL = (sys.executable, "-m", "rl.cli.main")


def test_a_reader_that_goes_away_does_not_end_the_work(tmp_path):
    words = "record --robot so101 --robot.port sim --teleop so101-leader --teleop.port sim --task t --episodes 1"
    words += f" --episode-time 1 --reset-time 0 --dataset.root {tmp_path / 'set'}"
    with subprocess.Popen([*RL, *words.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        child.stdout.close()
        errors = child.stderr.read()
        assert child.wait(timeout=60) == 0, errors
    assert (tmp_path / "set" / "meta" / "info.json").is_file()


def test_a_full_disk_is_one_line(tmp_path):
    if not Path("/dev/full").exists():
        return
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*RL, "plugins"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_rl_alone_shows_its_commands(words):
    done = subprocess.run([*RL, *words], capture_output=True, text=True)
    assert done.returncode == 0
    assert "train" in done.stdout


def test_help_of_a_command_is_reached_both_ways():
    told = [
        subprocess.run([*RL, *w], capture_output=True, text=True).stdout for w in (["help", "train"], ["train", "-h"])
    ]
    assert told[0] == told[1]
    assert "--batch_size" in told[0]


def test_a_folder_that_cannot_be_made_is_one_line(shared):
    data = shared / "golden" / "dataset_v30_chunks" / "dataset"
    words = ["train", "--policy", "act", "--policy.preset", "debug", "--policy.pretrained_backbone_weights", "null"]
    done = subprocess.run(
        [*RL, *words, "--dataset", data, "--output_dir", "/proc/x", "--steps", "1", "--num_workers", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "/proc/x" in done.stderr
