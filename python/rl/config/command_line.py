"""From words on the command line (and configuration files) to one resolved tree."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rl.api.errors import InputError
from rl.config.build import build, plain
from rl.config.docs import Doc
from rl.config.files import flatten, read_tree
from rl.config.nearest import nearest
from rl.config.types import (
    Choice,
    Chooser,
    Field,
    accepts_bare,
    fields_of,
    is_tree,
    mapping_value,
    members,
    split,
    unwrap_optional,
    walk,
)
from rl.config.values import is_truth_value


class Note(NamedTuple):
    """An accepted spelling that changes nothing here; the text says why."""

    text: str


class Given(NamedTuple):
    """One option as it was given: dotted name, value (None: bare) and source."""

    name: str
    value: Any
    source: str
    bare: bool = False


# An alias is another name, a note, or a function of the value that gives (further options, notes).
Alias = str | Note | Callable[[Any], tuple[Mapping[str, Any], Sequence[str]]]


@dataclass(frozen=True)
class CommandSpec:
    """A command's tree and how its words are read."""

    name: str  # "train"
    tree: type  # frozen dataclass
    summary: str
    positionals: tuple[str, ...] = ()  # option names that plain words fill, in order
    required: tuple[str, ...] = ()  # positionals that must be there
    short: Mapping[str, str] = field(default_factory=dict)  # "-o" -> "output"
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)  # a group given as one word: "dataset" -> "dataset.root"
    # (kind, path) -> (plugin name, its plain config): the base below `--policy.path`
    base: Callable[[str, str], tuple[str, Mapping[str, Any]]] | None = None
    prelude: Callable[[Sequence[str]], Sequence[str]] | None = None  # rewrites the words first


class Resolved(NamedTuple):
    """The tree that a command runs with."""

    config: Any  # instance of CommandSpec.tree
    sources: Mapping[str, str]  # dotted name -> "option", "preset debug", a file's name; absent: default
    notes: tuple[str, ...]


def resolve(spec: CommandSpec, words: Sequence[str], chooser: Chooser) -> Resolved:
    """Defaults < preset < files < options. Errors: InputError, one line, with the nearest match."""
    if spec.prelude is not None:
        words = spec.prelude(words)
    return _Reader(spec, chooser).resolve(list(words))


def wants_help(words: Sequence[str]) -> bool:
    return any(word in ("--help", "-h") for word in words)


