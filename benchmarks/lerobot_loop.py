"""The loop of lerobot-teleoperate on two ports, by LeRobot's interpreter, for benchmarks/realtime.py.

lerobot_loop.py FOLLOWER_PORT LEADER_PORT CALIBRATIONS HZ SECONDS KIND. The folder holds follower/arm.json and
leader/arm.json. Imports nothing of rl.
"""

import sys
import time
from pathlib import Path

from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig
from lerobot.teleoperators.so_leader import SO101Leader, SO101LeaderConfig
from lerobot.utils.robot_utils import precise_sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.disturbance import start


def main(follower_port: str, leader_port: str, folder: str, hz: str, seconds: str, kind: str) -> None:
    place = Path(folder)
    follower = SO101Follower(SO101FollowerConfig(port=follower_port, id="arm", calibration_dir=place / "follower"))
    leader = SO101Leader(SO101LeaderConfig(port=leader_port, id="arm", calibration_dir=place / "leader"))
    follower.connect()
    leader.connect()
    start(kind)
    end = time.perf_counter() + float(seconds)
    while time.perf_counter() < end:
        begin = time.perf_counter()
        follower.get_observation()
        follower.send_action(leader.get_action())
        precise_sleep(max(1 / float(hz) - (time.perf_counter() - begin), 0.0))
    leader.disconnect()
    follower.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
