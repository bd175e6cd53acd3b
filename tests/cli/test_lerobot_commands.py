"""The ACT commands that users paste: every flag changes the resolved tree or prints its note, and the whole runs."""

import shlex
from pathlib import Path

import pytest

from rl.cli.main import main
from rl.cli.train import SPEC
from rl.config import plain
from rl.config.command_line import resolve
from rl.config.files import flatten
from rl.registry import registry

HERE = {
    "policy.type": "policy.type",
    "policy.device": "device",
    "policy.use_amp": "precision",
}
RUNNABLE = """
    --policy.device=cpu --policy.pretrained_backbone_weights=null --num_workers=0
    --policy.dim_model=16 --policy.n_heads=2 --policy.dim_feedforward=16 --policy.n_encoder_layers=1
    --policy.n_vae_encoder_layers=1 --policy.chunk_size=4 --policy.n_action_steps=4
    --batch_size=2 --steps=2 --dataset.image_size=32,32 --open_loop_samples=0
"""


def commands(shared: Path) -> list[list[str]]:
    """The words of the ACT commands in the seed document, in order: the minimal one, the detailed one."""
    text = (shared / "seeds" / "001_66f14a1d2de4f0e3.txt").read_text()
    section = text[text.index("\n1. ACT") : text.index("\n2. Diffusion")]
    found = []
    for block in section.split("lerobot_train.py")[1:]:
        lines = []
        for line in block.splitlines():
            lines.append(line.strip().removesuffix("\\"))
            if line.strip() and not line.rstrip().endswith("\\"):
                break
        found.append(shlex.split(" ".join(lines)))
    return found


def resolved(words: list[str]):
    return resolve(SPEC, words, registry())


def test_the_document_holds_both_commands(shared):
    minimal, detailed = commands(shared)
    assert len(minimal) == 10
    assert len(detailed) == 37
    assert all(word.startswith("--") and "=" in word for word in minimal + detailed)


def test_each_flag_changes_the_tree_or_prints_its_note(shared):
    flags = dict.fromkeys(word for command in commands(shared) for word in command)
    for flag in flags:
        name, _, value = flag[2:].partition("=")
        base = [] if name == "policy.type" else ["--policy.type=act"]
        found = resolved([*base, flag])
        tree = flatten(plain(found.config))
        here = HERE.get(name, name)
        if here in found.sources:
            given = tree[here]
            assert str(given).lower() == value.lower() or same_number(given, value) or here == "precision", flag
        else:
            assert any(note.startswith(f"--{name}:") for note in found.notes), f"{flag} was dropped in silence"
    assert len(flags) >= 39


def same_number(given: object, text: str) -> bool:
    try:
        return float(str(given)) == float(text)
    except ValueError:
        return False


def test_use_amp_means_bfloat16(shared):
    assert resolved(["--policy.type=act", "--policy.use_amp=true"]).config.precision == "bf16"
    assert resolved(["--policy.type=act", "--policy.use_amp=false"]).config.precision == "fp32"


@pytest.mark.parametrize("which", [0, 1], ids=["minimal", "detailed"])
def test_the_command_runs(shared, which, tmp_path, capsys):
    words = [
        *commands(shared)[which],
        *RUNNABLE.split(),
        f"--dataset.root={shared / 'golden' / 'dataset_v30_chunks' / 'dataset'}",
    ]
    assert main(["train", *words, f"--output_dir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert "note: --dataset.video_backend" in printed
    assert (tmp_path / "run" / "checkpoints" / "last" / "pretrained_model" / "model.safetensors").is_file()
