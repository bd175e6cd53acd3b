"""What `rl doctor` finds of the things without which no arm is armed."""

import time

import pytest

from rl.cli import doctor


def findings():
    return {(finding.mark, finding.what) for finding in doctor._black_box()}


def test_the_place_of_black_boxes_is_named_though_it_is_not_made_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert findings() == {("ok", f"black boxes go to {tmp_path / 'state' / 'rl' / 'blackbox'}")}
    assert not list(tmp_path.iterdir())


def test_a_place_that_nothing_can_be_written_into_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "state").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert findings() == {("FAIL", f"nothing can be written into {tmp_path / 'state'}")}


def test_a_clock_that_was_never_set_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    assert ("FAIL", "the clock has never been set") in findings()


@pytest.mark.parametrize("there", [True, False])
def test_idle_cores_that_may_wake_up_late_are_told(tmp_path, monkeypatch, there):
    device = tmp_path / "cpu_dma_latency"
    if there:
        device.touch()
    monkeypatch.setattr(doctor, "IDLE_CORES", device)
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: False)
    (told,) = (f for f in doctor._realtime() if "idle cores" in f.what)
    assert (told.mark, told.what) == ("warn", "idle cores may sleep, and wake up late")
    assert ("udev" in told.todo) == there
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: place == device)
    assert doctor.Finding("ok", "idle cores wait awake while a loop runs") in doctor._realtime()
