"""Torque off, motor by motor, of an arm that stands: nothing is moved, a motor that fails does not keep the others."""

from contextlib import suppress

from rl.api.protocols import Screen
from rl.plugins.so101.bench import Bench
from rl.plugins.so101.config import LeaderConfig, So101Config


def release(config: So101Config | LeaderConfig, screen: Screen, *, leader: bool) -> None:
    """Asks a person to hold the arm first. Errors: RlError naming the motors that still hold or do not answer."""
    with Bench(config, screen, leader=leader) as bench:
        bench.screen.ask("hold", "Hold the arm, then press Enter: it goes limp.")
        from rl import _core

        try:
            bench.relax()
        finally:
            with suppress(_core.CoreError):  # a motor that does not answer was named already
                bench.close_locks()
        bench.screen.result("pass", "no motor has torque")
