"""Finds plugins, loads their entry points one by one, checks and reports them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, cast

import pluggy

from rl.api import API_VERSION, hookspecs, specs
from rl.api.errors import InputError, MissingPart, RlError, cause_of
from rl.config.nearest import nearest
from rl.entry_points import entry_points

GROUP = "rl.plugins"
KINDS: dict[str, tuple[str, type[specs.Spec]]] = {  # word people read -> (hook, spec class)
    "policy": ("rl_policies", specs.PolicySpec),
    "robot": ("rl_robots", specs.RobotSpec),
    "teleoperator": ("rl_teleoperators", specs.TeleoperatorSpec),
    "camera": ("rl_cameras", specs.CameraSpec),
    "format": ("rl_dataset_formats", specs.FormatSpec),
    "environment": ("rl_environments", specs.EnvironmentSpec),
    "exporter": ("rl_exporters", specs.ExporterSpec),
    "runtime": ("rl_runtimes", specs.RuntimeSpec),
    "step": ("rl_processor_steps", specs.StepSpec),
}
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Source(NamedTuple):
    """Where a plugin came from."""

    entry_point: str
    distribution: str  # "rl-toolkit 0.1.0"

    def __str__(self) -> str:
        return f"{self.distribution} (entry point '{self.entry_point}')"


@dataclass
class Registry:
    """What the installed plugins provide."""

    claims: dict[tuple[str, str], list[tuple[specs.Spec, Source]]] = field(default_factory=dict)
    broken: dict[Source, str] = field(default_factory=dict)  # source -> cause, one line
    loaded: dict[Source, float] = field(default_factory=dict)  # source -> ms that its import and hooks took

    def get(self, kind: str, name: str) -> specs.Spec:
        """The one spec of that name. InputError when there is none, or more than one claims it."""
        claimed = self.claims.get((kind, name), [])
        if len(claimed) == 1:
            return claimed[0][0]
        if claimed:
            sources = " and ".join(str(source) for _, source in claimed)
            todo = (
                "uninstall one, rename yours, or list in RL_PLUGINS the entry points that are to be loaded, no others"
            )
            raise InputError(f"{kind} '{name}' is claimed by {sources}", todo=todo)
        todo = nearest(name, (n for k, n in self.claims if k == kind))
        if others := [k for k in KINDS if k != kind and (k, name) in self.claims]:
            todo = f"'{name}' is a {' and a '.join(others)}"
        if "RL_PLUGINS" in os.environ:
            todo += " (RL_PLUGINS is set and hides others)"
        if self.broken:
            many = "1 plugin" if len(self.broken) == 1 else f"{len(self.broken)} plugins"
            todo += f" ({many} failed to load: see `rl plugins`)"
        raise InputError(f"there is no {kind} '{name}'", todo=todo)

    def source(self, kind: str, name: str) -> Source:
        """Where the one spec of that name came from."""
        self.get(kind, name)
        return self.claims[kind, name][0][1]

    def implementation(self, kind: str, name: str) -> Any:
        """The class behind a spec. MissingPart, before anything is imported, when a need is not met."""
        self.require(kind, name)
        return self._resolved(kind, name, self.get(kind, name).target)

    def require(self, kind: str, name: str) -> None:
        """MissingPart when something that the plugin needs is not installed. Imports nothing."""
        for need in self.get(kind, name).needs:
            if importlib.util.find_spec(need.module) is None:
                raise MissingPart(f"{kind} '{name}' needs {need.module}", todo=f'pip install "{need.install}"')

    def config_class(self, kind: str, name: str) -> type:
        """The configuration dataclass of a plugin."""
        return cast("type", self._resolved(kind, name, self.get(kind, name).config))

    def _resolved(self, kind: str, name: str, target: str) -> Any:
        """What a stranger's module raises becomes one line that names the plugin."""
        try:
            return resolve(target)
        except RlError:
            raise
        except Exception as error:
            what = f"{kind} '{name}' of {self.source(kind, name)} cannot be loaded from {target}: {cause_of(error)}"
            raise InputError(what, todo=f"`rl plugins check {name}` says more") from error

    def canonical(self, kind: str, name: str) -> str:
        """The spec's own name for a name or alias."""
        return self.get(kind, name).name

    def names(self, kind: str) -> list[str]:
        """Own names (no aliases) of one kind, sorted; clashing names once."""
        return sorted({spec.name for (k, _), found in self.claims.items() for spec, _ in found if k == kind})

    def all(self) -> list[tuple[str, specs.Spec, Source]]:
        """(kind, spec, source) of everything, each spec once, in order of kind and name."""
        rows = [
            (kind, spec, source)
            for (kind, name), found in self.claims.items()
            for spec, source in found
            if name == spec.name
        ]
        order = list(KINDS)
        return sorted(rows, key=lambda row: (order.index(row[0]), row[1].name, str(row[2])))


