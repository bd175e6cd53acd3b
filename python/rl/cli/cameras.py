"""`rl cameras`: which cameras there are, and a picture of each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rl.api.errors import MissingPart, RlError
from rl.config.command_line import CommandSpec, Resolved
from rl.control.config import CamerasConfig

SPEC = CommandSpec(
    name="cameras",
    tree=CamerasConfig,
    summary="List cameras and save a picture of each: rl cameras, or rl cameras --camera.front.type opencv ...",
    aliases={"warmup_s": "warmup", "cameras": "camera"},
    short={"-o": "output_dir"},
)


def run(resolved: Resolved) -> int:
    """0 when every camera gave a picture, 1 when one did not, 3 when there is none."""
    config: CamerasConfig = resolved.config
    chosen = dict(config.camera)
    if config.robot is not None:
        chosen |= getattr(config.robot.config, "cameras", {})
    if not chosen:
        chosen = found_devices()
    if not chosen:
        raise MissingPart(
            "no camera was found (no /dev/video* that OpenCV can open)",
            todo="plug one in, or try --camera.test.type synthetic",
        )
    folder = Path(config.output_dir)
    failed = 0
    for role, selected in chosen.items():
        try:
            print(f"{role}: {_picture(role, selected, folder, config.warmup)}")
        except RlError as error:
            failed += 1
            print(f"{role}: {error}")
    return 1 if failed else 0


def found_devices() -> dict[str, Any]:
    """V4L2 devices that take pictures, as configurations of the opencv camera. Metadata nodes are left out."""
    from rl.config import Selected
    from rl.registry import registry

    config = registry().config_class("camera", "opencv")
    found = {}
    for device in sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name)):
        number = device.name.removeprefix("video")
        if number.isdigit() and _captures(number):
            found[device.name] = Selected("camera", "opencv", config(index_or_path=int(number)))
    return found


def _captures(number: str) -> bool:
    """A device has several nodes; the one with index 0 gives the pictures."""
    index = Path(f"/sys/class/video4linux/video{number}/index")
    try:
        return index.read_text().strip() == "0"
    except OSError:
        return True


def _picture(role: str, selected: Any, folder: Path, warmup: float) -> str:
    """Opens the camera, waits, writes one PNG; returns a line about both."""
    from rl.registry import registry

    camera = registry().implementation("camera", selected.name)(selected.config)
    camera.open()
    try:
        time.sleep(warmup)
        frame = camera.latest()
    finally:
        camera.close()
    if frame is None:
        raise RlError("gave no picture", where=role)
    height, width = frame.image.shape[:2]
    path = folder / f"{role}.png"
    write_png(path, frame.image)
    notes = "; ".join(getattr(camera, "notes", ()))
    return f"{width}x{height}, saved as {path}" + (f" ({notes})" if notes else "")


def write_png(path: Path, image: Any) -> None:
    """An (H, W, 3) uint8 RGB picture as PNG, without any image library. Written aside and renamed."""
    import struct
    import zlib

    import numpy as np

    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + width * 3), np.uint8)  # every row begins with its filter, 0
    rows[:, 1:] = np.ascontiguousarray(image).reshape(height, width * 3)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    aside.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    aside.rename(path)
