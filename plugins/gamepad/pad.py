"""What a gamepad says, whoever reads it; and the reader over SDL (pygame), which knows most models."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from rl.api import InputError, MissingPart

STICKS = ("left_x", "left_y", "right_x", "right_y")  # -1..1; x to the right, y down, as SDL has them
TRIGGERS = ("left_trigger", "right_trigger")  # 0..1


@dataclass(frozen=True)
class Touch:
    """The pad at one instant."""

    axes: dict[str, float] = field(default_factory=dict)  # of STICKS and TRIGGERS; what is missing rests
    buttons: frozenset[str] = frozenset()  # a b x y start left_shoulder up down left right


class Pad(Protocol):
    """A gamepad. `poll` gives None once it is gone."""

    def open(self) -> None: ...
    def poll(self) -> Touch | None: ...
    def close(self) -> None: ...


class NobodysPad:
    """A pad that nobody touches (port sim)."""

    def open(self) -> None:
        """Nothing is behind it."""

    def poll(self) -> Touch | None:
        return Touch()

    def close(self) -> None:
        """Nothing was opened."""


QUIET = {  # SDL without a window, a sound, a greeting, or hands on this program's signals
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
    "SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "1",
    "SDL_NO_SIGNAL_HANDLERS": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}
FULL = 32767.0


class SdlPad:
    """A pad over pygame."""

    def __init__(self, port: str) -> None:
        self.port = port
        self._controller: Any = None
        self._buttons: dict[str, int] = {}
        self._axes: dict[str, int] = {}
        self._pump: Any = None

    def open(self) -> None:
        """Errors: MissingPart when there is no such gamepad, InputError for a number that is none."""
        if not self.port.isdecimal() or len(self.port) > 2:
            raise InputError(f"'{self.port}' is no number of a gamepad", where="gamepad", todo="use --teleop.port 0")
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import pygame
        from pygame._sdl2 import controller

        pygame.display.init()
        controller.init()
        number = int(self.port)
        known = [i for i in range(pygame.joystick.get_count()) if controller.is_controller(i)]
        if number >= len(known):
            self.close()
            names = f"{len(known)} found" if known else "none is connected"
            raise MissingPart(f"there is no gamepad {number}; {names}", where="gamepad", todo="connect one, or wake it")
        self._controller = controller.Controller(known[number])
        self._pump = pygame.event.pump
        self._axes = {
            name: getattr(pygame, f"CONTROLLER_AXIS_{sdl}")
            for name, sdl in zip(
                (*STICKS, *TRIGGERS),
                ("LEFTX", "LEFTY", "RIGHTX", "RIGHTY", "TRIGGERLEFT", "TRIGGERRIGHT"),
                strict=True,
            )
        }
        buttons = {"a": "A", "b": "B", "x": "X", "y": "Y", "start": "START", "left_shoulder": "LEFTSHOULDER"}
        buttons |= {way: f"DPAD_{way.upper()}" for way in ("up", "down", "left", "right")}
        self._buttons = {name: getattr(pygame, f"CONTROLLER_BUTTON_{sdl}") for name, sdl in buttons.items()}

    def poll(self) -> Touch | None:
        self._pump()
        if not self._controller.attached():
            return None
        axes = {name: self._controller.get_axis(number) / FULL for name, number in self._axes.items()}
        pressed = frozenset(name for name, number in self._buttons.items() if self._controller.get_button(number))
        return Touch(axes, pressed)

    def close(self) -> None:
        """May be called twice."""
        if self._controller is not None:
            self._controller.quit()
            self._controller = None
        import pygame
        from pygame._sdl2 import controller

        if controller.get_init():
            controller.quit()
        pygame.display.quit()


def open_pad(port: str) -> Pad:
    """The pad of this port; not opened yet."""
    return NobodysPad() if port == "sim" else SdlPad(port)
