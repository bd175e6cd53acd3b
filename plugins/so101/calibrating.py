"""Calibrating one arm: torque off, sweep by hand, unwrap, judge, choose offsets, store in motors and file."""

import os
import signal
import statistics
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import Screen
from rl.plugins.so101 import JOINTS, calibration, sweep
from rl.plugins.so101.archive import Archive, Profile, read_profile, write_durably
from rl.plugins.so101.bench import Bench
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.sweep import Track

ROUNDS = 3  # of the emulated person's sweep; a real one is asked until it is well or they press Ctrl-C
SHOW_NS = 100_000_000
PERIOD_NS = 8_000_000  # of the readings: 50 a second are needed, a loaded machine loses some
SILENT_NS = 3_000_000_000
DRIFT, MOVED = 2, 20  # steps: as predicted; the arm was touched meanwhile
WAITING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIMULATED = "sim"  # in place of the adapter's serial number
MULTI_TURN = 16  # bit 4 of Phase


class Calibrating:
    """One run, from the open bench to the written file."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.screen = bench, bench.screen
        self.archive = bench.written_archive()
        self.old = self._old()
        self.offsets: dict[str, int] = {}

    def run(self) -> None:
        """Errors: RlError, InputError, MissingPart with nothing stored."""
        bench = self.bench
        bench.remember(self.old)
        if self.old:
            bench.name_motors(self.old)
        bench.identify()
        self.screen.result("pass", f"{len(bench.ids)} motors answer on {bench.bus.port}")
        bench.go_limp()
        bench.close_locks()
        self.offsets = bench.offsets()
        tracks = self._sweep()
        new = self._settle(tracks)
        rest = None if bench.leader else self._rest(new)
        for line in sweep.differences(self.old, new):
            self.screen.result("note", f"changes {line}")
        self.screen.ask("store", "Press Enter to store this calibration, Ctrl-C to leave everything as it was.")
        adapter = SIMULATED if bench.emulator is not None else str(_core().usb_port(bench.bus.port)["serial"])
        ends = {name: (joint.range_min, joint.range_max) for name, joint in new.items()}
        profile = Profile(calibration.fingerprint(new), rest, ends, adapter)
        store(bench, self.archive, new, calibration.text(new).encode(), profile)

    def _old(self) -> dict[str, calibration.Joint]:
        found = self.bench.archive()  # in the folder of an older version, perhaps
        if not found.file.is_file():
            return {}
        if self.bench.emulator is not None:
            profile = found.profile()
            if profile is None or profile.adapter != SIMULATED:
                what = f"{found.file} belongs to a real arm"
                raise InputError(what, where="port sim", todo=f"give another --{self.bench.option}.id")
        try:
            return calibration.read(found.file)
        except InputError as error:
            self.screen.result("warn", f"{error}: it will be kept as a version", "a new one is made now")
            return {}

    def _sweep(self) -> dict[str, Track]:
        """The path of every joint, from stop to stop."""
        tracks: dict[str, Track] = {}
        left = list(self.bench.ids)
        sentence = "Move every joint slowly from stop to stop, the gripper too, then press Enter."
        rounds = count(1) if self.bench.emulator is None else range(1, ROUNDS + 1)
        for _ in rounds:
            self.screen.begin("sweep", sentence)
            tracks |= {name: track for name, track in self._follow(left).items() if name in left}
            unusual = self.bench.config.unusual_ranges
            verdicts = {name: sweep.judge(name, tracks[name], unusual=unusual) for name in left}
            for verdict in verdicts.values():
                self.screen.result(verdict.mark, verdict.what, verdict.todo)
            left = [name for name, verdict in verdicts.items() if verdict.mark == "fail"]
            if not left:
                break
            named = ", ".join(left)
            done = "The others are done. " if len(left) < len(verdicts) else ""
            sentence = f"{done}Move {named} again from stop to stop, slowly; Enter: done, Ctrl-C: give up."
        if left:
            why = "; ".join(verdicts[name].what for name in left)
            raise RlError(why, where="calibrate", todo="nothing was stored; try again")
        return tracks

    def _follow(self, names: Sequence[str]) -> dict[str, Track]:
        """Reads until the person says that the joints were moved."""
        tracks = {name: Track() for name in names}
        heard: dict[str, int] = {}
        gaps: list[int] = []
        core = _core()
        began = shown = core.monotonic_ns()
        while not self.screen.answered():
            due = core.monotonic_ns() + PERIOD_NS
            for name, (steps, at) in self.bench.positions().items():
                if name in heard and name == names[0]:
                    gaps.append(at - heard[name])
                heard[name] = at
                if name in tracks:
                    tracks[name].add(steps + self.offsets[name], at)
            now = core.monotonic_ns()
            silent = [name for name in names if now - heard.get(name, began) > SILENT_NS]
            if silent:
                motor = self.bench.ids[silent[0]]
                what = f"{silent[0]} (id {motor}) stopped answering"
                raise MissingPart(what, where=self.bench.bus.port, todo="check its cable; nothing was stored")
            if now - shown > SHOW_NS:
                shown = now
                self.screen.show(_rows(tracks))
            _wait_until(core, due)
        self.screen.show(_rows(tracks))
        if gaps and statistics.median(gaps) > 20_000_000:
            rate = 1e9 / statistics.median(gaps)
            self.screen.result("warn", f"the arm was read only {rate:.0f} times a second", "move it slowly")
        return tracks

    def _settle(self, tracks: Mapping[str, Track]) -> dict[str, calibration.Joint]:
        centres: dict[str, int] = {}
        round_ones = [name for name, track in tracks.items() if sweep.turns_round(name, track.span)]
        if round_ones:
            named = " and ".join(round_ones)
            self.screen.ask("middle", f"Turn {named} to its middle, the gripper level, then press Enter.")
            pose = self.bench.pose()
            centres = {name: (pose[name] + self.offsets[name]) % sweep.TURN for name in round_ones}
        new = {}
        for name in JOINTS:
            joint = sweep.settle(self.bench.ids[name], tracks[name].low, tracks[name].high, centres.get(name))
            turned = self.old[name].drive_mode if name in self.old else 0  # a choice, not a measurement: it stays
            new[name] = replace(joint, drive_mode=turned)
        return new

    def _rest(self, new: Mapping[str, calibration.Joint]) -> dict[str, int]:
        """Where the arm lies when nothing holds it, in steps after the new offset."""
        self.screen.ask("rest", "Lay the arm down as it may lie without any force, then press Enter.")
        pose = self.bench.pose()
        rest = {}
        for name, joint in new.items():
            steps = sweep.present(pose[name] + self.offsets[name], joint.homing_offset)
            outside = max(joint.range_min - steps, steps - joint.range_max)
            if outside > (joint.range_max - joint.range_min) * 3 // 100:
                what = f"{name} rests {sweep.degrees(outside):.0f} degrees outside the range it was moved through"
                raise RlError(what, where="calibrate", todo="nothing was stored; sweep the whole range")
            rest[name] = min(max(steps, joint.range_min), joint.range_max)
        return rest


def calibrate(config: So101Config | LeaderConfig, screen: Screen, *, leader: bool) -> None:
    """The whole run on the arm's port."""
    with Bench(config, screen, leader=leader) as bench:
        Calibrating(bench).run()


