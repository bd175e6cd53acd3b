"""One tree of configuration: dataclasses, the command line, YAML files and the help text are views of it."""

from rl.config.build import build, plain
from rl.config.docs import Doc, doc
from rl.config.nearest import nearest
from rl.config.types import Choice, Selected

__all__ = ["Choice", "Doc", "Selected", "build", "doc", "nearest", "plain"]
