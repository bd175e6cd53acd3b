"""The SO-101 arm (and SO-100, which speaks the same): follower and leader, six STS3215 servos on one bus each."""

from rl.api import RobotSpec, TeleoperatorSpec, hookimpl

RL_API = 1

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = tuple(f"{joint}.pos" for joint in JOINTS)


@hookimpl
def rl_robots() -> list[RobotSpec]:
    return [
        RobotSpec(
            name="so101",
            summary="SO-101 or SO-100 follower arm over the real-time core; port sim emulates one",
            target="rl.plugins.so101.robot:So101",
            config="rl.plugins.so101.config:So101Config",
            joints=NAMES,
            emulator="rl.plugins.so101.emulation:follower",
            aliases=("so101_follower", "so100", "so100_follower"),
        )
    ]


@hookimpl
def rl_teleoperators() -> list[TeleoperatorSpec]:
    return [
        TeleoperatorSpec(
            name="so101-leader",
            summary="SO-101 or SO-100 leader arm; port sim emulates one that waves by itself",
            target="rl.plugins.so101.leader:So101Leader",
            config="rl.plugins.so101.config:LeaderConfig",
            drives=("so101",),
            emulator="rl.plugins.so101.emulation:leader",
            aliases=("so101_leader", "so100_leader"),
        )
    ]
