"""Every rule of the conformance kit has a planted violator that it catches, and the plugins without a fault pass."""

import importlib
import sys

import pytest

from rl.testing import camera, environment, exporter, format, listing, policy, robot, runtime, step, teleoperator
from rl.testing.conformance import Violation, outcomes

KITS = {
    kit.__name__.rpartition(".")[2]: kit
    for kit in (camera, environment, exporter, format, policy, robot, runtime, step, teleoperator)
}
MODULES = {
    "policy": "policies", "robot": "robots", "teleoperator": "teleoperators", "camera": "cameras", "format": "formats",
    "environment": "environments", "step": "steps", "exporter": "graphs", "runtime": "graphs",
}  # fmt: skip

# kind, rule, planted class, words of the one line that tells it
PLANTED = [
    ("policy", policy.is_made_quietly, "NotAModule", "no torch.nn.Module"),
    ("policy", policy.is_made_quietly, "ReadsAFile", "I/O"),
    ("policy", policy.is_made_quietly, "StartsAThread", "starts threads"),
    ("policy", policy.is_made_quietly, "OtherFeatures", "not the features it was given"),
    ("policy", policy.declares, "UnknownWindow", "observation.stat"),
    ("policy", policy.declares, "LooksAhead", "future"),
    ("policy", policy.declares, "Unsorted", "not rising"),
    ("policy", policy.declares, "OddMode", "unknown mode mean"),
    ("policy", policy.loss_is_finite, "DividesByPadding", "nan"),
    ("policy", policy.loss_is_finite, "OwnNoiseInLoss", "differs at the same draws"),
    ("policy", policy.loss_is_finite, "LossOfEachRow", "shape"),
    ("policy", policy.gradients_reach, "Detached", "encoder.weight"),
    ("policy", policy.gradients_reach, "EmptyObjective", "critic"),
    ("policy", policy.predicts, "OneAction", "shape"),
    ("policy", policy.predicts, "TooShort", "execute"),
    ("policy", policy.predicts, "ForgetsItsState", "state"),
    ("policy", policy.is_pure, "Remembers", "another chunk for the same observation"),
    ("policy", policy.is_pure, "CountsInABuffer", "changes seen"),
    ("policy", policy.is_pure, "OwnNoise", "own generator"),
    ("policy", policy.is_pure, "InPlace", "changes its input observation.state"),
    ("policy", policy.rows_do_not_mix, "MixesRows", "rows of a batch mix"),
    ("policy", policy.survives_saving, "KeepsATensor", "same weights gives another chunk"),
    ("policy", policy.program_has_parity, "OtherProgram", "off by"),
    ("policy", policy.program_has_parity, "LosesADraw", "draws"),
    ("policy", policy.debug_is_small, "Slow", "took"),
    ("robot", robot.is_made_quietly, "OpensInInit", "I/O"),
    ("robot", robot.is_made_quietly, "ThreadInInit", "starts threads (reader)"),
    ("robot", robot.is_made_quietly, "FeaturesAfterConnect", "before it is connected"),
    ("robot", robot.is_made_quietly, "FeaturesChange", "another Feature"),
    ("robot", robot.is_made_quietly, "NoUnits", "no units"),
    ("robot", robot.axes_match, "OneAxisLess", "one Axis an element"),
    ("robot", robot.axes_match, "AxesInRadians", "rad"),
    ("robot", robot.axes_match, "AxesUpsideDown", "goes from"),
    ("robot", robot.axes_match, "AxesWithoutSpeed", "no finite speed"),
    ("robot", robot.needs_connecting, "MovesUnconnected", "command before connect() is accepted"),
    ("robot", robot.needs_connecting, "FailsRudely", "AttributeError"),
    ("robot", robot.snapshots, "FeaturesChangeOnConnect", "change as it connects"),
    ("robot", robot.snapshots, "ShortSnapshot", "shape (1,)"),
    ("robot", robot.snapshots, "SnapshotOfNothing", "not finite"),
    ("robot", robot.snapshots, "WallClock", "monotonic"),
    ("robot", robot.core_fits, "OverlappingDrives", "none twice"),
    ("robot", robot.refuses_nan, "TakesNan", "command with nan is accepted"),
    ("robot", robot.refuses_nan, "SendsHalf", "moved it by"),
    ("robot", robot.returns_what_was_sent, "Unlimited", "beyond the limits of shoulder.pos"),
    ("robot", robot.stops, "StopsOnce", "second stop"),
    ("robot", robot.stops, "StopBreaksUnplugged", "after the plug was pulled: raised OSError"),
    ("robot", robot.releases, "KeepsThePort", "cannot be connected again"),
    ("robot", robot.releases, "ClosesOnce", "second close()"),
    ("teleoperator", teleoperator.is_made_quietly, "OpensInInit", "I/O"),
    ("teleoperator", teleoperator.is_made_quietly, "NoNames", "names no element"),
    ("teleoperator", teleoperator.needs_connecting, "ReadsUnconnected", "is accepted"),
    ("teleoperator", teleoperator.reads, "ShortIntent", "shape (1,)"),
    ("teleoperator", teleoperator.reads, "IntentOfNothing", "not finite"),
    ("teleoperator", teleoperator.reads, "WallClock", "monotonic"),
    ("teleoperator", teleoperator.reads, "OddEvent", "pause"),
    ("teleoperator", teleoperator.follows, "CannotFollow", "NotImplementedError"),
    ("teleoperator", teleoperator.attaches, "StopsAtOnce", "nobody asked"),
    ("teleoperator", teleoperator.attaches, "ForgetsOnce", "KeyError"),
    ("teleoperator", teleoperator.releases, "KeepsThePort", "cannot be connected again"),
    ("teleoperator", teleoperator.releases, "CloseBreaksUnplugged", "OSError"),
    ("camera", camera.is_made_quietly, "OpensInInit", "I/O"),
    ("camera", camera.is_made_quietly, "ChannelsFirst", "(3, 12, 16)"),
    ("camera", camera.needs_opening, "GivesUnopened", "is accepted"),
    ("camera", camera.times_rise, "NeverCounts", "is followed by"),
    ("camera", camera.times_rise, "FromTheFuture", "in the future"),
    ("camera", camera.times_rise, "WallClock", "in the future"),
    ("camera", camera.times_rise, "OtherSize", "(24, 32, 3)"),
    ("camera", camera.frames_stay, "OneBuffer", "changes after it was handed out"),
    ("camera", camera.does_not_wait, "Waits", "ms"),
    ("camera", camera.tells_unplugging, "Stale", "still gives an image"),
    ("camera", camera.releases, "KeepsTheDevice", "in use"),
    ("camera", camera.releases, "GivesWhenClosed", "after close() is accepted"),
    ("format", format.sniffs, "ReadsAnything", "is accepted"),
    ("format", format.round_trip, "Rounds", "come back changed"),
    ("format", format.round_trip, "SwapsColours", "grey levels off"),
    ("format", format.round_trip, "LosesTasks", "tasks come back"),
    ("format", format.round_trip, "LosesNames", "names"),
    ("format", format.round_trip, "KeepsDiscarded", "save() returns 2 for episode 1"),
    ("format", format.random_access, "Sorts", "differs from reading in order"),
    ("format", format.pickles, "HoldsALock", "pickle"),
    ("format", format.names_damage, "FailsRudely", "0.npz cut in half, reading raised"),
    ("format", format.names_damage, "IsVague", "does not name it"),
    ("format", format.survives_kills, "RemovesTheIndex", "killed at its file operation"),
    ("format", format.survives_kills, "RewritesInPlace", "killed at its file operation"),
    ("environment", environment.declares, "NoRate", "fps is 0.0"),
    ("environment", environment.declares, "NoAction", "no Feature of kind action"),
    ("environment", environment.observes, "Doubles", "float64"),
    ("environment", environment.observes, "LosesAnObservation", "lacks observation.state"),
    ("environment", environment.observes, "Explodes", "not finite"),
    ("environment", environment.repeats, "IgnoresTheSeed", "another episode at the same seed"),
    ("environment", environment.repeats, "KeepsItsDraws", "the same instance"),
    ("environment", environment.ends, "NeverEnds", "no end after 12 steps"),
    ("environment", environment.ends, "EndsEarly", "truncated after 5 steps"),
    ("environment", environment.renders, "DrawsFloats", "render()"),
    ("environment", environment.closes, "ClosesOnce", "second close()"),
    ("step", step.declares, "Nowhere", "'device'"),
    ("step", step.declares, "OpensInInit", "I/O"),
    ("step", step.predicts_features, "PromisesTooMuch", "promises tokens"),
    ("step", step.predicts_features, "SaysTooLittle", "apply gives tokens"),
    ("step", step.predicts_features, "OtherShape", "features() says (7,)"),
    ("step", step.predicts_features, "InPlace", "changes its input"),
    ("step", step.inverts, "NoWayBack", "is off by"),
    ("step", step.state_survives, "ForgetsItsState", "apply gives another"),
    ("step", step.state_survives, "KeepsLists", "no arrays"),
    ("step", step.same_on_tensors, "OnlyNumpy", "no tensor"),
    ("exporter", exporter.writes, "LosesAGraph", "names files for"),
    ("exporter", exporter.writes, "AbsolutePaths", "relative to the folder"),
    ("exporter", exporter.writes, "NamesNothing", "not there"),
    ("exporter", exporter.writes, "WritesBeside", "cache.bin"),
    ("exporter", exporter.writes, "NoPrecision", "precision"),
    ("exporter", exporter.has_parity, "ChangesWeights", "is off by"),
    ("runtime", runtime.has_parity, "Rounds", "is off by"),
    ("runtime", runtime.has_parity, "GivesTensors", "no numpy arrays"),
    ("runtime", runtime.has_parity, "RemembersTheFolder", "cannot be read"),
    ("runtime", runtime.refuses_bad_files, "FailsRudely", "SafetensorError"),
    ("runtime", runtime.closes, "ClosesOnce", "no session"),
]


