"""The mark on a plugin's hook implementations: `@hookimpl`."""

import pluggy

hookimpl = pluggy.HookimplMarker("rl")
