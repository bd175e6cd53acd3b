"""The live table: what it shows, how often it draws, where it stays away; the answer to machines."""

import io
import json
import math
import os
import pty
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rl.api import Feature, RlError
from rl.cli.output import answering, plain
from rl.control import screen
from rl.control.report import ended, rows
from rl.control.sinks import LiveLine, Trace

NAMES = ("left_shoulder.pos", "left_gripper.pos")
PAIR = ["--robot", "so101", "--robot.port", "sim", "--teleop", "so101-leader", "--teleop.port", "sim"]


def robot():
    feature = Feature("action", "action", (2,), unit=("degrees", "percent"), names=NAMES)
    return SimpleNamespace(action=feature, state=feature)


def look(**changes):
    found = {
        "state": "ACTIVE", "reason": "", "cycle": 10, "values": np.array([1.25, 40.0]), "age": np.array([0.004, 0.25]),
        "goal": np.array([2.0, 41.0]), "faults": ("left_shoulder: overload", "bus: noise"),
        "load": np.full(2, np.nan), "temperature": np.full(2, np.nan),
    }  # fmt: skip
    return SimpleNamespace(**(found | changes))


def arm(parts=("",)):
    joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    names = tuple(f"{part}{joint}.pos" for part in parts for joint in joints)
    feature = Feature("action", "action", (len(names),), unit="degrees", names=names)
    return SimpleNamespace(action=feature, state=feature)


def full_look(count, faults=()):
    goal = np.linspace(-133.3, -36.6, count)
    return look(
        values=goal - 0.5, goal=goal, age=np.full(count, 0.004), faults=faults,
        load=np.full(count, 12.5), temperature=np.full(count, 41.0),
    )  # fmt: skip


def drawn(made, width=100):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    console.print(made)
    return console.file.getvalue()


def test_a_row_holds_what_is_known_of_a_joint():
    shoulder, gripper = screen.rows_of(look(), robot())
    assert (shoulder.joint, shoulder.unit, shoulder.goal, shoulder.measured) == ("left_shoulder", "degrees", 2, 1.25)
    assert (shoulder.fault, gripper.fault) == ("overload", "")
    assert gripper.age_s == 0.25
    assert shoulder.load is None


def test_what_the_state_does_not_measure_is_said_so():
    one = robot()
    one.state = Feature("observation.state", "state", (1,), unit="degrees", names=NAMES[:1])
    rows = screen.rows_of(look(values=np.array([1.0]), age=np.array([0.0])), one)
    assert rows[1].measured is None
    assert "-" in drawn(screen.table(look(), one, 1.0, None))


def test_the_table_shows_state_rate_reason_faults_and_load_where_there_is_one():
    text = drawn(screen.table(look(state="HOLD", reason="a leader is mute"), robot(), 12.0, 49.98))
    said = (
        "HOLD",
        "12.0 s",
        "50.0 Hz",
        "a leader is mute",
        "left_gripper",
        "41.0",
        "250",
        "overload",
        "bus: noise",
    )
    assert [words for words in said if words not in text] == []
    assert "33.5" not in text
    assert "33.5" in drawn(screen.table(look(load=np.array([33.5, 1.0])), robot(), 1.0, None))


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (72, "joint goal measured unit age ms load temp."),
        (60, "joint goal measured age ms load temp."),
        (47, "joint goal measured age ms load"),
        (40, "joint goal measured age ms"),
        (33, "joint goal measured"),
    ],
)
def test_where_it_is_narrow_columns_go_whole_and_numbers_and_faults_stay(width, headings):
    seen = full_look(6, ("gripper: overload",))
    text = drawn(screen.table(seen, arm(), 12.0, 50.0, size=(width, 20)), width)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert headings in lines
    assert "gripper: overload" in lines
    assert all(f"{value:.1f}" in text for value in [*seen.goal, *seen.values])
    assert "shoulder_lift" in text
    assert "\u2026" not in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 15), (60, 12), (40, 10), (40, 5), (24, 10), (10, 3)])