def resolve(target: str) -> Any:
    """The object that "module:Name" points to."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def discover(environ: Mapping[str, str] = os.environ) -> Registry:
    """Load every entry point by itself. A broken one is noted with its cause and costs nothing else."""
    found = entry_points(GROUP)
    if "RL_PLUGINS" in environ:
        wanted = {name.strip() for name in environ["RL_PLUGINS"].split(",")} - {""}
        for name in sorted(wanted - {e.name for e in found}):
            what = f"RL_PLUGINS names '{name}', which is no installed plugin"
            raise InputError(what, todo=nearest(name, (e.name for e in found)))
        found = [e for e in found if e.name in wanted]

    registry = Registry()
    manager = pluggy.PluginManager("rl")
    manager.add_hookspecs(hookspecs)
    for entry in sorted(found, key=lambda e: (e.name, str(e.value))):
        source = Source(entry.name, entry.distribution)
        if source in registry.loaded or source in registry.broken:
            continue  # an editable install can list its distribution twice on the path
        begin = time.perf_counter()
        try:
            module = entry.load()
            check_version(module)
            manager.register(module, name=str(source))
            provided = list(specs_of(manager, module))
        except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's module may raise anything
            registry.broken[source] = cause_of(error)
            continue
        registry.loaded[source] = (time.perf_counter() - begin) * 1e3
        for kind, spec in provided:
            for name in dict.fromkeys((spec.name, *spec.aliases)):
                registry.claims.setdefault((kind, name), []).append((spec, source))
    return registry


def check_version(module: Any) -> None:
    """Looked at before any hook is called: a spec of another version may not even construct."""
    version = getattr(module, "RL_API", None)
    if version is None:
        raise TypeError(f"{module.__name__} does not say for which plugin API it was written: RL_API = {API_VERSION}")
    if version != API_VERSION:
        raise TypeError(f"written for plugin API {version}, this rl has {API_VERSION}; RL_API in {module.__name__}")


def specs_of(manager: pluggy.PluginManager, module: Any) -> Iterable[tuple[str, specs.Spec]]:
    """What one registered module provides, checked."""
    hooks = {hook: (kind, cls) for kind, (hook, cls) in KINDS.items()}
    callers = manager.get_hookcallers(module)
    if not callers:
        raise TypeError(f"{module.__name__} gives no plugin; is @hookimpl missing before its functions?")
    for caller in callers:
        if caller.name not in hooks:
            raise TypeError(f"there is no hook {caller.name}; {nearest(caller.name, hooks)}")
        kind, cls = hooks[caller.name]
        (implementation,) = (i for i in caller.get_hookimpls() if i.plugin is module)
        for spec in cast("Iterable[specs.Spec]", implementation.function()):
            if not isinstance(spec, cls):
                raise TypeError(f"{caller.name} gave {spec!r}, not a {cls.__name__}")
            if not (NAME.fullmatch(spec.name) and TARGET.fullmatch(spec.target) and TARGET.fullmatch(spec.config)):
                raise ValueError(f"{kind} {spec.name!r}: malformed name, or target or config not 'module:Name'")
            yield kind, spec


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The plugins of this process, discovered once."""
    return discover()
