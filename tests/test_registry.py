"""Finding plugins: one bad distribution costs nothing else, and is told with its cause."""

import sys

import pytest

from rl.api import InputError, MissingPart
from rl.registry import KINDS, discover
from tests.fixtures.distributions import lay_out, policy_module

HEALTHY = policy_module("healthy", aliases="('healthy-policy', 'well')")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install("a-thing", text) lays a distribution on the import path; its module is `a_thing`."""
    modules = []

    def put(name, text, *, module="", **given):
        module = module or name.replace("-", "_")
        modules.append(module)
        folder = lay_out(tmp_path / f"{name}{len(modules)}", name, {module: text}, **given)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    yield put
    for module in modules:
        sys.modules.pop(module, None)


def only(*entries):
    return {"RL_PLUGINS": ",".join(entries)}


def cause(registry):
    ((source, told),) = registry.broken.items()
    return source.distribution, told


def test_a_plugin_of_another_distribution_is_found_with_its_source_and_load_time(install):
    install("a-thing", HEALTHY, version="2.3")
    registry = discover(only("a-thing"))
    assert registry.names("policy") == ["healthy"]
    assert str(registry.source("policy", "healthy")) == "a-thing 2.3 (entry point 'a-thing')"
    assert [took >= 0 for took in registry.loaded.values()] == [True]
    assert registry.broken == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise RuntimeError('the moon is full')", "RuntimeError: the moon is full"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("def (", "SyntaxError"),
        ("x = 1", "does not say for which plugin API it was written: RL_API = 1"),
        (HEALTHY.replace("@hookimpl", ""), "gives no plugin; is @hookimpl missing before its functions?"),
        (HEALTHY.replace("RL_API = 1", "RL_API = 2"), "written for plugin API 2, this rl has 1"),
        (HEALTHY.replace("def rl_policies", "def rl_policys"), "no hook rl_policys; did you mean 'rl_policies'?"),
        (HEALTHY.replace("PolicySpec(", "dict("), "not a PolicySpec"),
        (policy_module("Healthy Policy"), "malformed name"),
        (policy_module("healthy", target="no target"), "not 'module:Name'"),
        (HEALTHY.replace("return [", "raise ValueError('two\\nlines'); return ["), "ValueError: two lines"),
    ],
)
def test_a_broken_plugin_is_noted_with_its_cause_in_one_line_and_costs_nothing_else(text, told, install):
    install("a-thing", text)
    install("b-thing", policy_module("other"))
    registry = discover(only("a-thing", "b-thing"))
    distribution, line = cause(registry)
    assert distribution == "a-thing 1.0"
    assert told in line
    assert "\n" not in line
    assert registry.names("policy") == ["other"]


def test_an_entry_point_whose_module_is_not_there_is_broken(install):
    folder = install("a-thing", HEALTHY)
    (folder / "a_thing.py").unlink()
    assert "No module named 'a_thing'" in cause(discover(only("a-thing")))[1]


def test_a_name_claimed_twice_is_an_error_that_names_both_distributions(install):
    install("a-thing", HEALTHY)
    install("b-thing", policy_module("healthy"), version="2.1")
    registry = discover(only("a-thing", "b-thing"))
    with pytest.raises(InputError) as found:
        registry.get("policy", "healthy")
    assert "a-thing 1.0 (entry point 'a-thing') and b-thing 2.1 (entry point 'b-thing')" in str(found.value)
    assert registry.get("policy", "well").name == "healthy"  # only the clashing name fails


def test_a_clash_with_an_alias_is_an_error_too(install):
    install("a-thing", HEALTHY)
    install("b-thing", policy_module("well"))
    registry = discover(only("a-thing", "b-thing"))
    assert registry.get("policy", "healthy").name == "healthy"
    with pytest.raises(InputError, match=r"a-thing .* and b-thing"):
        registry.get("policy", "well")


def test_two_distributions_with_one_entry_point_name_are_both_looked_at(install):
    install("a-thing", HEALTHY, entry="same")
    install("b-thing", policy_module("healthy"), entry="same")
    with pytest.raises(InputError, match=r"a-thing .* and b-thing"):
        discover(only("same")).get("policy", "healthy")


def test_a_distribution_that_is_on_the_path_twice_claims_its_names_once(install):
    install("a-thing", HEALTHY)
    install("a-thing", HEALTHY)
    assert discover(only("a-thing")).get("policy", "healthy").name == "healthy"


def test_one_name_may_be_of_two_kinds(install):
    both = HEALTHY.replace("PolicySpec,", "PolicySpec, RuntimeSpec,") + (
        "\n@hookimpl\ndef rl_runtimes():\n    return [RuntimeSpec(name='healthy', summary='x', target='m:N', "
        "config='m:N', graphs=('toy',))]\n"
    )
    install("a-thing", both)
    registry = discover(only("a-thing"))
    assert registry.get("policy", "healthy") is not registry.get("runtime", "healthy")


def test_an_alias_finds_the_plugin_and_is_not_listed(install):
    install("a-thing", HEALTHY)
    registry = discover(only("a-thing"))
    assert registry.canonical("policy", "healthy-policy") == "healthy"
    assert registry.names("policy") == ["healthy"]
    assert [spec.name for _, spec, _ in registry.all()] == ["healthy"]


def test_an_unknown_name_is_answered_with_the_nearest_and_with_how_many_are_broken(install):
    install("a-thing", HEALTHY)
    install("b-thing", "1/0")
    with pytest.raises(InputError, match=r"no policy 'helthy'; did you mean 'healthy'\? \(1 plugin failed to load"):
        discover(only("a-thing", "b-thing")).get("policy", "helthy")


def test_rl_plugins_chooses_entry_points_and_empty_means_none(install):
    install("a-thing", HEALTHY)
    assert discover({"RL_PLUGINS": ""}).claims == {}
    assert discover({"RL_PLUGINS": " a-thing , "}).names("policy") == ["healthy"]
    with pytest.raises(
        InputError, match="RL_PLUGINS names 'a-thin', which is no installed plugin; did you mean 'a-thing'"
    ):
        discover({"RL_PLUGINS": "a-thin"})


def test_a_missing_need_is_said_before_the_target_is_imported(install):
    need = "(Need(module='a_module_that_is_not_there', install='thing[all]'),)"
    install("a-thing", policy_module("healthy", target="also_not_there:Policy", needs=need))
    registry = discover(only("a-thing"))
    with pytest.raises(MissingPart) as found:
        registry.implementation("policy", "healthy")
    wanted = "policy 'healthy' needs a_module_that_is_not_there; pip install \"thing[all]\""
    assert str(found.value) == wanted
    assert found.value.exit_code == 3


def test_the_built_in_plugins_use_the_same_door_and_none_is_broken(monkeypatch):
    registry = discover({})
    ours = {source.entry_point: told for source, told in registry.broken.items() if "rl-toolkit" in source.distribution}
    assert ours == {}
    assert {"act", "so101", "lerobot"} <= {source.entry_point for source in registry.loaded}
    assert {kind for kind, _, _ in registry.all()} <= set(KINDS)


@pytest.mark.parametrize(
    ("target", "cause"),
    [("a_thing:Nobody", "AttributeError"), ("not_there_at_all:Thing", "ModuleNotFoundError")],
)
def test_a_target_that_cannot_be_loaded_is_one_line_that_names_the_plugin(install, monkeypatch, target, cause):
    install("a-thing", policy_module("healthy", target=target))
    found = discover({"RL_PLUGINS": "a-thing"})
    with pytest.raises(InputError, match=rf"policy 'healthy' of a-thing.*{target}: {cause}.*rl plugins check healthy"):
        found.implementation("policy", "healthy")
