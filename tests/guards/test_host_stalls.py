"""Only a failure beside which the host stood still is run again, and the summary says so."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.host_stalls import HostWatch

TIMED_TESTS = """
from pathlib import Path

runs = Path(__file__).with_name("runs")


def test_measures():
    with runs.open("a") as out:
        out.write("x")
    assert len(runs.read_text()) > {fails}, "too late"
"""

REGISTER = """
from tests.host_stalls import RunAgain


class Host:
    def worst(self, since):
        return {stall}

    def close(self):
        pass


def pytest_configure(config):
    plugin = RunAgain()
    plugin.watch = Host()
    config.pluginmanager.register(plugin)
"""


def run(folder: Path, checkout: Path, fails: int, stall: float) -> tuple[int, int, str]:
    """The exit status, how often the test ran, what was printed."""
    folder.mkdir()
    (folder / "conftest.py").write_text(REGISTER.format(stall=stall))
    (folder / "test_timed.py").write_text(TIMED_TESTS.format(fails=fails))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        capture_output=True,
        text=True,
        cwd=checkout,
        env={"PYTHONPATH": str(checkout)},
    )
    return done.returncode, len((folder / "runs").read_text()), done.stdout


@pytest.mark.parametrize(
    ("fails", "stall", "status", "runs"),
    [(1, 30.0, 0, 2), (2, 30.0, 0, 3), (3, 30.0, 1, 3), (1, 0.0, 1, 1), (0, 30.0, 0, 1)],
    ids=["once", "twice", "always", "without a stall", "passes"],
)
def test_a_failure_is_run_again_only_where_the_host_stood_still(
    tmp_path: Path, checkout: Path, fails: int, stall: float, status: int, runs: int
) -> None:
    was, times, printed = run(tmp_path / "core", checkout, fails, stall)
    assert (was, times) == (status, runs), printed
    assert printed.count("stood still for 30 ms (") == runs - 1, printed


def test_other_tests_fail_as_ever(tmp_path: Path, checkout: Path) -> None:
    assert run(tmp_path / "data", checkout, 1, 30.0)[:2] == (1, 1)


def test_the_watch_sees_a_process_that_was_stopped() -> None:
    watch = HostWatch()
    try:
        time.sleep(0.3)
        for expected in (False, True):
            since = time.monotonic()
            watch.process.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            watch.process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
            assert (watch.worst(since if expected else time.monotonic()) > 90) is expected
    finally:
        watch.close()
