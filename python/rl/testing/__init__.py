"""The conformance kit: what a plugin's author runs, and what the built-in plugins are tested with.

One module a kind. In a plugin's own test: `from rl.testing.policy import check_policy`.
Importing this package imports nothing heavy; torch and numpy come with the rules that use them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.testing.conformance import Outcome


def check_installed(kind: str, name: str, options: dict[str, Any]) -> Iterator[Outcome]:
    """Applies the kit of a kind to an installed plugin, with the features and samples that the kit itself can make.

    options: the plugin's own. Errors: InputError when there is no such plugin, MissingPart when a need is not met.
    """
    from rl.registry import registry
    from rl.testing.conformance import outcomes

    registry().require(kind, name)  # what is missing is said once, not as a broken rule
    kit = importlib.import_module(f"rl.testing.{kind}")
    yield from outcomes(kit.subject(name, options), kit.RULES)


__all__ = ["check_installed"]
