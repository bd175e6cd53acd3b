"""What runs beside a control loop in its process. Used by our interpreter and by LeRobot's: imports nothing of rl."""

import threading


def start(kind: str) -> None:
    """`numpy`: a thread that multiplies matrices; `python`: one that never leaves the interpreter; else nothing."""
    work = {"numpy": _multiply, "python": _count}.get(kind)
    if work is not None:
        threading.Thread(target=work, daemon=True).start()


def _multiply() -> None:
    import numpy as np

    matrix = np.random.default_rng(0).random((400, 400))
    while True:
        matrix @ matrix


def _count() -> None:
    number = 0
    while True:
        number += 1
