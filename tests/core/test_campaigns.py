"""The short forms of the campaigns in benchmarks/faults. Each asserts that it did its least of work (rig.Outcome does).

Nothing here depends on a host that never stands still: counts that must be exactly so, and medians.
"""

import numpy as np
import pytest

from benchmarks.faults import (
    adversarial,
    chunk_boundaries,
    eeprom,
    ends,
    kills,
    late_replies,
    load,
    loss,
    lost_reply,
    motors,
    silent_motor,
    stall,
)
from benchmarks.faults.rig import Outcome, distance_from_wave
from rl import _core


def test_a_campaign_that_did_too_little_says_so() -> None:
    with pytest.raises(AssertionError, match="only 3 of at least 4"):
        Outcome(3, 4)


@pytest.mark.parametrize("kind", ["drop", "corrupt"])
def test_one_bad_reply_is_asked_for_again_within_the_cycle(kind: str) -> None:
    found = lost_reply.run(kind, 12)
    assert found.figures["ended"] == 0
    assert found.figures["extra_ms_p50"] <= 3
    assert found.figures["incomplete"] <= 6  # of 12: a host that stands still takes the budget
    assert found.figures["goals"] > 30
    assert found.figures["gaps"] == 0


def test_no_late_damaged_doubled_or_split_reply_is_taken_for_another() -> None:
    found = late_replies.run(2000)
    assert found.figures["wrong"] == 0
    assert found.figures["fresh"] > 1000
    assert found.figures["struck"] > 100
    assert found.figures["old_would_show"] > 0.4


def test_the_check_of_the_values_finds_those_that_are_old() -> None:
    arm = _core.Emulator("so101-leader", wave=True)
    at = arm.started + np.array([1_500_000_000, 1_900_000_000])
    shown = arm.wave_at((at - arm.started) / 1e9)
    assert (distance_from_wave(arm, shown, at - 1_000_000, at + 1_000_000) == 0).all()
    assert (distance_from_wave(arm, shown, at + 20_000_000, at + 21_000_000) > late_replies.CLEARLY).any()
    arm.close()


def test_no_late_reply_of_a_single_read_is_taken_for_another_register() -> None:
    found = late_replies.run_registers(100)
    assert found.figures["wrong"] == 0
    assert found.figures["answered"] >= 80


def test_after_a_stall_nothing_old_is_read() -> None:
    found = stall.run(4)
    assert found.figures["old"] == 0
    assert found.figures["fresh"] > 4 * 8
    assert found.figures["recovered_p50"] <= 2


def test_a_silent_motor_is_named_and_costs_the_others_nothing() -> None:
    found = silent_motor.run((3,))
    assert found.figures["faulted"] == 1
    assert found.figures["others_missing"] <= 12  # a host that stands still silences all for some cycles
    assert found.figures["named_ms_p50"] <= 100


def test_lost_replies_end_no_session() -> None:
    figures = loss.beside(0.05, 8).figures
    assert figures["ended"] == 0
    assert figures["lost"] > 3
    assert figures["lossy_ms_p50"] < figures["quiet_ms_p50"] + 1
    assert loss.run(0.02, 1).figures["ended"] == 0


def test_a_later_connect_writes_nothing_into_the_flash() -> None:
    found = eeprom.run(2)
    assert found.figures["first"] > 0
    assert found.figures["later"] == 0


def test_no_action_brings_a_goal_beyond_the_limits() -> None:
    found = adversarial.run(5000)
    figures = found.figures
    assert figures["moved_steps_max"] > 10  # the limits were reached for
    assert figures["accepted"] > 100
    assert figures["refused"] > 3000
    for name in ("illegal_position", "illegal_speed", "illegal_acceleration", "unfit", "not_finite"):
        assert figures[name] == 0, name


def test_chunks_that_come_late_or_not_at_all_cost_no_time_and_break_no_limit() -> None:
    found = chunk_boundaries.run(12, slowest=0.6)
    assert found.figures["ended"] == 0
    assert found.figures["illegal_speed"] == 0
    assert found.figures["boundaries"] > 10
    assert found.figures["boundary_ms_p50"] < found.figures["other_ms_p50"] + 1


@pytest.mark.parametrize("kind", ["killed", "stopped", "stuck"])
def test_a_source_that_falls_silent_is_held_and_nothing_moves_on(kind: str) -> None:
    figures = kills.source(kind, 3).figures
    assert figures["hold_ms_p50"] <= 120  # the last ones on a host that stands still: see the program's own run
    for name in ("moved_again", "illegal_speed"):
        assert figures[name] == 0, name


@pytest.mark.parametrize("kind", ["killed", "stopped", "crashed"])
def test_a_guardian_that_is_gone_is_replaced_by_its_second_hand(kind: str) -> None:
    figures = kills.guardian(kind, 1).figures
    assert figures["safe_ms_p50"] < 1000  # 250 on a host of its own
    for name in ("left_on", "later"):
        assert figures[name] == 0, name


def test_an_emergency_stop_is_written_at_once_and_nothing_moves_after_it() -> None:
    figures = kills.estop(4).figures
    assert figures["stop_ms_p50"] <= 40
    assert figures["unlatched"] == 0


def test_a_motor_that_starts_anew_is_a_fault_and_nothing_moves_on() -> None:
    figures = motors.reboot((2, 5)).figures
    assert figures["ticks_p50"] <= 2
    assert figures["moved_on"] == figures["limp"] == 0


@pytest.mark.parametrize(("seconds", "faulted"), [(0.03, 0), (2.0, 1)])
def test_an_overload_holds_in_the_same_cycle_with_half_the_torque(seconds: float, faulted: int) -> None:
    figures = motors.overload(seconds, (3,)).figures
    assert figures["ticks_p50"] <= 2
    assert figures["halved"] == 1
    assert figures["faulted"] == faulted
    assert figures["restored"] == 1 - faulted


def test_a_cable_that_was_pulled_moves_nothing_by_itself() -> None:
    figures = motors.hang_up(0.1, 1).figures
    assert figures["moved_by_itself"] == 0
    assert figures["armed_again"] == 1


def test_a_signal_at_any_instant_ends_without_torque() -> None:
    figures = ends.signals(3).figures
    assert figures["left_on"] == figures["wrong_code"] == figures["tracebacks"] == 0


def test_of_two_sessions_on_one_port_one_runs_and_a_killed_one_is_in_nobodys_way() -> None:
    figures = ends.races(1).figures
    assert figures["both"] == figures["unnamed"] == figures["stuck"] == figures["left_on"] == 0


def test_short_processes_beside_it_do_not_hold_a_loop_up() -> None:
    figures = load.run("processes", 5).figures
    assert figures["busy_cycles"] > 200
    assert figures["busy_p50"] < 1
