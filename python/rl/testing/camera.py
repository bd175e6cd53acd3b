"""The conformance kit for cameras: `check_camera` in a test of the plugin's own distribution."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rl.api.errors import RlError
from rl.testing import listing
from rl.testing.conformance import LeftOut, Violation, check_rules, refused, require, rule, told
from rl.testing.machines import MachineSubject, ended, made_quietly, soon

WAIT = 0.02  # s: a call that takes longer has waited for a frame
SILENCE = 3.0  # s after which an unplugged camera must have been noticed


class CameraSubject(MachineSubject):
    @contextmanager
    def opened(self) -> Iterator[Any]:
        camera = self.make()
        try:
            camera.open()
            yield camera
        finally:
            camera.close()


@rule("__init__ does no I/O, and its image is known before opening", gate=True)
def is_made_quietly(subject: CameraSubject) -> None:
    camera = made_quietly(subject, ("image",), "image")
    shape, dtype = camera.image.shape, camera.image.dtype
    colour = len(shape) == 3 and shape[2] == 3 and dtype == "uint8"
    depth = len(shape) == 3 and shape[2] == 1 and dtype == "uint16"
    require(colour or depth, f"'image' is {shape} {dtype}", "(H, W, 3) uint8 RGB, or (H, W, 1) uint16 depth in mm")


@rule("a frame before opening is refused")
def needs_opening(subject: CameraSubject) -> None:
    refused("latest() before open()", subject.make().latest, todo="raise InputError('not open', ...)")


@rule("sequence and capture times rise, and are never later than now", gate=True)
def times_rise(subject: CameraSubject) -> None:
    with subject.opened() as camera:
        frames = [soon("the first frame", camera.latest)]
        while len(frames) < 4:
            last = frames[-1]
            newer = soon("the next frame", lambda c=camera, before=last: _newer(c, before), 2.0)  # type: ignore[misc]
            now = time.monotonic_ns()
            rises = newer.sequence > last.sequence and newer.captured > last.captured
            what = f"frame {last.sequence} at {last.captured} is followed by {newer.sequence} at {newer.captured}"
            require(rises, what, "count and stamp each new image")
            require(newer.captured <= now, f"a frame is stamped {(newer.captured - now) / 1e6:.1f} ms in the future")
            recent = now - newer.captured < 60_000_000_000
            require(recent, "captured is no time of the monotonic clock", "time.monotonic_ns(), of the light")
            frames.append(newer)
        for frame in frames:
            fits = frame.image.shape == camera.image.shape and str(frame.image.dtype) == camera.image.dtype
            what = f"a frame is {frame.image.shape} {frame.image.dtype}, 'image' says {camera.image.shape}"
            require(fits, what, "the size of the config, converted where the driver gives another")


def _newer(camera: Any, before: Any) -> Any:
    """The newest frame once it is another one. The same sequence must be the same image at the same time."""
    frame = camera.latest()
    if frame is None or frame.sequence == before.sequence:
        return None
    return frame


@rule("a frame that was handed out is not written over")
def frames_stay(subject: CameraSubject) -> None:
    with subject.opened() as camera:
        first = soon("the first frame", camera.latest)
        held = first.image.copy()
        for _ in range(2):
            first_again = first
            soon("the next frame", lambda c=camera, b=first_again: _newer(c, b), 2.0)  # type: ignore[misc]
        same = bool((held == first.image).all())
        require(same, "a frame changes after it was handed out", "give every frame its own array")


@rule("latest does not wait")
def does_not_wait(subject: CameraSubject) -> None:
    with subject.opened() as camera:
        soon("the first frame", camera.latest)
        times = []
        for _ in range(40):
            begin = time.perf_counter()
            camera.latest()
            times.append(time.perf_counter() - begin)
        slow = sorted(times)[len(times) * 3 // 4]  # a busy machine may stall some
        require(slow < WAIT, f"latest() takes {slow * 1e3:.0f} ms", "read in a thread of its own, give the newest")


@rule("an unplugged camera is an error, not a stale image")
def tells_unplugging(subject: CameraSubject) -> None:
    if subject.unplug is None:
        raise LeftOut("no `unplug` was given to the check")
    camera = subject.make()
    camera.open()
    try:
        soon("the first frame", camera.latest)
        subject.unplug(camera)
        until = time.monotonic() + SILENCE
        while time.monotonic() < until:
            camera.latest()
            time.sleep(0.02)
    except Violation:
        raise
    except RlError:
        return
    except Exception as error:
        raise Violation(f"unplugged, latest() {told(error)}", "raise RlError, one line") from error
    finally:
        ended("close() of an unplugged camera", camera.close)
    raise Violation(f"{SILENCE:g} s after it was unplugged latest() still gives an image", "raise RlError")


@rule("close may be called twice and releases the camera", gate=True)
def releases(subject: CameraSubject) -> None:
    camera = subject.make()
    camera.open()
    soon("the first frame", camera.latest)
    ended("close()", camera.close)
    ended("the second close()", camera.close)
    refused("latest() after close()", camera.latest, todo="raise InputError('not open', ...)")
    with subject.opened() as again:
        soon("the first frame after it was opened again", again.latest)


RULES = (
    *listing.RULES,
    is_made_quietly,
    needs_opening,
    releases,
    times_rise,
    frames_stay,
    does_not_wait,
    tells_unplugging,
)


def subject(name: str, options: dict[str, Any]) -> CameraSubject:
    """The camera with the options given."""
    return CameraSubject("camera", name, options)


def check_camera(name: str, *, unplug: Callable[[Any], None] | None = None, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the camera breaks.

    options: its own. unplug: makes an opened camera's source go away; without it that rule is left out.
    """
    check_rules(CameraSubject("camera", name, options, unplug), RULES)


__all__ = ["RULES", "CameraSubject", "check_camera", "subject"]
