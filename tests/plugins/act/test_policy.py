"""ACT beyond the goldens: what it refuses, what it ignores, its recipe, its program, its behaviour in training."""

from dataclasses import replace

import pytest
import torch

from rl.api import Feature, InputError, MissingPart
from rl.nn.draws import GeneratorDraws, RecordedDraws
from rl.plugins.act.config import ACTConfig
from rl.plugins.act.network import pixel_positions, sinusoids
from rl.plugins.act.policy import ACTPolicy

STATE = Feature("observation.state", "state", (3,))
TOP = Feature("observation.images.top", "image", (32, 48, 3), dtype="uint8")
WRIST = Feature("observation.images.wrist", "image", (64, 32, 3), dtype="uint8")
ACTION = Feature("action", "action", (3,))
TINY = dict(ACTConfig.PRESETS["debug"]) | {"chunk_size": 5, "dropout": 0.0}


def make(*features, seed=0, **options):
    torch.manual_seed(seed)
    features = features or (TOP, WRIST, STATE)
    return ACTPolicy(ACTConfig(**(TINY | options)), {f.name: f for f in features}, {"action": ACTION})


def batch_of(policy, rows=2, seed=1):
    draw = torch.Generator().manual_seed(seed)
    shapes = {f.name: (3, *f.shape[:2]) if f.kind == "image" else f.shape for f in policy.inputs.values()}
    batch = {name: torch.rand(rows, 1, *shape, generator=draw) for name, shape in shapes.items()}
    batch["action"] = torch.randn(rows, policy.config.chunk_size, 3, generator=draw)
    batch["action_is_pad"] = torch.zeros(rows, policy.config.chunk_size, dtype=torch.bool)
    return batch


def draws(seed=2):
    return GeneratorDraws(torch.Generator().manual_seed(seed))


def test_a_chunk_has_the_promised_shape_whatever_the_cameras():
    for features in ((TOP, WRIST, STATE), (TOP, STATE), (WRIST,)):
        policy = make(*features).eval()
        chunk, state = policy.predict(batch_of(policy), draws(), {})
        assert chunk.shape == (2, 5, 3)
        assert state == {}


def test_learning_lowers_the_loss():
    policy = make(TOP, STATE).train()
    batch, optimizer = batch_of(policy), torch.optim.AdamW(policy.parameters(), 1e-3)
    losses = []
    for step in range(12):
        loss = policy.loss(batch, draws(step)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_every_parameter_gets_a_gradient():
    policy = make().train()
    policy.loss(batch_of(policy), draws()).total.backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None] == []


def test_padded_actions_change_neither_loss_nor_gradient():
    policy = make().train()
    batch = batch_of(policy)
    batch["action_is_pad"][:, 3:] = True
    spoilt = dict(batch, action=batch["action"].clone())
    spoilt["action"][:, 3:] = 1e6
    losses = [policy.loss(b, draws()).total for b in (batch, spoilt)]
    assert torch.allclose(*losses)
    assert torch.isfinite(policy.loss(dict(batch, action_is_pad=torch.ones(2, 5, dtype=torch.bool)), draws()).total)


def test_rows_of_a_batch_do_not_mix():
    policy = make().eval()
    batch = batch_of(policy, rows=3)
    whole, _ = policy.predict(batch, draws(), {})
    alone, _ = policy.predict({k: v[1:2] for k, v in batch.items()}, draws(), {})
    assert torch.allclose(whole[1:2], alone, atol=1e-5)


def test_the_only_draw_is_the_noise_of_the_latent():
    policy = make().train()
    recorded = {"vae_noise": torch.zeros(2, 8)}
    first, second = (policy.loss(batch_of(policy), RecordedDraws(recorded)).total for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, policy.loss(batch_of(policy), RecordedDraws({"vae_noise": torch.ones(2, 8)})).total)
    assert "kld_loss" not in policy.eval().loss(batch_of(policy), RecordedDraws({})).parts


