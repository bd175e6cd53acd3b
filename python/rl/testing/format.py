"""The conformance kit for data set formats: `check_format` in a test of the plugin's own distribution."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl.api import Feature
from rl.api.errors import RlError
from rl.registry import resolve
from rl.testing import listing
from rl.testing.conformance import LeftOut, Subject, Violation, check_rules, refused, require, rule, told
from rl.testing.recording import FPS, KILLED, TAKES, features, row

LOSSY = 16.0  # grey levels: what a video codec may change on average in the smooth test pictures
KILLS = 5  # instants at which a writer is killed
PROCESS = 120.0  # s


class FormatSubject(Subject):
    """A format, and a set to read where it cannot write one."""

    def __init__(self, name: str, options: dict[str, Any], sample: Path | None = None, kills: int = KILLS) -> None:
        super().__init__("format", name, options)
        self.sample, self.kills = sample, kills

    def make(self) -> Any:
        return self.implementation(self.config())

    @contextmanager
    def recorded(self) -> Iterator[Path]:
        """A folder with a set: the one written by the format itself, or a copy of the sample."""
        with tempfile.TemporaryDirectory() as place:
            root = Path(place) / "set"
            if self.spec.writes:
                record(self.make(), root)
            elif self.sample is not None:
                shutil.copytree(self.sample, root) if self.sample.is_dir() else shutil.copy(self.sample, root)
            else:
                raise LeftOut("it only reads, and no `sample` was given to the check")
            yield root


def record(plugin: Any, root: Path) -> None:
    """The takes of `rl.testing.recording`, one of them discarded half-way."""
    writer = plugin.writer(root, features(), FPS)
    for take, (length, task) in enumerate(TAKES):
        writer.begin(task)
        for step in range(length):
            writer.append(row(take, step))
        index = writer.save()
        require(index == take, f"save() returns {index} for episode {take}", "the episode's index")
        if take == 0:
            writer.begin("a take that fails")
            for step in range(3):
                writer.append(row(9, step))
            writer.discard()


def _columns(reader: Any) -> list[str]:
    return [name for name, f in reader.info.features.items() if f.kind != "image"]


def _everything(reader: Any) -> dict[str, Any]:
    """All rows and all pictures."""
    import numpy as np

    total = sum(e.length for e in reader.info.episodes)
    indices = np.arange(total)
    found = dict(reader.rows(indices, _columns(reader)))
    for name, feature in reader.info.features.items():
        if feature.kind == "image":
            found[name] = reader.frames(name, indices)
    return found


@rule("a folder that is no set is refused and not sniffed", gate=True)
def sniffs(subject: FormatSubject) -> None:
    sniff = resolve(subject.spec.sniff)
    with tempfile.TemporaryDirectory() as place:
        other = Path(place) / "other"
        other.mkdir()
        (other / "notes.txt").write_text("no data set\n")
        absent = Path(place) / "absent"
        for what, path in (
            ("a folder of notes", other),
            ("a path that is not there", absent),
            ("a text file", other / "notes.txt"),
        ):
            require(sniff(path) is False, f"sniff takes {what} for a set", "look at names and one small file")
            todo = "raise InputError naming the path"
            refused(f"reading {what}", lambda p=path: subject.make().reader(p), todo=todo, containing=path.name)  # type: ignore[misc]


@rule("what was written is sniffed and read: features, episodes, tasks, every value")
def round_trip(subject: FormatSubject) -> None:
    import numpy as np

    with subject.recorded() as root:
        sniffed = resolve(subject.spec.sniff)(root)
        require(sniffed is True, "sniff does not know a set of its own format", "look at names and one small file")
        reader = subject.make().reader(root)
        if not subject.spec.writes:
            raise LeftOut("it only reads: its sample is sniffed and opens")
        info = reader.info
        require(info.fps == FPS, f"the rate {FPS:g} comes back as {info.fps:g}", "keep fps")
        for name, feature in features().items():
            require(name in info.features, f"the feature '{name}' does not come back", "keep every feature")
            _same_feature(feature, info.features[name])
        lengths = tuple(e.length for e in info.episodes)
        wanted = tuple(length for length, _ in TAKES)
        require(lengths == wanted, f"episodes of lengths {wanted} come back as {lengths}", "also after a discarded one")
        tasks = tuple(e.tasks for e in info.episodes)
        require(tasks == tuple((task,) for _, task in TAKES), f"tasks come back as {tasks}", "keep each episode's task")
        rows = [row(take, step) for take, (length, _) in enumerate(TAKES) for step in range(length)]
        found = _everything(reader)
        for name, feature in features().items():
            given = np.stack([r[name] for r in rows])
            require(
                found[name].shape == given.shape,
                f"'{name}' comes back with shape {found[name].shape}, was {given.shape}",
            )
            if feature.kind == "image":
                off = float(np.abs(found[name].astype(np.float32) - given).mean())
                require(
                    off <= LOSSY, f"pictures of '{name}' come back {off:.0f} grey levels off", "RGB order, right frame"
                )
            else:
                require(np.array_equal(found[name], given), f"values of '{name}' come back changed", "bit for bit")


def _same_feature(given: Feature, found: Feature) -> None:
    for part in ("kind", "shape", "dtype", "names"):
        a, b = getattr(given, part), getattr(found, part)
        require(a == b, f"'{given.name}' comes back with {part} {b}, was {a}", "keep the features")


@rule("random access gives what reading in order gives")
def random_access(subject: FormatSubject) -> None:
    import numpy as np

    with subject.recorded() as root:
        reader = subject.make().reader(root)
        everything = _everything(reader)
        total = sum(e.length for e in reader.info.episodes)
        for order in (np.arange(total)[::-1], np.array([total - 1, 0, total // 2, 0])):
            got = dict(reader.rows(order, _columns(reader)))
            for name, feature in reader.info.features.items():
                if feature.kind == "image":
                    got[name] = reader.frames(name, order)
            for name, values in got.items():
                same = np.array_equal(np.asarray(values), np.asarray(everything[name])[order])
                require(
                    same,
                    f"'{name}' at rows {order[:4].tolist()} ... differs from reading in order",
                    "the order asked for",
                )
        for name, feature in reader.info.features.items():
            if feature.kind == "image":
                small = reader.frames(name, np.array([0]), (8, 12))
                require(
                    small.shape[:3] == (1, 8, 12),
                    f"frames('{name}', size=(8, 12)) has shape {small.shape}",
                    "(n, 8, 12, C)",
                )


@rule("a reader can be pickled, and reads the same")
def pickles(subject: FormatSubject) -> None:
    import numpy as np

    with subject.recorded() as root:
        reader = subject.make().reader(root)
        first = _everything(reader)  # opens what it keeps open
        stored = pickle.dumps(reader)
        require(len(stored) < 1 << 20, f"a pickled reader has {len(stored)} bytes", "leave open files and tables out")
        again = _everything(pickle.loads(stored))  # noqa: S301  our own bytes, from the line above
        same = all(np.array_equal(np.asarray(first[name]), np.asarray(again[name])) for name in first)
        require(same, "a pickled reader reads other values", "__getstate__ without open files")


@rule("a damaged file is named")
def names_damage(subject: FormatSubject) -> None:
    with subject.recorded() as root:
        files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
        for path in files:
            whole = path.read_bytes()
            for what, content in (
                ("cut in half", whole[: len(whole) // 2]),
                ("overwritten", b"\x00\xfe" * (len(whole) // 2)),
            ):
                path.write_bytes(content)
                _reads_or_names(subject, root, path, what)
            path.write_bytes(whole)


def _reads_or_names(subject: FormatSubject, root: Path, path: Path, what: str) -> None:
    try:
        reader = subject.make().reader(root)
        _everything(reader)
    except RlError as error:
        named = path.name in str(error) and "\n" not in str(error)
        require(named, f"with {path.name} {what} the error does not name it: {error}", "InputError(..., where=path)")
    except Exception as error:
        todo = "InputError(..., where=path), one line"
        raise Violation(f"with {path.relative_to(root.parent)} {what}, reading {told(error)}", todo) from error


@rule("a writer that is killed loses no saved episode")
def survives_kills(subject: FormatSubject) -> None:
    if not subject.spec.writes:
        raise LeftOut("it only reads")
    with tempfile.TemporaryDirectory() as place:
        events = _killed_writer(subject, Path(place) / "whole", 0)[1]
        require(events > 0, "its writer opens no file", "write what save() acknowledges")
        # evenly over all saves, in another phase of `save` at each turn
        for at in sorted({1 + (turn * events // subject.kills + turn) % events for turn in range(subject.kills)}):
            root = Path(place) / f"killed{at}"
            saved, _ = _killed_writer(subject, root, at)
            _all_there(subject, root, saved, f"killed at its file operation {at} of {events}")


def _killed_writer(subject: FormatSubject, root: Path, at: int) -> tuple[int, int]:
    """(episodes acknowledged, file operations) of a writer that is killed at its file operation `at`; 0: never."""
    path = os.pathsep.join(p for p in sys.path if p)
    job = {
        "target": subject.spec.target,
        "config": subject.spec.config,
        "options": subject.options,
        "root": str(root),
        "at": at,
    }
    words = [sys.executable, "-m", "rl.testing.recording", json.dumps(job)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=PROCESS, env={**os.environ, "PYTHONPATH": path}
    )
    killed = at > 0 and done.returncode == KILLED
    if done.returncode and not killed:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Violation(f"writing in a process of its own fails: {last}")
    lines = done.stdout.split()
    return sum(word == "saved" for word in lines), int(lines[-1]) if lines and lines[-1].isdigit() else 0


def _all_there(subject: FormatSubject, root: Path, saved: int, when: str) -> None:
    import numpy as np

    if not saved:
        return
    try:
        reader = subject.make().reader(root)
        episodes = reader.info.episodes
        found = [reader.rows(np.arange(e.start, e.start + e.length), ["action"])["action"] for e in episodes[:saved]]
    except Exception as error:
        raise Violation(f"{when}, its set with {saved} saved episodes {told(error)}", "sync, then rename") from error
    require(len(found) == saved, f"{when}, {len(found)} of {saved} saved episodes are left", "sync, then rename")
    for take, values in enumerate(found):
        given = np.stack([row(take, step)["action"] for step in range(TAKES[take][0])])
        same = np.array_equal(values, given)
        require(same, f"{when}, the saved episode {take} comes back changed", "never write into what is saved")


RULES = (*listing.RULES, sniffs, round_trip, random_access, pickles, names_damage, survives_kills)


def subject(name: str, options: dict[str, Any]) -> FormatSubject:
    """The format with a set that it writes itself."""
    return FormatSubject(name, options)


def check_format(name: str, *, sample: Path | None = None, kills: int = KILLS, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the format breaks.

    sample: a small set to read, for a format that cannot write; it is copied. kills: at how many instants a writer
    is killed. options: the format's own.
    """
    check_rules(FormatSubject(name, options, sample, kills), RULES)


__all__ = ["RULES", "FormatSubject", "check_format", "subject"]
