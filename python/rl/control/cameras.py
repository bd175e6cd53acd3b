"""The cameras of a session: built, opened side by side, asked for their newest pictures, closed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from rl.api.errors import InputError, MissingPart, RlError
from rl.api.features import Feature, Features
from rl.api.protocols import Frame

PREFIX = "observation.images."
OLD_S = 0.5  # a picture older than this is none


def role_of(name: str) -> str:
    """The camera's role behind an image feature's name: front of observation.images.front."""
    return name.removeprefix(PREFIX)


def feature_of(role: str, camera: Any) -> Feature:
    """A camera's picture as a feature of the observation."""
    image: Feature = camera.image
    return replace(image, name=PREFIX + role)


def build(selected: Mapping[str, Any]) -> dict[str, Any]:
    """Cameras by role from their configuration; none is opened."""
    from rl.registry import registry

    return {role: registry().implementation("camera", one.name)(one.config) for role, one in selected.items()}


def drawn(features: Iterable[Feature], fps: float = 30.0) -> dict[str, Any]:
    """Synthetic cameras for image features, each with its size."""
    from rl.config import Selected

    name, config = _drawing()
    chosen = {}
    for feature in features:
        height, width = feature.shape[:2]
        chosen[role_of(feature.name)] = Selected("camera", name, config(height=height, width=width, fps=fps))
    return build(chosen)


def drawn_by_default() -> dict[str, Any]:
    """One drawn camera, 'front', for an emulated robot that was given none."""
    from rl.config import Selected

    name, config = _drawing()
    return build({"front": Selected("camera", name, config())})


def _drawing() -> tuple[str, Any]:
    """The camera plugin that draws its pictures, and its options. Errors: MissingPart when none is installed."""
    from rl.registry import registry

    known = registry()
    for name in known.names("camera"):
        if getattr(known.get("camera", name), "drawn", False):
            return name, known.config_class("camera", name)
    raise MissingPart("no installed camera plugin draws pictures", where="camera")


class Cameras:
    """Cameras by role. `features` are exact once they are open."""

    def __init__(self, cameras: Mapping[str, Any]) -> None:
        self.cameras = dict(cameras)
        self._opened: list[str] = []

    @property
    def features(self) -> Features:
        return {f.name: f for f in (feature_of(role, camera) for role, camera in self.cameras.items())}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"{role}: {note}" for role, c in self.cameras.items() for note in getattr(c, "notes", ()))

    def open(self) -> None:
        """All at once, as some take a second. Errors: the first that fails, with its role; the others are closed."""
        if not self.cameras:
            return
        with ThreadPoolExecutor(len(self.cameras)) as pool:
            tried = {role: pool.submit(camera.open) for role, camera in self.cameras.items()}
        self._opened = [role for role, future in tried.items() if future.exception() is None]
        for role, future in tried.items():
            if (error := future.exception()) is not None:
                self.close()
                raise _named(role, error) from error

    def newest(self, snapshot: Any = None) -> dict[str, Frame]:
        """Image feature -> its newest picture, without waiting. `snapshot` is told to cameras that draw the robot.

        Errors: RlError when a camera is lost, or its newest picture is older than 0.5 s.
        """
        found = {}
        for role, camera in self.cameras.items():
            if snapshot is not None and hasattr(camera, "observe"):
                camera.observe(snapshot)
            try:
                frame = camera.latest()
            except RlError as error:
                raise _named(role, error) from None
            if frame is None:
                raise RlError("has given no picture yet", where=f"camera '{role}'")
            age = (time.monotonic_ns() - frame.captured) / 1e9
            if age > OLD_S:
                raise RlError(f"the newest picture is {age:.1f} s old", where=f"camera '{role}'")
            found[PREFIX + role] = frame
        return found

    def wait(self, timeout_s: float = 5.0) -> None:
        """Returns once every camera has given a picture. Errors: RlError naming one that does not."""
        until = time.monotonic() + timeout_s
        for role, camera in self.cameras.items():
            while camera.latest() is None:
                if time.monotonic() > until:
                    raise RlError(f"gives no picture within {timeout_s:g} s", where=f"camera '{role}'")
                time.sleep(0.005)

    def close(self) -> None:
        for role in self._opened:
            self.cameras[role].close()
        self._opened = []


def _named(role: str, error: BaseException) -> BaseException:
    if isinstance(error, RlError):
        kind = type(error) if type(error) is not RlError else RlError
        return kind(
            error.what, where=f"camera '{role}' ({error.where})" if error.where else f"camera '{role}'", todo=error.todo
        )
    return InputError(f"{type(error).__name__}: {error}", where=f"camera '{role}'")
