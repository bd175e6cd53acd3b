"""The plugin contract carries what the large policies will ask: each toy is trained, exported, run and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rl.runtime.actor import Actor, open_actor

TOYS = ("toy-history", "toy-phases", "toy-plan", "toy-tokens", "toy-flag", "toy-critic", "toy-embodiment")
TASK = "pick it"


def observation(number: int) -> dict[str, Any]:
    values = np.array([10, -5, 50]) + 15 * np.random.default_rng(number).standard_normal(3)
    return {"observation.state": values.astype(np.float32), "task": TASK}


def recorded(draws: dict[str, Any]) -> Any:
    import torch

    from rl.nn.draws import RecordedDraws

    return RecordedDraws({name: torch.from_numpy(value) for name, value in draws.items()})


def with_program(actor: Actor, **changes: Any) -> Actor:
    """The same graphs under another order of calls."""
    manifest = actor.bundle.manifest
    changed = msgspec.structs.replace(manifest, program=msgspec.structs.replace(manifest.program, **changes))
    return Actor(replace(actor.bundle, manifest=changed), actor.runtime)


def chunks(actor: Actor, count: int = 2) -> list[np.ndarray]:
    """Successive chunks of one episode, every draw from the same seed."""
    actor = Actor(actor.bundle, actor.runtime, seed=5)
    return [actor.infer(observation(i)) for i in range(count)]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


@pytest.mark.parametrize("name", TOYS)
def test_a_rehearsed_policy_runs_exported_as_it_does_in_torch(name, rehearsal):
    from rl.nn.program import EagerChunk

    toy, folder = rehearsal(name)
    assert all(np.isfinite(value) for parts in toy.parts for value in parts.values())
    actor = open_actor(folder)
    assert actor.check_sample() < 1e-4
    eager = EagerChunk(toy.policy, toy.processing)
    random = np.random.default_rng(1)
    for number in range(4):  # one episode: state and past go on
        shown = observation(number)
        actor.observe(shown)
        window, draws = actor.history.window(), actor.interpreter.draws(random)
        want = eager(window, recorded(draws), TASK)[0]
        np.testing.assert_allclose(actor.predict(window, draws), want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", TOYS)
def test_training_moves_what_the_objectives_name(name, rehearsal):
    toy, _ = rehearsal(name)
    moved = {key for key, value in toy.policy.state_dict().items() if not (value == toy.before[key]).all()}
    assert moved
    if name == "toy-phases":
        assert "reconstruction" in toy.parts[0]
        assert "reconstruction" not in toy.parts[1]
        assert "code" in toy.parts[1]
        assert "code" not in toy.parts[0]
        assert {"codes", "trained", "encoder.1.weight", "choose.0.weight"} <= moved
    if name == "toy-critic":
        assert "actor" in toy.parts[0]
        assert "actor" not in toy.parts[1]
        assert {"target.0.weight", "critic.0.weight", "actor.0.weight", "log_temperature"} <= moved


def test_the_past_of_an_actor_is_the_window_of_training(rehearsal):
    _, folder = rehearsal("toy-history")
    actor = open_actor(folder)
    actor.observe(observation(0))
    np.testing.assert_array_equal(
        actor.history.window()["observation.state"][0, 0], observation(0)["observation.state"]
    )
    actor.observe(observation(1))
    window = actor.history.window()["observation.state"]
    assert window.shape == (1, 2, 3)
    for row in range(2):
        np.testing.assert_array_equal(window[0, row], observation(row)["observation.state"])


def test_a_policy_that_looks_back_answers_otherwise_without_its_past(rehearsal):
    _, folder = rehearsal("toy-history")
    actor = open_actor(folder, seed=3)
    draws = actor.interpreter.draws(np.random.default_rng(0))
    actor.observe(observation(0))
    actor.observe(observation(1))
    with_past = actor.predict(actor.history.window(), draws)
    actor.reset()
    actor.observe(observation(1))
    assert apart(with_past, actor.predict(actor.history.window(), draws)) > 1e-3


def test_the_schedule_of_times_counts(rehearsal):
    _, folder = rehearsal("toy-history")
    actor = open_actor(folder)
    encode, denoise = actor.bundle.manifest.program.calls
    backwards = msgspec.structs.replace(denoise, schedule={"time": denoise.schedule["time"][::-1]})
    assert apart(chunks(actor)[0], chunks(with_program(actor, calls=(encode, backwards)))[0]) > 1e-3


def test_zeroing_the_state_changes_the_next_chunk(rehearsal):
    _, folder = rehearsal("toy-plan")
    actor = open_actor(folder)
    kept = chunks(actor)
    other = Actor(actor.bundle, actor.runtime, seed=5)
    first = other.infer(observation(0))
    other._state = {name: np.zeros_like(value) for name, value in other._state.items()}
    np.testing.assert_array_equal(first, kept[0])
    assert apart(other.infer(observation(1)), kept[1]) > 1e-2


def test_dropping_the_state_s_wiring_changes_the_next_chunk(rehearsal):
    _, folder = rehearsal("toy-plan")
    actor = open_actor(folder)
    state = actor.bundle.manifest.program.state
    assert state == {"next.plan": "plan"}

    class Forgetful:
        def run(self, graph, inputs):
            made = dict(actor.runtime.run(graph, inputs))
            return {**made, "next.plan": np.zeros_like(made["next.plan"])}

        def close(self):
            pass

    kept, forgotten = chunks(actor), chunks(Actor(actor.bundle, Forgetful()))
    np.testing.assert_array_equal(kept[0], forgotten[0])
    assert apart(kept[1], forgotten[1]) > 1e-2


def test_reset_brings_the_first_state_back(rehearsal):
    _, folder = rehearsal("toy-plan")
    actor = open_actor(folder)
    window, draws = actor.blank(), actor.interpreter.draws(np.random.default_rng(2))
    first = actor.predict(window, draws)
    assert apart(first, actor.predict(window, draws)) > 1e-3
    actor.reset()
    np.testing.assert_array_equal(first, actor.predict(window, draws))


@pytest.mark.parametrize("name", ["toy-tokens", "toy-flag"])
def test_dropping_the_cache_changes_the_chunk(name, rehearsal):
    _, folder = rehearsal(name)
    actor = open_actor(folder)

    class WithoutCache:
        def run(self, graph, inputs):
            made = dict(actor.runtime.run(graph, inputs))
            return {key: np.zeros_like(value) if key == "cache" else value for key, value in made.items()}

        def close(self):
            pass

    assert apart(chunks(actor)[0], chunks(Actor(actor.bundle, WithoutCache()))[0]) > 1e-3


def test_the_prefix_is_run_once_and_the_step_as_often_as_told(rehearsal):
    _, folder = rehearsal("toy-tokens")
    actor = open_actor(folder)
    seen = []

    class Counted:
        def run(self, graph, inputs):
            seen.append(graph)
            return actor.runtime.run(graph, inputs)

        def close(self):
            pass

    chunks(Actor(actor.bundle, Counted()), count=1)
    assert seen == ["prefix", "step", "step", "step"]


def test_a_chunk_that_its_graph_uses_again_is_not_converted_in_between(rehearsal):
    _, folder = rehearsal("toy-tokens")
    program = open_actor(folder).bundle.manifest.program
    assert program.chunk == "action.robot_units"
    assert program.calls[1].carry == {"action": "sample"}


def test_another_text_gives_another_chunk(rehearsal):
    _, folder = rehearsal("toy-tokens")
    answers = [open_actor(folder, seed=1).infer({**observation(0), "task": task}) for task in (TASK, "drop it")]
    assert apart(*answers) > 1e-3


def test_removing_the_end_flag_changes_the_chunk(rehearsal):
    _, folder = rehearsal("toy-flag")
    actor = open_actor(folder)
    prefix, step, tell = actor.bundle.manifest.program.calls
    assert step.until == "done"
    endless = with_program(actor, calls=(prefix, msgspec.structs.replace(step, until=""), tell))
    assert apart(chunks(actor)[0], chunks(endless)[0]) > 1e-3


def test_the_embodiment_of_the_manifest_chooses_the_weights(rehearsal, tmp_path):
    import shutil

    _, folder = rehearsal("toy-embodiment")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (step,) = manifest["processing"]["pre"]
    assert step == {"step": "toy-constant", "config": {"feature": "embodiment", "value": 2}, "state": ""}
    assert [entry["name"] for entry in manifest["inputs"]] == ["observation.state"], "a robot does not give its number"
    step["config"]["value"] = 1
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert apart(open_actor(folder).infer(observation(0)), open_actor(other).infer(observation(0))) > 1e-2


def test_one_action_chunks_of_several_objectives_are_played_one_by_one(rehearsal):
    from rl.runtime.stepper import Stepper

    _, folder = rehearsal("toy-critic")
    actor = open_actor(folder)
    stepper = Stepper(actor.infer, actor.execute, observe=actor.observe)
    played = [stepper.step(observation(i)) for i in range(3)]
    assert [queried for _, queried in played] == [True] * 3
    assert all(action.shape == (3,) for action, _ in played)


def test_torchscript_gives_the_same_chunks(toys, tmp_path):
    from rl.export import export_policy

    for name in ("toy-history", "toy-plan", "toy-flag"):
        toy = toys.rehearse(name)
        report = export_policy(toy.policy, name, toy.processing, toy.about, "torchscript", tmp_path / name, samples=2)
        assert report.kind == "torchscript"
        assert report.outputs["action"].max_rel < 1e-5
        assert open_actor(tmp_path / name).check_sample() < 1e-5


def test_a_bundle_with_host_steps_runs_without_torch(rehearsal):
    _, folder = rehearsal("toy-tokens")
    code = f"""
import sys, numpy as np
from rl.runtime.actor import open_actor
actor = open_actor({str(folder)!r})
actor.check_sample()
chunk = actor.infer({{"observation.state": np.zeros(3, np.float32), "task": "pick it"}})
heavy = {{"torch", "transformers", "onnx", "cv2", "av"}} & set(sys.modules)
print(chunk.shape, sorted(heavy))
"""
    toys = Path(__file__).resolve().parents[1] / "fixtures" / "toys"
    path = {"PYTHONPATH": str(toys), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=False)
    assert done.stdout.strip() == "(6, 3) []", done.stderr
