"""Batches for ever: the same whatever makes them, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice

import numpy as np
import pytest

from rl.api import InputError, RlError
from rl.data import Batches, WindowView
from tests.data.toy import ToyReader

OFFSETS = {"action": (0, 1, 2), "camera": (-1, 0)}


def view(**options) -> WindowView:
    return WindowView(ToyReader(**options), OFFSETS)


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_steps_batch_is_the_same_whatever_the_number_of_workers(workers):
    with Batches(view(), 3, seed=5) as here, Batches(view(), 3, seed=5, workers=workers) as apart:
        for (step, one), (number, other) in islice(zip(here, apart, strict=True), 12):
            assert step == number
            assert equal(one, other)


def test_a_resumed_stream_goes_on_in_mid_epoch():
    with Batches(view(), 3, seed=1) as whole, Batches(view(), 3, seed=1, workers=2, start_step=4) as resumed:
        want = dict(islice(whole, 9))
        for step, batch in islice(resumed, 5):
            assert equal(batch, want[step])
        assert resumed.step == 9


def test_two_ranks_share_a_global_batch():
    with (
        Batches(view(), 8, seed=3, rank=0, world=2) as one,
        Batches(view(), 8, seed=3, rank=1, world=2) as other,
    ):
        rows = [next(one)[1]["index"], next(other)[1]["index"]]
    assert sorted(np.concatenate(rows).tolist()) == list(range(16))
    assert one.epoch == 1.0


def test_a_batch_belongs_to_the_caller():
    with Batches(view(), 4, seed=0, workers=1, prefetch=1) as batches:
        _, first = next(batches)
        kept = {k: np.array(v) for k, v in first.items()}
        for _ in range(4):
            next(batches)
        assert equal(first, kept)
        first["camera"][:] = 0


def test_the_wait_is_measured():
    with Batches(view(slow=0.05), 4, seed=0, workers=0) as batches:
        next(batches)
        assert batches.waited >= 0.05


@pytest.mark.parametrize("workers", [0, 2])
def test_an_input_error_crosses_over_whole_at_its_step(workers):
    with Batches(view(bad=9), 4, seed=0, workers=workers) as batches, pytest.raises(InputError) as caught:
        list(islice(batches, 8))
    assert (caught.value.what, caught.value.where, caught.value.todo) == ("is damaged", "row 9", "leave it out")


def test_a_worker_that_dies_is_an_error_and_not_a_hang():
    with Batches(view(kill=9), 4, seed=0, workers=2) as batches, pytest.raises(RlError, match="ended with code 7"):
        list(islice(batches, 8))


def test_batches_too_large_for_shared_memory_travel_by_pipe(monkeypatch):
    from rl.data import workers

    monkeypatch.setattr(workers, "_LARGEST", 10)
    with Batches(view(), 3, seed=5) as here, Batches(view(), 3, seed=5, workers=1) as apart:
        for (_, one), (_, other) in islice(zip(here, apart, strict=True), 4):
            assert equal(one, other)


class Sealed(ToyReader):
    """Cannot be rebuilt in another process."""

    def __reduce__(self):
        return (int, ("no number",))


def test_a_reader_that_cannot_be_rebuilt_in_a_worker_says_so_at_every_step():
    with Batches(WindowView(Sealed(), OFFSETS), 3, seed=0, workers=1) as batches:
        for _ in range(2):
            with pytest.raises(RlError, match="invalid literal"):
                next(batches)


def test_a_script_without_a_guard_is_not_run_again_by_the_workers(tmp_path, checkout):
    script = tmp_path / "plain.py"
    body = "from rl.data import Batches, WindowView; from tests.data.toy import ToyReader; print('begun', flush=True); "
    body += (
        "b = Batches(WindowView(ToyReader(), {'camera': (0,)}), 4, seed=0, workers=2); next(b); b.close(); print('ok')"
    )
    script.write_text(body)
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "begun\nok\n"
    assert done.stderr == ""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_closing_ends_the_workers_and_may_be_done_twice():
    batches = Batches(view(), 3, seed=0, workers=2)
    next(batches)
    pids = [w.process_id for w in batches._workers]
    batches.close()
    batches.close()
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"workers": -1}, {"prefetch": 0}, {"rank": 2, "world": 2}],
    ids=["batch", "workers", "prefetch", "rank"],
)
def test_numbers_that_do_not_fit_are_refused(options):
    given = {"batch_size": 2, "seed": 0} | options
    with pytest.raises(InputError):
        Batches(view(), given.pop("batch_size"), **given)


SCRIPT = """
import sys, time
from rl.data import Batches, WindowView
from tests.data.toy import ToyReader

if __name__ == "__main__":
    batches = Batches(WindowView(ToyReader(), {"camera": (0,)}), 4, seed=0, workers=2)
    next(batches)
    try:
        print(*[w.process_id for w in batches._workers], flush=True)
        while True:
            next(batches)
            time.sleep(0.01)
    except KeyboardInterrupt:
        batches.close()
        print("closed", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_kill_of_the_parent_leave_no_worker_and_no_traceback(tmp_path, checkout, how):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=checkout,
        env=environment,
    )
    pids = [int(p) for p in run.stdout.readline().split()]
    assert len(pids) == 2
    if how == signal.SIGINT:
        os.killpg(run.pid, how)  # a terminal's Ctrl-C reaches the workers too
    else:
        os.kill(run.pid, how)
    out, err = run.communicate(timeout=30)
    until = time.monotonic() + 10
    while any(alive(p) for p in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(p) for p in pids)
    assert "Traceback" not in err
    assert out == ("closed\n" if how == signal.SIGINT else "")
