"""`rl doctor`: what this machine has, each check on its own; nothing optional is imported unguarded."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved

IDLE_CORES = Path("/dev/cpu_dma_latency")  # who holds it open keeps them awake
YEAR_2025 = 1_735_689_600  # s since 1970: older than this program is no date of today


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """What `rl doctor` prints."""

    json: Annotated[bool, doc("print JSON")] = False


SPEC = CommandSpec(
    name="doctor", tree=DoctorConfig, summary="Check this machine and say what is missing and how to get it."
)


@dataclass(frozen=True)
class Finding:
    """One line of the report. `bad`: something that a user of the base install needs is broken."""

    mark: str  # "ok", "warn", "FAIL", "-"
    what: str
    todo: str = ""


def run(resolved: Resolved) -> int:
    """Print every check. Exit code 1 when one failed."""
    findings = [finding for check in CHECKS for finding in _guarded(check)]
    if resolved.config.json:
        import dataclasses
        import json

        print(json.dumps([dataclasses.asdict(f) for f in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.mark:5} {finding.what}" + (f"; {finding.todo}" if finding.todo else ""))
    return 1 if any(f.mark == "FAIL" for f in findings) else 0


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  a broken machine is what this command is for
        return [Finding("FAIL", f"{check.__name__.strip('_')}: {type(error).__name__}: {error}")]


def _python() -> list[Finding]:
    from rl import __version__

    found = Finding("ok", f"rl {__version__}, Python {platform.python_version()}, {platform.platform()}")
    return [found] if sys.version_info >= (3, 10) else [Finding("FAIL", found.what, "Python 3.10 or newer is needed")]


def _core() -> list[Finding]:
    if importlib.util.find_spec("rl._core") is None:
        mark = "FAIL" if sys.platform == "linux" else "-"
        return [
            Finding(
                mark, "the real-time core is not there", "it is built on Linux; training and export work without it"
            )
        ]
    import rl._core

    return [Finding("ok", f"real-time core {Path(rl._core.__file__).name}")]


def _extras() -> list[Finding]:
    wanted = {
        "numpy": "", "onnxruntime": "deploy", "cv2": "camera", "av": "record", "pyarrow": "record", "torch": "train",
        "tensorboard": "train", "onnx": "export", "onnxscript": "export", "transformers": "vla", "mujoco": "sim",
    }  # fmt: skip
    names = {"cv2": "opencv-python-headless"}
    found = []
    for module, extra in wanted.items():
        if importlib.util.find_spec(module) is None:
            found.append(Finding("-", f"{module} is not installed", f'pip install "rl-toolkit[{extra}]"'))
            continue
        try:
            version = metadata.version(names.get(module, module))
        except metadata.PackageNotFoundError:
            version = "of an unknown distribution"
        found.append(Finding("ok", f"{module} {version}"))
    both = [d for d in ("onnxruntime", "onnxruntime-gpu") if _installed(d)]
    if len(both) == 2:
        found.append(
            Finding("FAIL", "onnxruntime and onnxruntime-gpu are both installed", "uninstall one: they share files")
        )
    return found


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _plugins() -> list[Finding]:
    from rl.registry import registry

    found = registry()
    broken = [Finding("warn", f"plugin {source} is broken: {cause}") for source, cause in found.broken.items()]
    return [Finding("ok", f"{len(found.loaded)} plugins"), *broken]


def _ports() -> list[Finding]:
    ports = sorted(p for kind in ("ttyACM*", "ttyUSB*") for p in Path("/dev").glob(kind))
    if not ports:
        return [Finding("-", "no serial port of an arm (ttyACM*, ttyUSB*)", "--robot.port sim needs none")]
    found = []
    for port in ports:
        if os.access(port, os.R_OK | os.W_OK):
            found.append(Finding("ok", _used(port) or f"{port} can be opened"))
            found += _adapter(port)
        else:
            group = port.group()
            found.append(
                Finding("warn", f"{port}: no permission", f"sudo usermod -aG {group} $USER, then log in again")
            )
    return found


def _used(port: Path) -> str:
    from rl.control.port_users import users

    named = ", ".join(f"{one.number} ({one.name})" for one in users(str(port)))
    return f"{port} is in use by process {named}" if named else ""


def _adapter(port: Path) -> list[Finding]:
    """Names by which the adapter is found again, and whether it holds bytes back."""
    if importlib.util.find_spec("rl._core") is None:
        return []
    from rl import _core

    facts = _core.usb_port(str(port))
    if not facts["vendor"]:
        return []
    name = facts["by_id"] or "no name that stays (/dev/serial/by-id)"
    serial = f"serial {facts['serial']}" if facts["serial"] else "no serial number: it is not found again by itself"
    found = [Finding("ok", f"{port} is {facts['name'] or 'an adapter'} ({facts['driver']}), {serial}, {name}")]
    if facts["slow"]:
        found.append(Finding("warn", f"{port}: {facts['slow']}"))
    return found


def _realtime() -> list[Finding]:
    priority, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    memory, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    found = []
    if priority > 0 or priority == -1 or os.geteuid() == 0:
        found.append(Finding("ok", "real-time priority may be asked for"))
    else:
        how = "add '@realtime - rtprio 95' to /etc/security/limits.d, join the group, log in again"
        found.append(Finding("warn", "no real-time priority: under load goals may be late by milliseconds", how))
    if memory not in (-1,) and memory < 64 << 20 and os.geteuid() != 0:
        found.append(Finding("warn", "memory cannot be locked", "add '@realtime - memlock unlimited' there too"))
    if os.access(IDLE_CORES, os.W_OK):
        found.append(Finding("ok", "idle cores wait awake while a loop runs"))
    else:
        how = f"there is no {IDLE_CORES}; give it to the container with --device {IDLE_CORES}"
        if IDLE_CORES.exists():
            how = 'a udev rule, KERNEL=="cpu_dma_latency", GROUP="realtime", MODE="0660" (docs/install.md)'
        found.append(Finding("warn", "idle cores may sleep, and wake up late", how))
    return found


def _black_box() -> list[Finding]:
    """Without a place for it, and without a date to name it by, no arm is armed."""
    from rl.control.settings import black_box_folder

    found = []
    if time.time() < YEAR_2025:
        found.append(Finding("FAIL", "the clock has never been set", "sudo timedatectl set-time"))
    folder = black_box_folder()
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        found.append(Finding("ok", f"black boxes go to {folder}"))
    else:
        found.append(Finding("FAIL", f"nothing can be written into {place}", "set XDG_STATE_HOME to a folder of yours"))
    return found


def _gpu() -> list[Finding]:
    if shutil.which("nvidia-smi") is None:
        return [Finding("-", "no NVIDIA driver: training runs on the CPU")]
    return [Finding("ok", "NVIDIA driver found")]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    mark = "ok" if free > 5 else "warn"
    return [Finding(mark, f"{free:.0f} GB free here", "" if free > 5 else "recordings and checkpoints need room")]


CHECKS = (_python, _core, _extras, _plugins, _ports, _realtime, _black_box, _gpu, _disk)