def test_dropout_acts_in_training_alone():
    policy = make(dropout=0.5).train()
    torch.manual_seed(0)
    first, second = (policy.loss(batch_of(policy), draws()).total for _ in range(2))
    assert not torch.equal(first, second)
    policy.eval()
    one, two = (policy.predict(batch_of(policy), draws(), {})[0] for _ in range(2))
    assert torch.equal(one, two)


def test_prediction_leaves_every_tensor_as_it_was():
    policy = make().eval()
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    policy.predict(batch_of(policy), draws(), {})
    assert all(torch.equal(v, before[k]) for k, v in policy.state_dict().items())


def test_inference_mode_and_gradient_mode_give_the_same_chunk():
    policy = make().eval()
    batch = batch_of(policy)
    with torch.no_grad():
        fast, _ = policy.predict(batch, draws(), {})
    slow, _ = policy.predict(batch, draws(), {})
    assert slow.requires_grad
    assert torch.allclose(fast, slow, atol=1e-5)


def test_the_program_is_one_graph_without_the_vae_and_equal():
    policy = make().train()
    sample = {k: v[:1] for k, v in batch_of(policy).items() if not k.startswith("action")}
    program = policy.program(sample)
    (graph,) = program.graphs
    assert (graph.outputs, program.draws, dict(program.state)) == (("action",), (), {})
    assert set(graph.inputs) == set(policy.inputs)
    names = [name for name, _ in graph.module.named_parameters()]
    assert not [name for name in names if "vae" in name]
    assert policy.training
    assert all(module.training for module in policy.modules())
    wanted, _ = policy.eval().predict(sample, draws(), {})
    assert torch.allclose(graph.module(*graph.example)[0], wanted, atol=1e-5)


def test_the_recipe_is_lerobots():
    recipe = make(optimizer_lr=3e-4, optimizer_lr_backbone=2e-5, temporal_ensemble_coeff=0.01).recipe()
    assert (recipe.optimizer, recipe.lr, recipe.clip, recipe.execute, recipe.ensemble) == ("adamw", 3e-4, 10.0, 1, 0.01)
    assert [(g.params, g.lr) for g in recipe.groups] == [(("model.backbone.*",), 2e-5)]
    assert recipe.normalise == {"image": "mean_std", "state": "mean_std", "action": "mean_std"}
    assert make().windows().train == {"action": (0, 1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ((STATE,), "at least one picture"),
        ((replace(TOP, shape=(32, 48, 1)), STATE), "1 channels"),
        ((TOP, replace(STATE, shape=(3, 2))), "not one axis"),
    ],
)
def test_features_that_cannot_be_used_are_named(features, words):
    with pytest.raises(InputError, match=words):
        make(*features)


def test_preparing_without_the_weights_is_exit_3_and_null_needs_nothing(monkeypatch):
    import urllib.error
    import urllib.request

    def refuse(*_, **__):
        raise urllib.error.URLError("offline")

    monkeypatch.setenv("TORCH_HOME", "/nonexistent/torch")
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    make().prepare()
    with pytest.raises(MissingPart, match=r"resnet18-f37072fd\.pth.*pretrained_backbone_weights null"):
        make(pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1").prepare()


def test_the_default_size_has_as_many_parameters_as_lerobots():
    six = {"observation.state": replace(STATE, shape=(6,)), TOP.name: TOP, WRIST.name: WRIST}
    with torch.device("meta"):
        policy = ACTPolicy(ACTConfig(), six, {"action": replace(ACTION, shape=(6,))})
    assert sum(p.numel() for p in policy.parameters()) == 51_597_190
    assert sum(p.numel() for p in policy.model.backbone.parameters()) == 11_166_912


def test_positions_start_at_sine_of_zero_and_at_one():
    assert sinusoids(3, 8)[0].tolist() == [0, 1] * 4
    table = pixel_positions(2, 3, 8)
    assert table.shape == (6, 8)
    assert table[0, :4].tolist() == table[2, :4].tolist()
    assert table[0, 4:].tolist() == table[3, 4:].tolist()
