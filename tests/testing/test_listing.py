"""The rules for every kind: each has a planted violator, laid out as a distribution of its own."""

import sys
from pathlib import Path

import pytest

from rl.registry import Registry, discover
from rl.testing import listing
from rl.testing.conformance import Subject, outcomes
from tests.fixtures.distributions import lay_out, policy_module
from tests.fixtures.planting import forget_registry, replace_registry

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def first_fault(tmp_path, monkeypatch):
    """first_fault(modules) -> (sentence, reason) of the first rule that the policy `planted` breaks, or None."""
    monkeypatch.syspath_prepend(str(FIXTURES))

    def find(modules, registry=None, rules=listing.RULES):
        monkeypatch.syspath_prepend(str(lay_out(tmp_path, "planted-thing", modules)))
        found = registry or discover({"RL_PLUGINS": "planted-thing"})
        replace_registry(monkeypatch, found)
        for name in modules:
            sys.modules.pop(name, None)
        broken = [o for o in outcomes(Subject("policy", "planted", {}), rules) if o.verdict == "broken"]
        return (broken[0].sentence, broken[0].reason) if broken else None

    yield find
    forget_registry()


@pytest.mark.parametrize(
    ("rule", "text", "words"),
    [
        (listing.found, policy_module("other"), "there is no policy 'planted'; known: other"),
        (listing.found, "raise RuntimeError('the moon is full')", "the moon is full"),
        (listing.found, policy_module("planted", summary="'Two sentences.'"), "full stop"),
        (listing.found, policy_module("planted", summary="''"), "no summary"),
        (listing.found, policy_module("planted", needs="(Need(module='torch.nn', install='x'),)"), "malformed"),
        (listing.found, policy_module("planted", needs="(Need(module='torch', install=''),)"), "malformed"),
        (listing.resolves, policy_module("planted", target="violators.light:Gone"), "no attribute"),
        (listing.resolves, policy_module("planted", config="violators.options:Gone"), "no attribute"),
        (listing.resolves, policy_module("planted", config="violators.options:Thawed"), "frozen"),
        (
            listing.resolves,
            policy_module("planted", target="violators.hidden_need:Policy"),
            "imports transformers, which the spec does not name",
        ),
        (listing.documented, policy_module("planted", config="violators.options:Undocumented"), "chunk_size"),
        (listing.builds, policy_module("planted", config="violators.options:Unbuildable"), "the stars are wrong"),
        (listing.builds, policy_module("planted", config="violators.options:Required"), "have no default"),
        (listing.builds, policy_module("planted", config="violators.options:BadPreset"), "chunk_sise"),
        (listing.wrong_option_is_said, policy_module("planted", config="violators.options:Rude"), "AssertionError"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)
def test_the_kit_catches_a_fault_of_the_listing(rule, text, words, first_fault):
    rules = listing.RULES[: listing.RULES.index(rule) + 1]
    sentence, reason = first_fault({"planted_thing": text}, rules=rules)
    assert sentence == rule.sentence
    assert words in reason
    assert "\n" not in reason


@pytest.mark.parametrize("where", ["module", "config"])
def test_the_kit_catches_a_heavy_import(where, first_fault):
    modules = {
        "planted_thing": policy_module("planted", config="planted_config:Options"),
        "planted_config": "from violators.options import Options\n",
        "mujoco": "",  # as if it were installed
    }
    guilty = "planted_thing" if where == "module" else "planted_config"
    modules[guilty] = "import mujoco\n" + modules[guilty]
    sentence, reason = first_fault(modules, rules=listing.RULES[:2])
    assert sentence == listing.cheap.sentence
    assert reason.startswith("its module imports mujoco" if where == "module" else "its config's module imports mujoco")


def test_the_kit_catches_a_missing_need_that_is_not_said(first_fault, tmp_path, monkeypatch):
    class Careless(Registry):
        def implementation(self, kind, name):
            return object

    monkeypatch.syspath_prepend(str(FIXTURES))
    monkeypatch.syspath_prepend(
        str(lay_out(tmp_path / "first", "planted-thing", {"planted": policy_module("planted")}))
    )
    real = discover({"RL_PLUGINS": "planted-thing"})
    careless = Careless(real.claims, real.broken, real.loaded)
    rules = [listing.missing_need_is_said]
    sentence, reason = first_fault({"planted_thing": policy_module("planted")}, registry=careless, rules=rules)
    assert sentence == listing.missing_need_is_said.sentence
    assert reason == "a missing torch is not said"


def test_a_plugin_without_a_fault_breaks_no_rule(first_fault):
    assert first_fault({"planted_thing": policy_module("planted")}) is None