def restore(config: So101Config | LeaderConfig, number: int, screen: Screen, *, leader: bool) -> None:
    """Make version `number` the current one, in motors and file."""
    with Bench(config, screen, leader=leader) as bench:
        archive = bench.written_archive()
        source = archive.source(number)
        wanted, content = calibration.read(source), source.read_bytes()
        bench.name_motors(wanted)
        bench.identify()
        bench.go_limp()
        profile = read_profile(archive.profile_path(number))
        store(bench, archive, wanted, content, profile)


def store(
    bench: Bench,
    archive: Archive,
    new: Mapping[str, calibration.Joint],
    content: bytes,
    profile: Profile | None,
) -> None:
    """Registers, drift check, versions, file: all of it, or what was there before. Ctrl-C waits until it is over."""
    with undisturbed():
        bus = bench.bus
        before, offsets = bench.pose(), bench.offsets()
        done = bus.store(_registers(bench, new))
        try:
            _check_drift(bench, new, before, offsets)
            archive.keep_file()
            number = archive.keep(content, profile)
            write_durably(archive.file, content)
        except BaseException:
            bus.store([(motor, name, old) for motor, name, old, _, _ in done])
            raise
    written = sum(1 for *_, changed in done if changed)
    bench.screen.result("pass", f"{written} registers written, read back, closed; {len(done) - written} held already")
    bench.screen.result("pass", f"version {number} stored as {archive.file}")


def _registers(bench: Bench, new: Mapping[str, calibration.Joint]) -> list[tuple[int, str, int]]:
    wanted = []
    for joint in new.values():
        phase = bench.bus.read(joint.id, "Phase")
        wanted += [
            (joint.id, "Homing_Offset", joint.homing_offset),
            (joint.id, "Min_Position_Limit", joint.range_min),
            (joint.id, "Max_Position_Limit", joint.range_max),
            (joint.id, "Operating_Mode", 0),
            (joint.id, "Phase", phase & ~MULTI_TURN),
        ]
    return wanted


def _check_drift(
    bench: Bench, new: Mapping[str, calibration.Joint], before: Mapping[str, int], offsets: Mapping[str, int]
) -> None:
    """Under the new offsets every joint stands where the old ones predict, or they are not what was written."""
    now = bench.pose()
    for name, joint in new.items():
        predicted = sweep.present(before[name] + offsets[name], joint.homing_offset)
        off = abs((now[name] - predicted + sweep.TURN // 2) % sweep.TURN - sweep.TURN // 2)
        if off > MOVED:
            what = f"{name} stands {off} steps from where its new offset puts it"
            raise RlError(what, where="calibrate", todo="nothing was stored; let the arm lie still and try again")
        if off > DRIFT:
            bench.screen.result("warn", f"{name} moved by {off} steps while its offset was stored", "see --check")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C, a closed terminal and a polite kill wait until the block has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {one: signal.signal(one, lambda number, _: came.append(number)) for one in WAITING}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    for number in came:
        os.kill(os.getpid(), number)


def _rows(tracks: Mapping[str, Track]) -> list[str]:
    rows = [f"{'joint':14} {'span':>6} {'wanted':>13}"]
    for name, track in tracks.items():
        low, high = sweep.BANDS[name]
        span = sweep.degrees(sweep.SPANS[name])
        band = f"{span * low:.0f}..{span * high:.0f}" if name != sweep.TURNS_ROUND else "all round"
        mark = "lost" if track.lost else {"pass": "ok", "warn": "ok?"}.get(sweep.judge(name, track).mark, "")
        rows.append(f"{name:14} {sweep.degrees(track.span):6.0f} {band:>13}  {mark}")
    return rows


def _wait_until(core: Any, due: int) -> None:
    import time

    left = due - core.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)


def _core() -> Any:
    from rl import _core as core

    return core
