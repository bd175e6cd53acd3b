"""All campaigns of faults, one after another, and their figures.

    python -m benchmarks.faults [--part 0.01] [--only stall] [--seed 0]

`--part` is the part of the full volume: 1 takes hours, because the emulated arm answers in real time. The result says
which part was run of which campaign: `--only` runs some anew and keeps what the others found on the same machine. The
figures are of whole cycles through a pseudo-terminal on the machine that it names.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.faults import (
    adversarial,
    chunk_boundaries,
    compressed,
    eeprom,
    ends,
    kills,
    late_replies,
    load,
    loss,
    lost_reply,
    motors,
    silent_motor,
    stall,
)
from benchmarks.faults.rig import Outcome
from benchmarks.report import Figure, at_least, at_most, earlier_details, report

Campaign = tuple[Callable[[float, int], Outcome], Callable[[Outcome], list[Figure]]]


def at_all(what: str, found: Outcome, name: str, wanted: float = 0) -> Figure:
    """A count that has to be exactly so."""
    value = found.figures[name]
    return Figure(what, f"{value:g} of {found.work}", f"{wanted:g}", value == wanted)


def _replies(kind: str) -> Campaign:
    def judged(found: Outcome) -> list[Figure]:
        f = found.figures
        return [
            at_most(f"one reply {kind}: extra time of the cycle, p50", f["extra_ms_p50"], 3, "ms"),
            at_most(f"one reply {kind}: extra time of the cycle, p99", f["extra_ms_p99"], 3, "ms"),
            Figure(
                f"one reply {kind}: goals missed",
                f"{f['gaps']:g} of {f['goals']:g} ({f['gaps_struck']:g} after one of {found.work} struck cycles)",
                "0",
                f["gaps"] == 0,
            ),
        ]

    return lambda part, seed: lost_reply.run(kind, scaled(1000, part, 20), seed), judged


def _loss(rate: float, seconds: float) -> Campaign:
    def judged(found: Outcome) -> list[Figure]:
        f, what = found.figures, f"{rate:.1%} of replies lost"
        figures = [
            Figure(f"{what}: sessions ended", f"{f['ended']:g} ({f['lost']:g} lost)", "0", f["ended"] == 0),
            at_least(f"{what}: rate", f["rate_hz"], 49.95, "Hz"),
        ]
        return [*figures, at_most(f"{what}: period error p99.9", f["period_ms_p99.9"], 25, "ms")]

    return lambda part, seed: loss.run(rate, max(5.0, seconds * part), seed), judged


def _late(found: Outcome) -> list[Figure]:
    f = found.figures
    power = f"{f['old_would_show']:.0%} of values 20 ms old would show"
    return [
        Figure(
            "late, damaged, doubled, split replies: wrong values",
            f"{f['wrong']:g} of {f['fresh']:g}",
            "0",
            f["wrong"] == 0,
        ),
        Figure("late, damaged, doubled, split replies: struck", f"{f['struck']:g} ({power})"),
    ]


def _registers(found: Outcome) -> list[Figure]:
    f = found.figures
    return [
        Figure(
            "late replies of single reads: wrong values", f"{f['wrong']:g} of {f['late']:g} late", "0", f["wrong"] == 0
        )
    ]


def _line_late(found: Outcome) -> list[Figure]:
    f, what = found.figures, "virtual time, late, damaged, doubled, noisy replies"
    telling = f["telling"] / f["fresh"]
    return [
        Figure(f"{what}: wrong values", f"{f['wrong']:g} of {f['fresh']:g}", "0", f["wrong"] == 0),
        Figure(f"{what}: struck", f"{found.work} (an old value would show in {telling:.0%})"),
    ]


def _line_loss(found: Outcome) -> list[Figure]:
    f, what = found.figures, "virtual time, 1.0% of replies lost for 1 h"
    return [
        at_most(f"{what}: age of the oldest position p99.9", f["age_ms_p99.9"], 25, "ms"),
        Figure(f"{what}: arms held for it", f"{f['stale']:g} ({f['lost']:g} lost)", "0", f["stale"] == 0),
    ]


def _stall(found: Outcome) -> list[Figure]:
    return [
        at_all("75 ms stall: old values from the second cycle on", found, "old"),
        at_most("75 ms stall: cycles until all are read again, most", found.figures["recovered_max"], 2, "cycles", 0),
    ]


def _silent(found: Outcome) -> list[Figure]:
    f = found.figures
    return [
        at_most("silent motor: named after", f["named_ms_max"], 100, "ms", 0),
        at_all("silent motor: cycles in which another one missed", found, "others_missing"),
        at_least("silent motor: rate of the goals until the fault", f["rate_hz_p50"], 49.9, "Hz"),
        at_all("silent motor: ends in FAULT", found, "faulted", found.work),
    ]


def _eeprom(found: Outcome) -> list[Figure]:
    return [at_all("EEPROM bytes written on later connects", found, "later")]


def _adversarial(found: Outcome) -> list[Figure]:
    names = ("illegal_position", "illegal_speed", "illegal_acceleration", "unfit", "not_finite")
    moved = Figure("adversarial actions: goals on the wire", f"{found.figures['goals']:g}")
    return [moved, *(at_all(f"adversarial actions: {n.replace('_', ' ')}", found, n) for n in names)]


def _chunks(found: Outcome) -> list[Figure]:
    f = found.figures
    where = f"elsewhere {f['other_ms_p99']:.3f}, own stamps {f['own_ms_p99']:.3f}"
    p99 = f["boundary_ms_p99"]
    return [
        Figure("chunk boundaries: period error p99", f"{p99:.3f} ms ({where})", "<= 1 ms", p99 <= 1),
        at_all("chunk boundaries: steps beyond the speed limit", found, "illegal_speed"),
    ]


def _source(kind: str) -> Campaign:
    def judged(found: Outcome) -> list[Figure]:
        f, what = found.figures, f"source {kind}"
        later = f"{f['late']:g} of {found.work} later; with a deadline that the host left out, {f['late_stalled']:g}"
        hold = f["hold_ms_max"]
        return [
            Figure(f"{what}: last sign of life to HOLD, most", f"{hold:.3f} ms ({later})", "<= 120 ms", hold <= 120),
            *(at_all(f"{what}: {n.replace('_', ' ')}", found, n) for n in ("unbraked", "moved_again", "illegal_speed")),
        ]

    return lambda part, seed: kills.source(kind, scaled(1000, part, 3), seed), judged


def _guardian(kind: str) -> Campaign:
    def judged(found: Outcome) -> list[Figure]:
        f, what = found.figures, f"guardian {kind}"
        return [
            at_most(f"{what}: until its second hand wrote, most", f["safe_ms_max"], 250, "ms"),
            *(at_all(f"{what}: {n.replace('_', ' ')}", found, n) for n in ("back", "left_on", "later")),
        ]

    return lambda part, seed: kills.guardian(kind, scaled(100, part, 1), seed), judged


def _second_hand(found: Outcome) -> list[Figure]:
    return [
        at_all("second hand killed: said", found, "told", found.work),
        at_all("second hand killed: armed again", found, "armed_again"),
    ]


def _start(found: Outcome) -> list[Figure]:
    f = found.figures
    return [
        at_most(f"guardian: start to its first cycle, most (p50 {f['ready_ms_p50']:.0f})", f["ready_ms_max"], 100, "ms")
    ]


def _estop(found: Outcome) -> list[Figure]:
    f = found.figures
    return [
        at_most("e-stop: call to the stop write, most", f["stop_ms_max"], 40, "ms"),
        at_all("e-stop: moved on", found, "unlatched"),
    ]


def _reboot(found: Outcome) -> list[Figure]:
    f = found.figures
    return [
        at_most("motor starts anew: cycles from its next reply to FAULT, most", f["ticks_max"], 2, "cycles", 0),
        *(at_all(f"motor starts anew: {n.replace('_', ' ')}", found, n) for n in ("moved_on", "limp")),
    ]


def _overload(seconds: float) -> Campaign:
    what = f"overload bit for {seconds:g} s"

    def judged(found: Outcome) -> list[Figure]:
        f = found.figures
        lasting = seconds > 1
        return [
            at_most(f"{what}: cycles to HOLD, most", f["ticks_max"], 2, "cycles", 0),
            at_all(f"{what}: torque limit halved", found, "halved", found.work),
            at_all(f"{what}: in FAULT", found, "faulted", found.work if lasting else 0),
            *([] if lasting else [at_all(f"{what}: torque limit restored", found, "restored", found.work)]),
        ]

    return lambda part, seed: motors.overload(seconds, seed=seed), judged


def _hang_up(seconds: float) -> Campaign:
    what = f"hang-up for {seconds:g} s"

    def judged(found: Outcome) -> list[Figure]:
        f = found.figures
        return [
            Figure(f"{what}: FAULT after, most; reset accepted after the return, most",
                   f"{f['fault_ms_max']:.0f} ms; {f['back_s_max']:.2f} s"),
            at_all(f"{what}: arms that moved before they were armed again", found, "moved_by_itself"),
            at_all(f"{what}: armed again", found, "armed_again", found.work),
        ]  # fmt: skip

    return lambda part, seed: motors.hang_up(seconds, scaled(20, part, 1), seed), judged


def _signals(found: Outcome) -> list[Figure]:
    f, what = found.figures, f"signals at any instant ({found.figures['moving']:g} under torque)"
    names = ("left_on", "wrong_code", "tracebacks")
    return [
        *(at_all(f"{what}: {n.replace('_', ' ')}", found, n) for n in names),
        Figure(f"{what}: signal to the end of the session, most", f"{f['end_s_max']:.1f} s"),
    ]


def _races(found: Outcome) -> list[Figure]:
    return [at_all(f"start-up races: {n.replace('_', ' ')}", found, n) for n in ("both", "unnamed", "stuck", "left_on")]


def _load(kind: str) -> Campaign:
    def judged(found: Outcome) -> list[Figure]:
        f, what = found.figures, f"host busy ({kind}), real-time {'allowed' if found.figures['realtime'] else 'not'}"
        beside = f"without {f['quiet_p99']:.2f} ms"
        return [
            at_least(f"{what}: rate (without {f['quiet_rate_hz']:.3f})", f["busy_rate_hz"], 49.95, "Hz"),
            at_most(f"{what}: period error p99 ({beside})", f["busy_p99"], 0.3 if f["realtime"] else 3, "ms"),
        ]

    return lambda part, seed: load.run(kind, max(5.0, 60 * part), seed), judged


def scaled(full: int, part: float, least: int) -> int:
    return max(least, round(full * part))


CAMPAIGNS: dict[str, Campaign] = {
    "lost_reply": _replies("drop"),
    "corrupt_reply": _replies("corrupt"),
    "loss_02": _loss(0.002, 600),
    "loss_1": _loss(0.01, 3600),
    "late_replies": (lambda part, seed: late_replies.run(scaled(1_000_000, part, 2_000), seed), _late),
    "late_registers": (lambda part, seed: late_replies.run_registers(scaled(1_000_000, part, 200), seed), _registers),
    "line_late": (lambda _, seed: compressed.late(1_000_000, seed), _line_late),
    "line_loss": (lambda _, seed: compressed.loss(seed), _line_loss),
    "stall": (lambda part, seed: stall.run(scaled(100, part, 5), seed), _stall),
    "silent_motor": (lambda part, seed: silent_motor.run(seed=seed), _silent),
    "reboot": (lambda part, seed: motors.reboot(seed=seed), _reboot),
    **{f"overload_{seconds:g}": _overload(seconds) for seconds in (0.03, 0.5, 2.0)},
    **{f"hang_up_{seconds:g}": _hang_up(seconds) for seconds in (0.1, 1.0, 10.0)},
    "signals": (lambda part, seed: ends.signals(scaled(300, part, 3), seed), _signals),
    "races": (lambda part, seed: ends.races(scaled(20, part, 1), seed), _races),
    **{f"load_{kind}": _load(kind) for kind in load.LOADS},
    "eeprom": (lambda part, seed: eeprom.run(scaled(100, part, 3)), _eeprom),
    "adversarial": (lambda part, seed: adversarial.run(scaled(1_000_000, part, 5_000), seed), _adversarial),
    "guardian_start": (lambda part, seed: kills.start(scaled(100, part, 5), seed), _start),
    **{f"source_{kind}": _source(kind) for kind in ("killed", "stopped", "stuck")},
    **{f"guardian_{kind}": _guardian(kind) for kind in ("killed", "stopped", "crashed")},
    "second_hand": (lambda part, seed: kills.second_hand(scaled(50, part, 1), seed), _second_hand),
    "estop": (lambda part, seed: kills.estop(scaled(1000, part, 4), seed), _estop),
    "chunk_boundaries": (lambda part, seed: chunk_boundaries.run(scaled(10_000, part, 10), seed), _chunks),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="of the full volume")
    parser.add_argument("--only", choices=list(CAMPAIGNS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chosen, anew = args.only or list(CAMPAIGNS), {}
    for name in chosen:
        begin = time.monotonic()
        found = CAMPAIGNS[name][0](args.part, args.seed)
        seconds = round(time.monotonic() - begin, 1)
        anew[name] = {"part": args.part, "seed": args.seed, "seconds": seconds, **asdict(found)}
        print(f"{name}: {found.work} in {seconds} s", flush=True)
    kept = earlier_details("faults") | anew
    details = {name: kept[name] for name in CAMPAIGNS if name in kept}
    figures = [figure for name in details for figure in judge(name, details[name])]
    return report("faults", figures, "faults on the emulated arm; the details name each campaign's part", details)


def judge(name: str, kept: Mapping[str, Any]) -> list[Figure]:
    return CAMPAIGNS[name][1](Outcome(kept["work"], kept["least"], kept["figures"]))


if __name__ == "__main__":
    sys.exit(main())
