"""Random numbers by name: generated, recorded, noted, and as inputs of a graph."""

import pytest
import torch

from rl.api import Feature, InputError
from rl.nn import PolicyModule
from rl.nn.draws import GeneratorDraws, NotingDraws, RecordedDraws

STATE, ACTION = Feature("observation.state", "state", (2,)), Feature("action", "action", (2,))


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_numbers():
    first, second = (GeneratorDraws(seeded()) for _ in range(2))
    assert torch.equal(first.normal("a", (2, 3)), second.normal("a", (2, 3)))
    whole = first.integers("i", (100,), 5)
    assert whole.dtype == torch.int64
    assert 0 <= whole.min() <= whole.max() < 5


def test_recorded_numbers_are_given_back_call_by_call():
    draws = RecordedDraws({"noise": torch.arange(6.0).reshape(3, 2), "once": torch.ones(4)})
    assert [draws.normal("noise", (2,)).tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert draws.uniform("once", (4,)).sum() == 4
    with pytest.raises(InputError, match="call 3 of draw 'noise'"):
        draws.normal("noise", (2,))


@pytest.mark.parametrize(("name", "shape", "words"), [("nose", (4,), "recorded: once"), ("once", (5,), "wants shape")])
def test_a_draw_that_is_missing_or_misshapen_is_named(name, shape, words):
    with pytest.raises(InputError, match=words):
        RecordedDraws({"once": torch.ones(4)}).normal(name, shape)


class Walker(PolicyModule):
    """Adds its state and three draws: a policy with everything a program can hold."""

    def start(self, batch_size):
        return {"memory": torch.zeros(batch_size, 2)}

    def predict(self, observation, draws, state, prefix=None):
        rows = len(observation["observation.state"])
        at = draws.normal("noise", (rows, 2)) + state["memory"]
        for _ in range(2):
            at = at + draws.uniform("step", (rows, 2))
        return at[:, None] + observation["observation.state"], {"memory": at}


def walker():
    return Walker(None, {STATE.name: STATE}, {"action": ACTION}).eval()


def test_a_program_takes_its_draws_and_its_state_as_inputs():
    policy, sample = walker(), {STATE.name: torch.ones(1, 1, 2)}
    program = policy.program(sample)
    (graph,) = program.graphs
    assert graph.inputs == (STATE.name, "memory", "noise", "step")
    assert graph.outputs == ("action", "next.memory")
    assert program.state == {"next.memory": "memory"}
    assert [(d.name, d.shape, d.law) for d in program.draws] == [
        ("noise", (1, 2), "normal"),
        ("step", (2, 1, 2), "uniform"),
    ]
    given = [torch.ones(1, 1, 2), torch.full((1, 2), 10.0), torch.full((1, 2), 100.0), torch.full((2, 1, 2), 1000.0)]
    action, memory = graph.module(*given)
    assert memory.tolist() == [[2110.0, 2110.0]]
    assert action.tolist() == [[[2111.0, 2111.0]]]


def test_one_name_under_two_laws_is_refused():
    draws = NotingDraws(seeded())
    draws.normal("x", (2,))
    with pytest.raises(ValueError, match="two laws"):
        draws.uniform("x", (2,))


def test_a_policy_names_its_features_by_kind():
    policy = walker()
    assert policy.only("action") == ACTION
    assert policy.named("image") == []
    with pytest.raises(InputError, match="kind image"):
        policy.only("image")
    with pytest.raises(TypeError, match="Walker has no windows"):
        policy.windows()


def test_exporting_does_not_end_training_mode():
    policy = walker().train()
    policy.program({STATE.name: torch.ones(1, 1, 2)})
    assert policy.training