def subject_of(kind, plant, name):
    """What a check of the kit is made with, around a class of tests/fixtures/violators."""
    plant(kind, f"violators.{MODULES[kind]}:{name}")
    module = importlib.import_module(f"violators.{MODULES[kind]}")
    if kind in ("robot", "teleoperator", "camera"):
        return type(KITS[kind].subject("planted", {}))(kind, "planted", {}, module.unplug)
    if kind == "format":
        return format.FormatSubject("planted", {}, kills=4)
    if kind == "exporter":
        plant("runtime", "violators.graphs:HealthyRuntime", name="partner")
    elif kind == "runtime":
        plant("exporter", "violators.graphs:HealthyExporter", name="partner")
    return KITS[kind].subject("planted", {})


def own_rules(kind):
    return [rule for rule in KITS[kind].RULES if rule not in listing.RULES]


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch):
    """Violators are as small as the bounds that catch them; a port that one of them kept is free for the next."""
    for module in ("robots", "teleoperators", "cameras"):
        if f"violators.{module}" in sys.modules:
            sys.modules[f"violators.{module}"].HELD.clear()
    monkeypatch.setattr(policy, "SECONDS", 0.2)
    monkeypatch.setattr(camera, "SILENCE", 0.3)


@pytest.mark.parametrize(("kind", "rule", "name", "words"), PLANTED, ids=lambda v: v if isinstance(v, str) else "")
def test_the_kit_catches_a_planted_fault(kind, rule, name, words, plant):
    subject = subject_of(kind, plant, name)
    rules = own_rules(kind)[: own_rules(kind).index(rule) + 1]
    found = list(outcomes(subject, rules))
    broken = [outcome for outcome in found if outcome.verdict == "broken"]
    assert [outcome.sentence for outcome in broken] == [rule.sentence], [o.reason for o in broken]
    assert words in broken[0].reason
    assert "\n" not in broken[0].reason


@pytest.mark.parametrize("kind", sorted(KITS))
def test_a_plugin_without_a_fault_passes_every_rule(kind, plant):
    name = f"Healthy{kind.capitalize()}" if kind in ("exporter", "runtime") else "Healthy"
    found = list(outcomes(subject_of(kind, plant, name), own_rules(kind)))
    assert {outcome.verdict for outcome in found} == {"ok"}, [o for o in found if o.verdict != "ok"]


@pytest.mark.parametrize("kind", sorted(KITS))
def test_every_rule_of_a_kind_has_a_planted_violator(kind):
    caught = {rule.sentence for planted, rule, _, _ in PLANTED if planted == kind}
    assert {rule.sentence for rule in own_rules(kind)} == caught


def test_a_check_raises_an_assertion_error_that_names_the_plugin(plant):
    plant("environment", "violators.environments:NoRate", needs=())
    with pytest.raises(Violation, match=r"^environment 'planted': fps is 0\.0; steps per second$"):
        environment.check_environment("planted")
    assert issubclass(Violation, AssertionError)