class _Reader:
    def __init__(self, spec: CommandSpec, chooser: Chooser) -> None:
        self.spec, self.chooser = spec, chooser
        self.notes: list[str] = []
        self.picked: dict[str, str] = {}  # dotted name of a choice -> plugin name or alias
        self.firm: set[str] = set()  # those of them that an option chose: no file changes them

    def resolve(self, words: list[str]) -> Resolved:
        self._pick(words)
        options = list(self._options(words))
        files = [g for g in options if g.name in ("config", "config_path")]
        below = [g for f in files for g in self._file(Path(str(f.value)))]
        given = below + [g for g in options if g not in files]
        expanded = [one for g in given for one in self._expand(g)]
        return self._assemble(expanded)

    # --- which plugins: they decide which options exist

    def _pick(self, words: Sequence[str]) -> None:
        for at, word in enumerate(words):
            if not word.startswith("--"):
                continue
            name, equals, value = word[2:].partition("=")
            name = _normal(name)
            if not equals:
                value = words[at + 1] if at + 1 < len(words) else ""
            if name in ("config", "config_path") and value:
                for key, found in flatten(read_tree(Path(value))).items():
                    self._note_pick(key, found, weak=True)
            elif value and not value.startswith("--"):
                self._note_pick(name, value)

    def _note_pick(self, name: str, value: Any, *, weak: bool = False) -> None:
        alias = self.spec.aliases.get(name)
        if isinstance(alias, str):
            name = alias
        place = name.removesuffix(".type")
        if not isinstance(value, str) or (weak and place in self.firm):
            return
        found = self._field(place)
        if found is not None and found.choice is not None:
            self.picked[place] = value
            self.firm |= set() if weak else {place}
        elif name.endswith(".path") and self.spec.base is not None:
            place = name.removesuffix(".path")
            found = self._field(place)
            if found is not None and found.choice is not None:
                self.picked.setdefault(place, self.spec.base(found.choice.kind, value)[0])

    # --- words

    def _options(self, words: Sequence[str]) -> Iterator[Given]:
        plain_words: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                plain_words += rest
                break
            word = f"--{self.spec.short[word]}" if word in self.spec.short else word
            if word.startswith("--"):
                yield self._option(word[2:], rest)
            elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
                todo = nearest(word, self.spec.short)
                raise InputError(f"there is no option '{word}'", where=f"rl {self.spec.name}", todo=todo)
            else:
                plain_words.append(word)
        yield from self._plain(plain_words)

    def _option(self, word: str, rest: list[str]) -> Given:
        """One option; takes its value from the words that follow when it stands there."""
        name, equals, text = word.partition("=")
        name = _normal(name)
        if equals:
            return Given(name, text, "option")
        ahead = rest[0] if rest and not rest[0].startswith("--") and rest[0] not in self.spec.short else None
        alone, negated = self._bare(name)
        if negated:
            return Given(negated, "false", "option")
        if alone == "flag" and (ahead is None or not is_truth_value(ahead)):
            return Given(name, "true", "option", bare=True)
        if ahead is not None:
            return Given(name, rest.pop(0), "option")
        if alone != "flag or value":
            raise InputError(f"--{name} needs a value", where=f"rl {self.spec.name}")
        return Given(name, "true", "option", bare=True)

    def _bare(self, name: str) -> tuple[str, str]:
        """How the option may stand alone ("flag", "flag or value", ""), and the option that `--no-x` negates."""
        target = self.spec.aliases.get(name, name)
        if isinstance(target, Note):
            return "flag or value", ""
        found = self._field(target) if isinstance(target, str) else None
        if callable(target):
            return "flag or value", ""
        if found is None:
            head, _, last = name.rpartition(".")
            if last.startswith("no_"):
                positive = f"{head}.{last[3:]}" if head else last[3:]
                other = self._field(positive)
                if other is not None and accepts_bare(other.type):
                    return "flag", positive
            self._unknown(name)
            return "", ""
        if not accepts_bare(found.type):
            return "", ""
        return ("flag or value" if str in members(found.type) else "flag"), ""

    def _plain(self, words: Sequence[str]) -> Iterator[Given]:
        slots = list(self.spec.positionals)
        if len(words) > len(slots):
            extra = words[len(slots)]
            todo = nearest(f"--{extra}", [f"--{known}" for known in self._known()])
            raise InputError(f"'{extra}' is one word too many", where=f"rl {self.spec.name}", todo=todo)
        for name, word in zip(slots, words, strict=False):
            yield Given(name, word, "option")

    def _file(self, path: Path) -> Iterator[Given]:
        entries = dict(self._entries(read_tree(path), ""))
        for place, plugin in self.picked.items():
            theirs = entries.get(place, entries.get(f"{place}.type"))
            if isinstance(theirs, str) and not self._same_plugin(place, theirs, plugin):
                entries = {n: v for n, v in entries.items() if n != place and not n.startswith(f"{place}.")}
        for name, value in entries.items():
            yield Given(name, value, path.name)

    def _entries(self, tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        """Dotted name and value of everything in a file. A key of a plain map is one name, dots or not."""
        for key, value in tree.items():
            name = f"{prefix}{_normal(str(key))}"
            found = self._field(name)
            if not isinstance(value, Mapping) or not value:
                yield name, value
            elif found is not None and _is_plain_map(found):
                yield from ((f"{name}.{_sealed(str(k))}", v) for k, v in value.items())
            else:
                yield from self._entries(value, f"{name}.")

    def _same_plugin(self, place: str, one: str, other: str) -> bool:
        found = self._field(place)
        if found is None or found.choice is None:
            return True
        kind = found.choice.kind
        return self.chooser.canonical(kind, one) == self.chooser.canonical(kind, other)

    # --- names

    def _expand(self, given: Given) -> Iterator[Given]:
        alias = self.spec.aliases.get(given.name)
        if isinstance(alias, Note):
            self.notes.append(f"--{given.name}: {alias.text}")
        elif isinstance(alias, str):
            yield Given(alias, given.value, given.source, given.bare)
        elif callable(alias):
            further, notes = alias(given.value)
            self.notes += [f"--{given.name}: {note}" for note in notes]
            for name, value in further.items():
                yield Given(name, value, given.source)
        elif given.name in self.spec.values and not isinstance(given.value, Mapping):
            yield Given(self.spec.values[given.name], given.value, given.source)
        else:
            if self._field(given.name) is None:
                self._unknown(given.name, given.source)
            yield given

    def _known(self) -> list[str]:
        names = [name for name, item in walk(self.spec.tree) if not item.doc.hidden] + list(self.spec.aliases)
        names += [*self.spec.values, "config", "help"]
        for place, plugin in self.picked.items():
            found = self._field(place)
            if found is None or found.choice is None:
                continue
            try:
                cls = self.chooser.config_class(found.choice.kind, plugin)
            except InputError:
                continue
            names += [f"{place}.{name}" for name, _ in walk(cls)] + [f"{place}.type", f"{place}.preset"]
        return names

    def _unknown(self, name: str, source: str = "option") -> None:
        where = f"rl {self.spec.name}" if source == "option" else source
        place = name.rpartition(".")[0]
        while place:
            found = self._field(place)
            if found is not None and found.choice is not None and place not in self.picked:
                kinds = nearest("", self.chooser.names(found.choice.kind))
                what = f"--{name} is given, but no {found.choice.kind} is chosen"
                raise InputError(what, where=where, todo=f"add --{place} NAME; {kinds}")
            if found is not None and found.choice is not None:
                self.chooser.canonical(found.choice.kind, self.picked[place])  # a mistyped plugin is the cause
            place = place.rpartition(".")[0]
        shown = [f"--{known}" for known in self._known()]
        raise InputError(f"there is no option '--{name}'", where=where, todo=nearest(f"--{name}", shown))

    def _field(self, name: str) -> Field | None:
        """The field that a dotted name means, through nested trees, chosen plugins and keyed maps."""
        if name in ("config", "config_path"):
            return _untyped(name)
        if name in self.spec.values and "." not in name:
            return self._field(self.spec.values[name])
        current: Any = self.spec.tree
        here, rest = "", name.split(".")
        item: Field | None = None
        while rest:
            if not isinstance(current, type):
                return None
            head = rest.pop(0)
            here = f"{here}.{head}" if here else head
            item = fields_of(current).get(head) if hasattr(current, "__dataclass_fields__") else None
            if item is None:
                chosen = here.rpartition(".")[0] in self.picked
                return _untyped(head) if chosen and not rest and head in ("type", "preset", "path") else None
            item, here, rest = self._through_map(item, here, rest)
            if not rest:
                return item
            current = self._below(item, here)
            if current is None and rest in (["type"], ["path"]) and item.choice is not None:
                return _untyped(rest[0])
        return item

    def _through_map(self, item: Field, here: str, rest: list[str]) -> tuple[Field, str, list[str]]:
        element = mapping_value(item.type)
        while element is not None and rest:
            key = rest[0]
            inner, documented, choice = split(element)
            if _is_plain_map(item):
                rest = [".".join(rest)]  # whatever is left is the key
            item = Field(key, inner, documented, choice, None)
            here, rest = f"{here}.{key}", rest[1:]
            element = mapping_value(item.type)
        return item, here, rest

    def _below(self, item: Field, here: str) -> Any:
        if item.choice is not None:
            if here not in self.picked:
                return None
            return self.chooser.config_class(item.choice.kind, self.picked[here])
        return unwrap_optional(item.type) if is_tree(item.type) else None

    # --- the tree

    def _assemble(self, given: Sequence[Given]) -> Resolved:
        tree: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for place in sorted(self.picked, key=lambda p: p.count(".")):
            self._base(place, given, tree, sources)
        for one in given:
            self._put(tree, one, sources)
        missing = [name for name in self.spec.required if name not in {g.name for g in given}]
        if missing:
            todo = f"see rl {self.spec.name} --help"
            raise InputError(f"{missing[0].upper()} is missing", where=f"rl {self.spec.name}", todo=todo)
        config = build(self.spec.tree, tree, "", self.chooser)
        return Resolved(config, sources, tuple(dict.fromkeys(self.notes)))

    def _base(self, place: str, given: Sequence[Given], tree: dict[str, Any], sources: dict[str, str]) -> None:
        """What lies below a chosen plugin's options: the artefact it starts from, then its preset."""
        found = self._field(place)
        assert found is not None
        assert found.choice is not None
        latest = {g.name: g.value for g in given}
        path, preset = latest.get(f"{place}.path"), latest.get(f"{place}.preset")
        layers: list[tuple[str, Mapping[str, Any]]] = []
        if path is not None and self.spec.base is not None:
            name, below = self.spec.base(found.choice.kind, str(path))
            layers.append((str(path), {"type": name, **below}))
        if preset is not None:
            cls = self.chooser.config_class(found.choice.kind, self.picked[place])
            presets = getattr(cls, "PRESETS", {})
            if preset not in presets:
                raise InputError(f"there is no preset '{preset}'", where=place, todo=nearest(str(preset), presets))
            layers.append((f"preset {preset}", presets[preset]))
        for source, values in layers:
            for name, value in flatten(values).items():
                self._put(tree, Given(f"{place}.{name}", value, source), sources)

    def _put(self, tree: dict[str, Any], one: Given, sources: dict[str, str]) -> None:
        found = self._field(one.name)
        head, _, last = one.name.rpartition(".")
        if last == "preset" and head in self.picked:
            return
        name, value = self._seal(one.name), one.value
        if found is not None and found.choice is not None and not isinstance(value, Mapping):
            if value is None:
                self._set(tree, name, None)
                sources[name] = one.source
                return
            name = f"{name}.type"
        if found is not None and isinstance(value, str) and (mapping_value(found.type) is not None):
            for key, inner in self._entries({name: self._map(value, name)}, ""):
                self._put(tree, Given(key, inner, one.source), sources)
            return
        if name.endswith(".type"):
            self._switch(tree, name.removesuffix(".type"), str(value), sources)
        self._set(tree, name, value)
        sources[name.replace(SEAL, ".")] = one.source

    def _seal(self, name: str) -> str:
        """A key of a plain map that was given with dots, as one key."""
        parts = name.split(".")
        for end in range(1, len(parts) - 1):
            place = ".".join(parts[:end])
            found = self._field(place)
            if found is not None and _is_plain_map(found):
                return f"{place}.{SEAL.join(parts[end:])}"
        return name

    def _map(self, text: str, name: str) -> Mapping[str, Any]:
        import yaml

        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not isinstance(value, dict):
            raise InputError(f"'{text}' is not a map", where=name, todo="write '{a: 1}' or --" + name + ".KEY VALUE")
        return value

    def _switch(self, tree: dict[str, Any], place: str, plugin: str, sources: dict[str, str]) -> None:
        """Another plugin than a file chose: the file's options for its own plugin do not apply."""
        level: Any = tree
        for key in place.split("."):
            level = level.get(key, {}) if isinstance(level, dict) else {}
        found = self._field(place)
        if not isinstance(level, dict) or "type" not in level or found is None or found.choice is None:
            return
        kind = found.choice.kind
        if self.chooser.canonical(kind, str(level["type"])) != self.chooser.canonical(kind, plugin):
            level.clear()
            for name in [n for n in sources if n.startswith(f"{place}.")]:
                del sources[name]

    def _set(self, tree: dict[str, Any], name: str, value: Any) -> None:
        *path, last = (key.replace(SEAL, ".") for key in name.split("."))
        level, here = tree, ""
        for key in path:
            here = f"{here}.{key}" if here else key
            if level.get(key) is None:
                level[key] = self._map_default(here)
            level = level[key]
            if not isinstance(level, dict):
                raise InputError(f"--{name} is given beside --{here}")
        level[last] = value

    def _map_default(self, name: str) -> dict[str, Any]:
        """One key of a keyed map was given: the others keep their defaults."""
        found = self._field(name)
        if found is None or mapping_value(found.type) is None or not isinstance(found.default, Mapping):
            return {}
        return dict(plain(found.default))


def _untyped(name: str) -> Field:
    """An option that belongs to no dataclass: --config, and a choice's type, preset and path."""
    return Field(name, str, Doc(""), None, None)


SEAL = "\x1f"  # stands for a dot inside a key while names are dotted


def _sealed(key: str) -> str:
    return key.replace(".", SEAL)


def _is_plain_map(item: Field) -> bool:
    """A map to values, not to plugins or groups: its keys may hold dots (names of features)."""
    element = mapping_value(item.type)
    if element is None:
        return False
    inner, _, choice = split(element)
    return choice is None and not is_tree(inner) and mapping_value(inner) is None


def _normal(name: str) -> str:
    return name.replace("-", "_")


def tree_of(resolved: Resolved) -> dict[str, Any]:
    """The plain mapping of the resolved tree, as it is written into a run's folder."""
    found: dict[str, Any] = plain(resolved.config)
    return found


__all__ = ["Alias", "Choice", "CommandSpec", "Given", "Note", "Resolved", "resolve", "tree_of", "wants_help"]
