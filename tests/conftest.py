"""What every test may ask for: the reference data beside the checkout, a quiet environment, one thread of sums."""

import os
import signal
from pathlib import Path

import pytest

from tests.host_stalls import RunAgain

# Read by torch and numpy when they are first imported: the suite runs in several processes on few cores, and sums in
# one thread have one order.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Started in the background, this process ignores Ctrl-C, and its children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).resolve().parents[1]
collect_ignore = ["fixtures"]  # distributions with tests of their own, run where they are installed


def pytest_configure(config: pytest.Config) -> None:
    """Tests that measure time know whether the host stood still."""
    config.pluginmanager.register(RunAgain())


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of this repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data (goldens, data sets, facts): the folder `shared` beside the checkout.

    Absent: the test is skipped with the reason, and fails where CI=true, because there it must be present.
    """
    folder = CHECKOUT.parent / "shared"
    if folder.is_dir():
        return folder
    reason = f"the reference data are not at {folder}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A developer's own switches decide no test, and no black box of a test comes among theirs."""
    for name in ("RL_PLUGINS", "RL_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("COLUMNS", "120")
