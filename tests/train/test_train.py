"""`rl train` in process: continues bit for bit, refuses what it cannot use, keeps what it has when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from rl.cli.main import main

TINY = [
    "--policy", "act", "--policy.dim_model", "16", "--policy.n_heads", "2", "--policy.dim_feedforward", "16",
    "--policy.n_encoder_layers", "1", "--policy.n_vae_encoder_layers", "1", "--policy.latent_dim", "4",
    "--policy.chunk_size", "4", "--policy.pretrained_backbone_weights", "null", "--device", "cpu",
    "--dataset.image_size", "32,32", "--batch_size", "2", "--num_workers", "0", "--open_loop_samples", "0",
]  # fmt: skip


@pytest.fixture
def dataset(shared: Path) -> str:
    return str(shared / "golden" / "dataset_v30_chunks" / "dataset")


def train(*words: object) -> int:
    return main(["train", *TINY, *map(str, words)])


def resume(*words: object) -> int:
    return main(["train", "--resume", *map(str, words)])


def contents(run: Path, step: int) -> dict:
    folder = run / "checkpoints" / f"{step:06d}"
    found = dict(load_file(folder / "pretrained_model" / "model.safetensors"))
    found |= load_file(folder / "training_state" / "optimizer_state.safetensors")
    return found


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(dataset, tmp_path):
    """Dropout, VAE noise, two workers, stopped in the middle of an epoch."""
    words = ("--dataset", dataset, "--dataset.eval_split", "0", "--policy.dropout", "0.2", "--num_workers", "2")
    assert train(*words, "--steps", 5, "--output_dir", tmp_path / "whole") == 0
    assert train(*words, "--steps", 3, "--output_dir", tmp_path / "parts") == 0
    assert resume(tmp_path / "parts", "--steps", 5) == 0
    whole, parts = contents(tmp_path / "whole", 5), contents(tmp_path / "parts", 5)
    assert whole.keys() == parts.keys()
    different = [name for name in whole if whole[name].tobytes() != parts[name].tobytes()]
    assert not different


def test_other_workers_give_the_same_training(dataset, tmp_path):
    for workers in (0, 1):
        out = tmp_path / str(workers)
        assert train("--dataset", dataset, "--steps", 2, "--num_workers", workers, "--output_dir", out) == 0
    first, second = contents(tmp_path / "0", 2), contents(tmp_path / "1", 2)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_the_resolved_file_holds_every_option_and_where_it_came_from(dataset, tmp_path):
    assert train("--dataset", dataset, "--steps", 1, "--output_dir", tmp_path / "run") == 0
    text = (tmp_path / "run" / "config.yaml").read_text()
    tree = yaml.safe_load(text)
    assert tree["policy"]["type"] == "act"
    assert tree["policy"]["chunk_size"] == 4
    assert tree["policy"]["kl_weight"] == 10.0
    assert "chunk_size: 4  # option" in text
    assert "kl_weight: 10.0\n" in text


def test_resume_takes_true_with_a_config_or_an_output_folder(dataset, tmp_path):
    run = tmp_path / "run"
    assert train("--dataset", dataset, "--steps", 1, "--output_dir", run) == 0
    saved = run / "checkpoints" / "last" / "pretrained_model" / "train_config.json"
    assert main(["train", "--resume=true", f"--config_path={saved}", "--steps=2"]) == 0
    assert main(["train", "--resume", "--output_dir", str(run), "--steps", "3"]) == 0
    assert (run / "checkpoints" / "last").resolve().name == "000003"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--resume", "nowhere"), "nowhere is no run"),
        (("--resume",), "which run?"),
        (("--policy", "act"), "no data set is given"),
        (("--policy", "act", "--dataset", "gone"), "gone"),
        (("--policy", "act", "--policy.dim_model", "18", "--dataset", "x"), "dim_model"),
        (("--policy", "act", "--device", "cuda:7", "--dataset", "x"), "cuda:7"),
        (("--policy", "act", "--precision", "fp16", "--device", "cpu", "--dataset", "x"), "fp16 needs a GPU"),
    ],
)
def test_wrong_requests_are_one_line(words, told, capsys, monkeypatch, tmp_path, dataset):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *(dataset if word == "x" else word for word in words)]) in (2, 3)
    printed = capsys.readouterr()
    assert told in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_data_set_is_said_without_torch(tmp_path):
    code = (
        "import sys; from rl.cli.main import main; code = main(sys.argv[1:]); "
        "sys.exit(code + 90 * ('torch' in sys.modules))"
    )
    words = ["train", "--policy", "act", "--dataset", str(tmp_path / "gone")]
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True).returncode == 2


def test_a_finished_run_asks_for_more_steps(dataset, tmp_path, capsys):
    assert train("--dataset", dataset, "--steps", 1, "--output_dir", tmp_path / "run") == 0
    assert resume(tmp_path / "run") == 2
    assert "give more --steps" in capsys.readouterr().err


def test_a_loss_that_is_no_number_names_its_frames_and_keeps_the_last_checkpoint(dataset, tmp_path, capsys):
    run = tmp_path / "run"
    assert (
        train("--dataset", dataset, "--steps", 2, "--save_freq", 1, "--optimizer.lr", "1e-5", "--output_dir", run) == 0
    )
    before = contents(run, 2)
    assert resume(run, "--steps", 9, "--optimizer.lr", "1e30", "--optimizer.grad_clip_norm", 0) == 1
    told = capsys.readouterr().err
    assert "the batch held frames" in told
    assert "Traceback" not in told
    newest = (run / "checkpoints" / "last").resolve().name
    for name, value in contents(run, int(newest)).items():
        assert value.dtype.kind != "f" or (value == value).all(), name
    assert contents(run, 2).keys() == before.keys()


def test_the_check_at_the_end_compares_with_doing_nothing(dataset, tmp_path, capsys):
    assert train("--dataset", dataset, "--steps", 1, "--open_loop_samples", 6, "--output_dir", tmp_path / "run") == 0
    report = json.loads((tmp_path / "run" / "open_loop.json").read_text())
    assert report["held_out"] is True
    assert set(report["overall"]) == {"policy", "hold", "mean"}
    printed = capsys.readouterr().out
    assert "hold still" in printed
    assert "held-out" in printed


def test_fine_tuning_starts_from_a_checkpoint(dataset, tmp_path):
    assert train("--dataset", dataset, "--steps", 1, "--output_dir", tmp_path / "base") == 0
    base = tmp_path / "base" / "checkpoints" / "last"
    words = ["train", "--policy.path", base, "--dataset", dataset, "--dataset.image_size", "32,32", "--steps", "1"]
    words += [
        "--num_workers",
        0,
        "--batch_size",
        2,
        "--optimizer.lr",
        "1e-12",
        "--device",
        "cpu",
        "--open_loop_samples",
        0,
    ]
    assert main([*map(str, words), "--output_dir", str(tmp_path / "tuned")]) == 0
    first, second = contents(tmp_path / "base", 1), contents(tmp_path / "tuned", 1)
    name = "model.action_head.weight"
    assert abs(first[name] - second[name]).max() < 1e-9


def test_metrics_are_written_as_lines_and_for_tensorboard(dataset, tmp_path):
    run = tmp_path / "run"
    assert train("--dataset", dataset, "--steps", 2, "--log_freq", 1, "--eval_steps", 2, "--output_dir", run) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["group"] == "train"] == [1, 2]
    assert {"loss", "l1_loss", "kld_loss", "grdn", "lr", "smp/s"} <= rows[0].keys()
    assert list((run / "tensorboard").glob("events*"))


def test_wandb_runs_offline(dataset, tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    run = tmp_path / "run"
    words = ["train", *TINY, "--dataset", dataset, "--steps", "1", "--wandb.enable=true", "--wandb.mode=offline"]
    code = "import sys; from rl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--output_dir", str(run)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert list((run / "wandb").rglob("*.wandb"))


def test_ctrl_c_saves_and_says_how_to_go_on(dataset, tmp_path):
    run = tmp_path / "run"
    code = "import sys; from rl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["train", *TINY, "--dataset", dataset, "--steps", "100000", "--log_freq", "1", "--output_dir", str(run)]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(120, child.kill)
    watchdog.start()
    try:
        for line in child.stdout:
            if line.startswith("step 2/"):
                break
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate()
    finally:
        watchdog.cancel()
    assert child.returncode == 130, errors
    assert f"rl train --resume {run}" in rest
    assert "Traceback" not in rest + errors
    step = int((run / "checkpoints" / "last").resolve().name)
    assert step >= 2
    assert not list((run / "checkpoints").glob(".*.partial"))


def test_a_killed_save_never_leaves_half_a_checkpoint(tmp_path):
    from rl.train import checkpoints

    def model(folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"new")

    def broken(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    checkpoints.write(tmp_path, 1, 9, model, lambda folder: (folder / "training_step.json").write_text("{}"))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write(tmp_path, 2, 9, model, broken)
    assert (tmp_path / "checkpoints" / "last").resolve().name == "000001"
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()] == ["000001"]


def test_fine_tuning_trains_as_a_new_run_does(dataset, tmp_path, capsys):
    """In training mode, at the checkpoint's own picture size."""
    assert train("--dataset", dataset, "--steps", 1, "--output_dir", tmp_path / "base") == 0
    capsys.readouterr()
    words = ["train", "--policy.path", tmp_path / "base", "--dataset", dataset, "--steps", 1, "--num_workers", 0]
    words += ["--batch_size", 2, "--device", "cpu", "--open_loop_samples", 0, "--output_dir", tmp_path / "tuned"]
    assert main([*map(str, words)]) == 0
    assert "kld_loss" in capsys.readouterr().out
    saved = tmp_path / "tuned" / "checkpoints" / "last" / "pretrained_model" / "config.json"
    pictures = [f["shape"] for f in json.loads(saved.read_text())["input_features"].values() if f["type"] == "VISUAL"]
    assert pictures == [[3, 32, 32]] * 2
