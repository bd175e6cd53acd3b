"""What every check of the kit is made of: a rule with a sentence, a plugin under test, a one-line violation."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, TypeVar

from rl import registry as plugins
from rl.api.errors import MissingPart, RlError, cause_of
from rl.config import build

T = TypeVar("T")


class Violation(AssertionError):
    """A rule of the contract that a plugin breaks: one line, what is broken and how to mend it."""

    def __init__(self, what: str, todo: str = "") -> None:
        self.what, self.todo = " ".join(what.split()), todo
        super().__init__(self.what + (f"; {todo}" if todo else ""))


class LeftOut(Exception):
    """The rule says nothing about this plugin, or what its check needs was not given: the reason is shown."""


@dataclass(frozen=True)
class Rule:
    """One check: its sentence is what holds when it passes. After a broken gate the rest is not run."""

    sentence: str
    check: Callable[[Any], None]
    gate: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one rule."""

    sentence: str
    verdict: Literal["ok", "broken", "left out", "not run"]
    reason: str = ""


def rule(sentence: str, *, gate: bool = False) -> Callable[[Callable[[Any], None]], Rule]:
    """Turns a function of the plugin under test into a rule."""
    return lambda check: Rule(sentence, check, gate)


class Subject:
    """One plugin under test: found by name, built from its options with the file's and the command line's own code."""

    def __init__(self, kind: str, name: str, options: Mapping[str, Any]) -> None:
        self.kind, self.name, self.options = kind, name, dict(options)
        self.held = ExitStack()  # folders that several rules share; given back when the last rule has run

    @cached_property
    def registry(self) -> plugins.Registry:
        return plugins.registry()

    @cached_property
    def spec(self) -> Any:
        return self.registry.get(self.kind, self.name)

    @cached_property
    def config_class(self) -> type:
        return self.registry.config_class(self.kind, self.name)

    @cached_property
    def implementation(self) -> Any:
        return self.registry.implementation(self.kind, self.name)

    def config(self, **changed: Any) -> Any:
        """The plugin's options: its defaults, then those given to the check, then `changed`."""
        return build(self.config_class, {**self.options, **changed}, self.kind, self.registry)


def outcomes(subject: Subject, rules: Iterable[Rule]) -> Generator[Outcome, None, None]:
    """Applies each rule, in order. MissingPart (a need of the plugin is not installed) is the caller's to tell."""
    shut = ""
    with subject.held:
        for one in rules:
            if shut:
                yield Outcome(one.sentence, "not run", shut)
                continue
            outcome = _apply(one, subject)
            if one.gate and outcome.verdict == "broken":
                shut = "needs the one above"
            yield outcome


def check_rules(subject: Subject, rules: Iterable[Rule]) -> None:
    """Applies each rule and raises the first Violation, with the plugin's kind and name in front."""
    with closing(outcomes(subject, rules)) as found:
        for outcome in found:
            if outcome.verdict == "broken":
                raise Violation(f"{subject.kind} '{subject.name}': {outcome.reason}")


def _apply(one: Rule, subject: Subject) -> Outcome:
    try:
        one.check(subject)
    except LeftOut as reason:
        return Outcome(one.sentence, "left out", str(reason))
    except Violation as violation:
        return Outcome(one.sentence, "broken", str(violation))
    except MissingPart:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's code may raise anything
        return Outcome(one.sentence, "broken", told(error))
    return Outcome(one.sentence, "ok")


def told(error: BaseException) -> str:
    """An exception as one line, with the place in the plugin that raised it."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if f"{os.sep}rl{os.sep}testing{os.sep}" not in name:
            place = f" ({os.path.basename(name)}, line {trace.tb_lineno})"  # noqa: PTH119  a name, not a file
        trace = trace.tb_next
    return f"raised {cause_of(error)}"[:400] + place


def require(holds: bool, what: str, todo: str = "") -> None:
    """Violation(what; todo) unless `holds`."""
    if not holds:
        raise Violation(what, todo)


def refused(what: str, call: Callable[[], Any], *, todo: str, containing: str = "") -> RlError:
    """The RlError that `call` must raise; Violation when it succeeds or fails in another way."""
    try:
        call()
    except RlError as error:
        if containing and containing.lower() not in str(error).lower():
            raise Violation(f"{what}: the error does not name '{containing}': {error}", todo) from error
        require("\n" not in str(error), f"{what}: the error has several lines", "one line: where: what; todo")
        return error
    except Exception as error:
        raise Violation(f"{what}: {told(error)}", todo) from error
    raise Violation(f"{what} is accepted", todo)


# --- nothing happens in a constructor

_EVENTS = {"open", "os.mkdir", "os.listdir", "os.scandir", "os.rename", "os.remove", "subprocess.Popen", "os.system"}
_watch = threading.local()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    seen = getattr(_watch, "seen", None)
    if seen is None or not (event in _EVENTS or event.startswith("socket.")):
        return
    target = str(arguments[0]) if arguments else ""
    if not target.endswith((".py", ".pyc", ".so", ".pth")) and not _on_import_path(target):
        seen.append(f"{event} {target}".strip())


def _on_import_path(target: str) -> bool:
    return any(target.startswith(place) for place in sys.path if place) and "site-packages" in target


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collects what this thread opens, lists, makes or connects while the block runs; imports are left out."""
    _hook_once()
    seen: list[str] = []
    _watch.seen = seen
    try:
        yield seen
    finally:
        _watch.seen = None


@cache
def _hook_once() -> None:
    sys.addaudithook(_audit)  # cannot be taken away again: it stays, and looks only inside `watched`


def quiet_constructor(make: Callable[[], T]) -> T:
    """What `make` gives; Violation when making it touches files, ports, network, processes or starts a thread."""
    make()  # the first may import
    before = set(threading.enumerate())
    with watched() as seen:
        made = make()
    started = sorted(t.name for t in set(threading.enumerate()) - before)
    require(not seen, f"__init__ does I/O ({', '.join(seen[:3])})", "open things in connect() or open()")
    require(not started, f"__init__ starts threads ({', '.join(started[:3])})", "start them in connect() or open()")
    return made


__all__ = [
    "LeftOut",
    "Outcome",
    "Rule",
    "Subject",
    "Violation",
    "check_rules",
    "outcomes",
    "quiet_constructor",
    "refused",
    "require",
    "rule",
    "told",
    "watched",
]