@pytest.mark.parametrize("faults", [(), ("right_gripper: overload", "bus: noise")])
def test_no_joint_is_lost_in_silence_at_any_size(width, height, faults):
    text = drawn(screen.table(full_look(12, faults), arm(("left_", "right_")), 1.0, 50.0, size=(width, height)), width)
    rows = [line.split()[0] for line in text.splitlines() if line.startswith(("left_", "right_")) and ":" not in line]
    more = [int(line[1:].split()[0]) for line in text.splitlines() if line.startswith("+")]
    assert len(rows) + sum(more) == 12
    assert width < 30 or len(text.splitlines()) <= height
    assert not faults or not rows or "right_gripper" in rows


def test_faults_without_end_leave_room_for_joints_and_are_counted():
    faults = tuple(f"{side}_{joint}: no reply for 1.2 s" for side in ("left", "right") for joint in "abcdefghij")
    text = drawn(screen.table(full_look(12, faults), arm(("left_", "right_")), 1.0, 50.0, size=(40, 10)), 40)
    assert len(text.splitlines()) <= 10
    assert sum(line.startswith("left_") and ":" not in line for line in text.splitlines()) >= 3
    shown = " ".join(text.split()).count(": no reply")
    assert f"+{20 - shown} more faults" in " ".join(text.split())


def test_an_age_that_nobody_knows_is_drawn():
    text = drawn(screen.table(look(age=np.array([math.inf, math.nan])), robot(), 1.0, None))
    assert "99000" in text


def test_it_draws_at_most_ten_times_a_second_and_leaves_nothing_behind():
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    sink = screen.LiveTable(console)
    looks = []
    loop = SimpleNamespace(snapshot=lambda: looks.append(1) or look())
    session = SimpleNamespace(robot=robot(), loop=loop, source=None, hint="")
    sink.begin(session)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.5:
        sink.poll(session)
        time.sleep(0.005)
    sink.end(session)
    sink.end(session)
    assert 1 <= len(looks) <= 10 * (time.monotonic() - begun) + 1
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")


def test_what_a_keyboard_says_of_itself_is_drawn_as_it_is_now():
    from rich.console import Console

    keyboard = SimpleNamespace(status="keyboard: joints, 30 deg/s")
    session = SimpleNamespace(
        robot=robot(), loop=SimpleNamespace(snapshot=look), source=SimpleNamespace(teleoperator=keyboard), hint=""
    )
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=20)
    sink = screen.LiveTable(console)
    sink.begin(session)
    sink.poll(session)
    keyboard.status = "keyboard: tool, 90 mm/s"
    time.sleep(2 * screen.DRAW_S)
    sink.poll(session)
    sink.end(session)
    text = console.file.getvalue()
    assert text.index("joints, 30 deg/s") < text.index("tool, 90 mm/s")


def test_a_trace_goes_into_a_folder_that_is_there(tmp_path):
    with pytest.raises(RlError, match="--trace: there is no folder"):
        Trace(tmp_path / "none" / "t.npz")
    assert Trace(tmp_path / "t.npz").path.parent.is_dir()


def test_the_rate_is_that_of_the_last_seconds():
    rate = screen.Rate()
    assert rate.at(0.0, 0) is None
    for k in range(1, 40):
        found = rate.at(k * 0.1, k * 5)
    assert found == pytest.approx(50)


def test_without_a_terminal_there_is_no_table(monkeypatch):
    assert isinstance(screen.live_view(), LiveLine)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(screen.live_view(), screen.LiveTable)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen.live_view(), LiveLine)


def test_the_end_says_why_and_what_was_held_on_the_way():
    states = [("ACTIVE", 0, ""), ("HOLD", 1, "x"), ("ACTIVE", 2, ""), ("HOLD", 3, "x"), ("OFF", 4, "at rest")]
    found = dict(ended({"states": states, "still_energised": ["elbow (id 3)"]}))
    assert found == {"ended": "OFF, at rest", "on the way": "HOLD: x (2 times)", "still energised": "elbow (id 3)"}
    assert ended({"states": [], "still_energised": []}) == []


