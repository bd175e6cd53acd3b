"""The nearest known name to a mistyped one."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean 'act'?', or the known names when they are few, or ''."""
    import difflib

    names = sorted(set(known))
    bare = {known.lstrip("-"): known for known in names}  # dashes are no likeness
    close = difflib.get_close_matches(name.lstrip("-"), bare, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{bare[close[0]]}'?"
    if 0 < len(names) <= 8:
        return f"known: {', '.join(names)}"
    return ""
