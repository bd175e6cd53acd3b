"""How well a motion follows a periodic one, whatever its phase, and how well holding still would."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Motion = NDArray[np.float64]


@dataclass(frozen=True)
class Followed:
    """Root mean squares over time and elements, in the elements' units."""

    error: float  # of the motion, at the best phase
    still: float  # of standing where the motion began, at its best phase
    middle: float  # of standing in the middle of the wave: the best that a motionless arm could do
    phase_s: float  # how much later than the motion's own time zero the wave is


def followed(
    times: NDArray[np.float64], motion: Motion, wave: Callable[[NDArray[np.float64]], Motion], period: float
) -> Followed:
    """times: (n,) s. motion: (n, A). wave: times (m,) -> (m, A), of that period in s.

    One phase is chosen for the whole motion: a policy knows what to do next, not when somebody else began to wave.
    Errors: ValueError for less than two instants.
    """
    if len(times) < 2:
        raise ValueError("a motion has at least two instants")
    phases = np.linspace(0, period, 400, endpoint=False)
    errors = [_rms(motion - wave(times + phase)) for phase in phases]
    stills = [_rms(motion[:1] - wave(times + phase)) for phase in phases[::8]]
    best = int(np.argmin(errors))
    middle = wave(np.linspace(0, period, 400, endpoint=False)).mean(0)
    return Followed(
        error=errors[best],
        still=min(stills),
        middle=_rms(middle - wave(times + phases[best])),
        phase_s=float(phases[best]),
    )


def _rms(difference: Motion) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))
