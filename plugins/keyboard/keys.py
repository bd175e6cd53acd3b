"""From bytes of a terminal to keys, and from keys to what is still held."""

from collections.abc import Mapping

# A terminal tells presses and repeats, never a release: a key counts as held for so long after it was last heard.
# Repeats come every 20 to 100 ms, after a first pause of a quarter of a second and more in which the arm waits.
HELD_S = 0.15
LONGEST = 16  # bytes of an escape sequence; what is longer is none
NAMES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
    b" ": "space", b"\t": "tab", b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace",
}  # fmt: skip


class Decoder:
    """Bytes in, names of keys out. Sequences may come in pieces; what is not known is left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, typed: bytes) -> list[str]:
        found = []
        data = self._rest + typed
        self._rest = b""
        while data:
            size = _length(data)
            if size == 0:  # the sequence goes on in the next piece
                self._rest = data
                break
            name = _name(data[:size])
            found += [name] if name else []
            data = data[size:]
        return found

    def quiet(self) -> None:
        """Nothing followed: a lone Escape is not the begin of anything."""
        self._rest = b""


def _length(data: bytes) -> int:
    """Bytes of the first key; 0 when more must come."""
    if data[:1] != b"\x1b":
        return 1
    if len(data) == 1:
        return 0
    if data[1:2] not in b"[O":
        return 1
    for at in range(2, min(len(data), LONGEST)):
        if 0x40 <= data[at] <= 0x7E:
            return at + 1
    return 0 if len(data) < LONGEST else LONGEST


def _name(key: bytes) -> str:
    if key in NAMES:
        return NAMES[key]
    return chr(key[0]).lower() if len(key) == 1 and 0x21 <= key[0] < 0x7F else ""


class Held:
    """Which keys are held, by when they were last heard, s of the monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def press(self, key: str, now: float) -> None:
        self._heard[key] = now

    def release_all(self) -> None:
        self._heard = {}

    def at(self, now: float) -> set[str]:
        """Keys that are held."""
        return {key for key, heard in self._heard.copy().items() if now - heard < HELD_S}


def speeds(held: set[str], pairs: Mapping[str, tuple[int, float]], width: int) -> list[float]:
    """-1, 0 or 1 times what each of `width` motions is told by the held keys: key -> (which, how)."""
    total = [0.0] * width
    for key in held & pairs.keys():
        at, how = pairs[key]
        total[at] += how
    return total
