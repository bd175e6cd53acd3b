"""`rl info PATH`: what a checkpoint, a bundle, a run or a data set is. Imports neither torch nor a runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rl.api import Feature, Features, InputError
from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """What `rl info` looks at."""

    path: Annotated[str, doc("checkpoint, bundle, run or data set")] = ""
    json: Annotated[bool, doc("print JSON")] = False


SPEC = CommandSpec(
    name="info",
    tree=InfoConfig,
    summary="Say what a folder is: a checkpoint, a bundle, a run or a data set.",
    positionals=("path",),
    required=("path",),
)


def run(resolved: Resolved) -> int:
    """Print what lies at a path. InputError when it is nothing that is known here."""
    path = Path(resolved.config.path).expanduser()
    facts = describe(path)
    if resolved.config.json:
        print(json.dumps(facts, indent=2, default=str))
    else:
        print("\n".join(_lines(facts)))
    return 0


def describe(path: Path) -> dict[str, Any]:
    """Facts about a folder, JSON-able. Errors: InputError when it is missing or none of the known kinds."""
    if not path.exists():
        raise InputError(f"there is no {path}")
    for what, sign, look in (
        ("bundle", "manifest.json", _bundle),
        ("checkpoint", "config.json", _checkpoint),
        ("checkpoint", "pretrained_model", _checkpoint),
        ("run", "config.yaml", _run),
        ("data set", "meta/info.json", _dataset),
    ):
        if (path / sign).exists():
            return {"kind": what, "path": str(path)} | look(path)
    return {"kind": "data set", "path": str(path)} | _other(path)


def _bundle(path: Path) -> dict[str, Any]:
    from rl.runtime.bundle import Bundle

    bundle = Bundle.open(path)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    return {
        "policy": manifest.get("policy", {}).get("name", manifest.get("policy"))
        if isinstance(manifest.get("policy"), dict)
        else manifest.get("policy"),
        "rate": f"{bundle.fps:g} Hz" if bundle.fps else "unstated",
        "chunk": bundle.chunk,
        "execute": bundle.execute,
        "files": len(manifest.get("files", {})),
        "size": _size(path),
        "parity": manifest.get("parity"),
    }


def _checkpoint(path: Path) -> dict[str, Any]:
    from rl.config import plain
    from rl.nn import checkpoint
    from rl.process.tensor_files import header

    found = checkpoint.describe(checkpoint.find(path))
    for weights in sorted(found.folder.glob("*.safetensors")):
        header(weights)  # a file that was cut short is found here, not on the robot
    about = found.about
    facts: dict[str, Any] = {
        "policy": found.policy,
        "layout": found.layout,
        "inputs": _features(found.inputs),
        "outputs": _features(found.outputs),
    }
    if about is not None:
        facts |= {
            "rate": f"{about.fps:g} Hz" if about.fps else "unstated",
            "units": ", ".join(about.units) or "unstated",
        }
    return facts | {"size": _size(found.folder), "options": plain(found.config)}


def _run(path: Path) -> dict[str, Any]:
    from rl.config.files import read_tree

    tree = read_tree(path / "config.yaml")
    steps = sorted(int(p.name) for p in (path / "checkpoints").glob("*") if p.name.isdigit())
    facts = {
        "policy": (tree.get("policy") or {}).get("type"),
        "data set": (tree.get("dataset") or {}).get("root") or (tree.get("dataset") or {}).get("repo_id"),
        "steps": tree.get("steps"),
        "checkpoints": ", ".join(map(str, steps)) or "none",
    }
    metrics = path / "metrics.jsonl"
    if metrics.is_file():
        last = [json.loads(line) for line in metrics.read_text().splitlines()[-50:] if line.strip()]
        train = [row for row in last if row.get("group") == "train"]
        if train:
            facts |= {"last step": train[-1]["step"], "last loss": train[-1].get("loss")}
    if (path / "open_loop.json").is_file():
        facts["open-loop error"] = json.loads((path / "open_loop.json").read_text()).get("overall")
    return facts


def _dataset(path: Path) -> dict[str, Any]:
    from rl.data import open_dataset

    info = open_dataset(path).info
    frames = sum(e.length for e in info.episodes)
    return {
        "robot": info.robot or "unstated",
        "episodes": len(info.episodes),
        "frames": frames,
        "rate": f"{info.fps:g} Hz",
        "length": f"{frames / info.fps:.1f} s",
        "tasks": list(info.tasks.values()),
        "features": _features(info.features),
        "refused": {e.index: e.refused for e in info.episodes if e.refused},
        "notes": list(info.notes),
    }


def _other(path: Path) -> dict[str, Any]:
    try:
        return _dataset(path)
    except InputError as error:
        raise InputError(f"{path} is no checkpoint, bundle or run, and {error}") from None


def _features(features: Features) -> dict[str, str]:
    return {name: _told(feature) for name, feature in features.items()}


def _told(feature: Feature) -> str:
    shape = "x".join(map(str, feature.shape)) or "1"
    units = "" if feature.kind == "image" or set(feature.units) == {"none"} else f" in {_joined(feature.units)}"
    names = f" ({', '.join(feature.names)})" if feature.names else ""
    return f"{feature.kind} {shape} {feature.dtype}{units}{names}"


def _joined(units: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(units))


def _size(folder: Path) -> str:
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return f"{size / 1e6:.1f} MB"


def _lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in facts.items():
        if value in (None, {}, [], ""):
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list) and not all(isinstance(v, (int, float)) for v in value):
            yield f"{indent}{name}:"
            yield from (f"{indent}  {item}" for item in value)
        else:
            yield f"{indent}{name + ':':<{max(1, 18 - len(indent))}} {value}"
