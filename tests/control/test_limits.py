"""Limits of robots that Python moves, and the numbers that the core is given."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.api import InputError
from rl.api.protocols import Axis
from rl.control.limits import Limiter, core_limits, jump, loosened, soft_speed
from rl.control.session import Session
from rl.control.settings import Settings
from rl.control.sources import LeaderSource
from tests.fixtures.robots.machines import Fixed, VendorArm

AXES = (Axis("a", "deg", -90, 90, 100, 1000), Axis("b", "m/s", -0.5, 0.5, 5, 50, starve="zero"))
targets = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=40)


@given(targets)
def test_no_target_leads_past_position_speed_or_acceleration(wanted):
    limiter = Limiter(AXES, 0.02)
    limiter.begin(np.zeros(2))
    before, velocity = np.zeros(2), np.zeros(2)
    for target in wanted:
        goal = limiter.step(np.array(target)).copy()
        moved = (goal - before) / 0.02
        assert (np.abs(goal) <= limiter.high + 1e-9).all()
        assert (np.abs(moved) <= limiter.speed + 1e-6).all()
        inside = np.abs(goal) < limiter.high - 1e-9  # at the edge it stops dead
        assert (np.abs(moved - velocity) <= limiter.acceleration * 0.02 + 1e-6)[inside].all()
        before, velocity = goal, moved


def test_a_target_is_reached_and_kept():
    limiter = Limiter(AXES, 0.02)
    limiter.begin(np.zeros(2))
    for _ in range(200):
        goal = limiter.step(np.array([45.0, 0.3]))
    assert np.allclose(goal, [45, 0.3], atol=1e-3)


def test_from_outside_the_way_leads_inward_only():
    limiter = Limiter(AXES, 0.02)
    limiter.begin(np.array([120.0, 0.0]))
    places = [limiter.step(np.array([200.0, 0.0]))[0] for _ in range(100)]
    assert max(places) <= 120
    assert places[-1] <= 120


def test_approaches_are_slow_in_the_axis_own_unit():
    assert soft_speed(AXES[0]) == 30
    assert soft_speed(Axis("r", "rad", -1, 1, 4, 40)) == np.radians(30)
    assert soft_speed(Axis("p", "percent", 0, 100, 350, 4000)) == 350 / 8
    assert jump(AXES[0]) == 5
    assert jump(Axis("p", "percent", 0, 100, 350, 4000)) == 5


def test_the_core_is_given_every_axis():
    assert core_limits(AXES) is not None


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"heartbeat_timeout_s": 0.5}, "a silent source is noticed after 0.5 s instead of 0.1"),
        ({"heartbeat_timeout_s": math.nan}, "a silent source"),
        ({"soft_start_s": 0.1}, "soft start 0.1 s instead of at least 0.3"),
    ],
)
def test_a_watchdog_or_a_soft_start_that_is_looser_wants_to_be_asked_for(option, said):
    robot = VendorArm()
    source = LeaderSource(Fixed(robot.action, lambda: [0, 0]))
    with (
        pytest.raises(InputError, match=f"{said}.*--limits.unsafe true"),
        Session(robot, source, settings=Settings(**option), say=lambda text: None) as session,
    ):
        session.run()
    assert not robot.sent
    assert loosened(robot.axes, Settings(unsafe=True, **option))[0].startswith(said)


def test_tighter_settings_are_everybodys_own():
    assert loosened(AXES, Settings(heartbeat_timeout_s=0.05, soft_start_s=5.0)) == []


@pytest.mark.parametrize("option", [{"soft_start_s": 6.0}, {"soft_start_s": math.nan}, {"rate": 5.0}, {"rate": 2000.0}])
def test_settings_beyond_what_a_loop_can_do_are_refused(option):
    with pytest.raises(InputError, match="is not in"):
        Settings(unsafe=True, **option)


def test_a_speed_that_is_no_number_is_looser_than_any():
    axes = [replace(AXES[0], max_speed=speed, usual_speed=100.0) for speed in (100.0, 101.0, math.nan)]
    assert len(loosened(axes, Settings())) == 2
