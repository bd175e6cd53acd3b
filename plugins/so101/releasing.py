"""Torque off, motor by motor, of an arm that stands: nothing is moved, a motor that fails does not keep the others."""

from rl.api import RlError
from rl.api.protocols import Screen
from rl.plugins.so101 import JOINTS
from rl.plugins.so101.bench import Bench
from rl.plugins.so101.config import LeaderConfig, So101Config

ORDER = (
    "wrist_roll",
    "wrist_flex",
    "elbow_flex",
    "shoulder_lift",
    "shoulder_pan",
    "gripper",
)  # what is held falls last


def release(config: So101Config | LeaderConfig, screen: Screen, *, leader: bool) -> None:
    """Asks a person to hold the arm first. Errors: RlError naming the motors that still hold or do not answer."""
    with Bench(config, screen, leader=leader) as bench:
        bench.screen.ask("hold", "Hold the arm: it goes limp. Then press Enter.")
        still = bench.bus.relax([bench.ids[name] for name in ORDER])
        if still:
            names = ", ".join(f"{name} (id {bench.ids[name]})" for name in JOINTS if bench.ids[name] in still)
            todo = "switch the arm's supply off while somebody holds it"
            raise RlError(f"still energised, or silent: {names}", where=bench.bus.port, todo=todo)
        bench.screen.result("pass", "no motor has torque")
