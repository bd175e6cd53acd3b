"""Options of ACT: LeRobot's defaults, values that follow others, conflicts that name both fields."""

import dataclasses
import json
import subprocess
import sys

import pytest

from rl.api import InputError
from rl.config import build, plain
from rl.plugins.act.config import ACTConfig

LEROBOT = {
    "n_obs_steps": 1,
    "chunk_size": 100,
    "n_action_steps": 100,
    "normalization_mapping": {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
    "vision_backbone": "resnet18",
    "pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1",
    "replace_final_stride_with_dilation": False,
    "pre_norm": False,
    "dim_model": 512,
    "n_heads": 8,
    "dim_feedforward": 3200,
    "feedforward_activation": "relu",
    "n_encoder_layers": 4,
    "n_decoder_layers": 1,
    "use_vae": True,
    "latent_dim": 32,
    "n_vae_encoder_layers": 4,
    "temporal_ensemble_coeff": None,
    "dropout": 0.1,
    "kl_weight": 10.0,
    "optimizer_lr": 1e-5,
    "optimizer_weight_decay": 1e-4,
    "optimizer_lr_backbone": 1e-5,
}


def test_the_defaults_are_lerobots():
    given = plain(ACTConfig())
    assert {k: v for k, v in given.items() if k not in ACTConfig.OWN} == LEROBOT
    assert list(given)[: len(LEROBOT)] == list(LEROBOT)


def test_the_steps_used_follow_the_chunk_unless_given():
    assert ACTConfig(chunk_size=30).n_action_steps == 30
    assert ACTConfig(chunk_size=30, n_action_steps=7).n_action_steps == 7
    assert ACTConfig(temporal_ensemble_coeff=0.01).n_action_steps == 1


def test_the_mapping_is_merged_by_key_in_either_spelling():
    mapping = ACTConfig(normalization_mapping={"state": "min_max", "ENV": "QUANTILES"}).normalization_mapping
    assert mapping == {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ENV": "QUANTILES", "ACTION": "MEAN_STD"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_action_steps": 200}, "n_action_steps 200 is more than chunk_size 100"),
        ({"temporal_ensemble_coeff": 0.01, "n_action_steps": 2}, r"n_action_steps 2 .* temporal_ensemble_coeff 0\.01"),
        ({"dim_model": 510}, "dim_model 510 is not divisible by n_heads 8"),
        ({"dim_model": 18, "n_heads": 2}, "dim_model 18 is not divisible by 4"),
        (
            {"replace_final_stride_with_dilation": True},
            "replace_final_stride_with_dilation .* vision_backbone resnet18",
        ),
        ({"vision_backbone": "resnet34"}, r"is not for vision_backbone resnet34.*ResNet34_Weights"),
        ({"normalization_mapping": {"STATE": "MIDMAX"}}, "MIDMAX"),
        ({"normalization_mapping": {"STAT": "MIN_MAX"}}, "STAT"),
    ],
)
def test_a_conflict_names_its_fields_and_the_group(options, words):
    with pytest.raises(InputError, match=words) as caught:
        build(ACTConfig, options, "policy")
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_size": 0},
        {"n_obs_steps": 2},
        {"dropout": 1.0},
        {"feedforward_activation": "glu"},
        {"vision_backbone": "vgg"},
    ],
)
def test_values_out_of_bounds_are_refused_by_name(options):
    with pytest.raises(InputError, match=next(iter(options))):
        build(ACTConfig, options, "policy")


def test_the_plain_form_builds_the_same_config_again():
    config = ACTConfig(chunk_size=20, temporal_ensemble_coeff=0.1, normalization_mapping={"ACTION": "QUANTILE10"})
    assert build(ACTConfig, json.loads(json.dumps(plain(config)))) == config


def test_every_field_is_documented():
    from rl.config.types import fields_of

    assert [name for name, item in fields_of(ACTConfig).items() if len(item.doc.text) < 10] == []
    assert {f.name for f in dataclasses.fields(ACTConfig)} == set(fields_of(ACTConfig))


def test_the_specs_and_options_of_act_and_the_steps_import_nothing_heavy():
    code = (
        "import sys, rl.plugins.act, rl.plugins.act.config, rl.plugins.steps, rl.process.options;"
        "sys.stdout.write(' '.join(m for m in ('torch', 'numpy', 'cv2', 'av') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
