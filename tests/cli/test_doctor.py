"""What `rl doctor` finds of the things without which no arm is armed."""

import time

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
