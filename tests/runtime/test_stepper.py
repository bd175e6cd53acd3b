"""One action a step out of chunks."""

from __future__ import annotations

import numpy as np
import pytest

from rl.api import InputError
from rl.runtime.stepper import Stepper


class Counting:
    """Answers with chunks 100, 101, ...: row k of chunk i is 100 + 10 i + k."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.shown: list[object] = []

    def infer(self, observation):
        self.asked.append(observation)
        return (100 + 10 * (len(self.asked) - 1) + np.arange(5, dtype=np.float32))[:, None]

    def observe(self, observation):
        self.shown.append(observation)


def test_a_queue_plays_the_first_actions_of_each_chunk():
    policy = Counting()
    stepper = Stepper(policy.infer, execute=3, observe=policy.observe)
    played = [stepper.step({"i": i}) for i in range(7)]
    assert [float(action[0]) for action, _ in played] == [100, 101, 102, 110, 111, 112, 120]
    assert [queried for _, queried in played] == [True, False, False, True, False, False, True]
    assert [o["i"] for o in policy.shown] == [1, 2, 4, 5], "steps in between are shown, for policies that look back"


def test_a_reset_plays_nothing_of_the_last_episode():
    policy = Counting()
    stepper = Stepper(policy.infer, execute=3)
    stepper.step({})
    stepper.reset()
    action, queried = stepper.step({})
    assert queried
    assert float(action[0]) == 110


def test_ensembling_asks_at_every_step_and_weighs_old_predictions():
    core = pytest.importorskip("rl._core", reason="the compiled core is not built")
    assert core.TemporalEnsembler is not None
    policy = Counting()
    stepper = Stepper(policy.infer, execute=1, ensemble=0.01)
    played = [stepper.step({}) for _ in range(3)]
    assert all(queried for _, queried in played)
    assert float(played[0][0][0]) == 100
    old, new, weight = 101.0, 110.0, np.exp(-0.01)
    np.testing.assert_allclose(float(played[1][0][0]), (old + weight * new) / (1 + weight), rtol=1e-6)
    stepper.reset()
    assert float(stepper.step({})[0][0]) == 130


def test_what_cannot_be_played_is_refused():
    policy = Counting()
    with pytest.raises(InputError, match="0 actions"):
        Stepper(policy.infer, execute=0)
    with pytest.raises(InputError, match="predicts at every step"):
        Stepper(policy.infer, execute=2, ensemble=0.01)
    with pytest.raises(InputError, match="5 actions, fewer than the 6"):
        Stepper(policy.infer, execute=6).step({})