def test_a_machine_gets_one_object_and_nothing_else(capsys):
    with answering("teleop", json=True) as answer:
        sys.stdout.write("for people")
        answer["values"] = np.array([1.0, math.inf])
    out, err = capsys.readouterr()
    assert json.loads(out) == {"command": "teleop", "values": [1.0, None]}
    assert "for people" in err


def test_a_machine_is_told_of_failures(capsys):
    def fail():
        with answering("teleop", json=True) as answer:
            answer["rows"] = 3
            raise RlError("no reply", where="bus")

    with pytest.raises(RlError):
        fail()
    assert json.loads(capsys.readouterr().out) == {
        "command": "teleop", "rows": 3, "exit_code": 1, "error": "bus: no reply"
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt), answering("teleop", json=True):
        raise KeyboardInterrupt
    assert json.loads(capsys.readouterr().out)["exit_code"] == 130


def test_people_get_no_object(capsys):
    with answering("teleop", json=False):
        sys.stdout.write("for people")
    assert capsys.readouterr().out == "for people"


def test_whatever_is_answered_is_json():
    odd = {1: object(), "a": (np.float32(1.5), True, None, np.int64(3)), "b": {"c": math.nan}}
    assert json.loads(json.dumps(plain(odd), allow_nan=False))["a"] == [1.5, True, None, 3]


def test_two_arms_are_led_by_two_leaders_and_answer_a_machine(tmp_path):
    arms = [f"--{part}.arms.{side}.port=sim" for part in ("robot", "teleop") for side in ("left", "right")]
    words = ["teleop", "--robot", "so101", "--teleop", "so101-leader", *arms, "--fps", "50", "--play_sounds", "true"]
    done = subprocess.run(
        [sys.executable, "-m", "rl.cli.main", *words, "--duration", "1.5", "--json", "--trace", "t.npz"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == 0
    assert answer["loops"]["core"]["states"][-1][0] == "OFF"
    assert "note: " in done.stderr
    with np.load(tmp_path / "t.npz", allow_pickle=False) as trace:
        names = [str(name) for name in trace["names"]]
        moving = trace["goal"][trace["state"] == 2]
    assert names[0] == "left_shoulder_pan.pos"
    assert names[-1] == "right_gripper.pos"
    assert np.ptp(moving[:, [0, 6]], axis=0).min() > 10  # both follow


def test_a_person_at_a_terminal_sees_the_table_and_then_the_report(tmp_path):
    pid, descriptor = pty.fork()
    if pid == 0:  # pragma: no cover
        os.environ.update(TERM="xterm", COLUMNS="100", LINES="40")
        command = [sys.executable, "-m", "rl.cli.main", "teleop", *PAIR, "--duration", "1"]
        os.chdir(tmp_path)
        os.execv(sys.executable, command)
    seen = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # the end of a pseudo-terminal
            break
        if not piece:
            break
        seen += piece
    _, status = os.waitpid(pid, 0)
    os.close(descriptor)
    text = seen.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) == 0, text[-2000:]
    table, _, report = text.rpartition("reached rate")
    assert "measured" in table
    assert "shoulder_lift" in table
    assert "\x1b[?25h" in table  # the cursor is back before the report
    assert "measured" not in report


def test_a_fault_with_an_id_stands_in_the_row_of_its_joint():
    shoulder, gripper = screen.rows_of(look(faults=("left_gripper (id 6): warm, 60 deg C or more",)), robot())
    assert (shoulder.fault, gripper.fault) == ("", "warm, 60 deg C or more")
    assert "bus" not in drawn(screen.table(look(faults=()), robot(), 1.0, None))


def test_the_report_shows_what_the_session_was_warned_of():
    empty = {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}
    counts = dict.fromkeys(("target_hz", "reached_hz", "active_cycles", "active_s", "misses", "late_reads"), 0)
    report = counts | {
        "period_error_ms": empty, "missing": {}, "clamped": 12, "starved": 0, "rejected": {}, "states": [],
        "warnings": ["limits: 12 % of the set points ask for more than they allow"],
    }  # fmt: skip
    assert ("warning", "limits: 12 % of the set points ask for more than they allow") in rows(report)
