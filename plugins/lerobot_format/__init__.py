"""LeRobotDataset v3.0: parquet rows, MP4 cameras, JSON metadata; read and written."""

import json
from pathlib import Path

from rl.api import FormatSpec, Need, hookimpl

RL_API = 1

_NEEDS = (Need(module="pyarrow", install="rl-toolkit[record]"), Need(module="av", install="rl-toolkit[record]"))


def sniff(path: Path) -> bool:
    """Whether `path` is a folder laid out as a LeRobotDataset, of any version: the reader says what it can read."""
    info = path / "meta" / "info.json"
    try:
        if not path.is_dir():
            return False
        found_info = info.is_file()
    except OSError:  # a folder that may not be entered
        return False
    if found_info:
        try:
            if info.stat().st_size > 1 << 24:
                return True
            found = json.loads(info.read_text("utf-8", errors="replace"))
        except (ValueError, OSError, RecursionError):
            return True  # damaged: the reader names the damage
        return isinstance(found, dict) and bool({"codebase_version", "features", "fps"} & found.keys())
    return (path / "meta" / "episodes").is_dir() or (path / "meta" / "tasks.parquet").is_file()


@hookimpl
def rl_dataset_formats() -> list[FormatSpec]:
    """The format, once."""
    return [
        FormatSpec(
            name="lerobot",
            summary="LeRobotDataset v3.0, a folder with meta/info.json, data/ and videos/",
            target="rl.plugins.lerobot_format.format:LeRobotFormat",
            config="rl.plugins.lerobot_format.config:LeRobotConfig",
            needs=_NEEDS,
            aliases=("lerobot-v3",),
            sniff="rl.plugins.lerobot_format:sniff",
            writes=True,
        )
    ]
