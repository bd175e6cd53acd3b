"""What policies are built from: the module they extend, their draws, shared blocks, and checkpoint files.

Importing this package does not import torch; taking `PolicyModule` from it does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.nn.module import PolicyModule

__all__ = ["PolicyModule"]


def __getattr__(name: str) -> Any:
    if name == "PolicyModule":
        from rl.nn.module import PolicyModule

        return PolicyModule
    raise AttributeError(f"module 'rl.nn' has no attribute '{name}'")
