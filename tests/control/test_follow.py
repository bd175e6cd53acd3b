"""How well a motion follows a wave, and the page that shows it."""

import numpy as np
import pytest

from rl.control.follow import followed
from rl.control.page import Curve, Page, chart

times = np.linspace(0, 8, 400)


def wave(t):
    return np.stack([10 * np.sin(np.pi * t / 2), 5 * np.cos(np.pi * t / 2)], -1)


def test_the_wave_itself_at_another_phase_has_no_error():
    result = followed(times, wave(times + 1.37), wave, 4.0)
    assert result.error < 0.1
    assert result.phase_s == pytest.approx(1.37, abs=0.02)


def test_holding_still_is_worse_than_following_and_never_better_than_the_middle():
    result = followed(times, wave(times + 0.5), wave, 4.0)
    assert result.error < result.middle <= result.still


def test_a_motionless_arm_does_not_follow():
    result = followed(times, np.zeros((400, 2)), wave, 4.0)
    assert result.error == pytest.approx(result.still, rel=0.05)


def test_one_instant_is_no_motion():
    with pytest.raises(ValueError, match="two instants"):
        followed(np.zeros(1), np.zeros((1, 2)), wave, 4.0)


def test_a_page_needs_no_network_and_escapes_what_it_shows(tmp_path):
    page = Page("a <b> page")
    page.heading("<script>")
    page.table([("x", "<1>")])
    page.chart("curve", [Curve("<c>", times, wave(times)[:, 0])], "s")
    page.picture("one", b"\x89PNG", 10)
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert "http" not in text
    assert "<polyline" in text
    assert not list(tmp_path.glob("*.partial"))


def test_a_curve_may_hold_numbers_that_are_none():
    assert "polyline" in chart([Curve("c", np.arange(3), np.array([1.0, np.nan, 2.0]))], log=True)
