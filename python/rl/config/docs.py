"""Field documentation: the sentence, unit and bounds that help, checks and completion are made from."""

import operator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Doc:
    """What `Annotated[int, doc(...)]` carries. Bounds hold for the value, or for each element of a list."""

    text: str
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    hidden: bool = False  # read and written, but not shown in help

    def misfit(self, value: Any) -> str:
        """Why `value` is out of bounds, or ''."""
        bounds = (
            (self.ge, "at least", operator.ge),
            (self.gt, "more than", operator.gt),
            (self.le, "at most", operator.le),
            (self.lt, "less than", operator.lt),
        )
        values = value if isinstance(value, (tuple, list)) else (value,)
        for one in values:
            if isinstance(one, bool) or not isinstance(one, (int, float)):
                continue
            for bound, word, holds in bounds:
                if bound is not None and not holds(one, bound):
                    return f"{one} is not {word} {bound:g}"
        return ""

    def bounds(self) -> str:
        """'>= 1, < 5' for help."""
        pairs = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return ", ".join(f"{sign} {bound:g}" for sign, bound in pairs if bound is not None)


def doc(
    text: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    hidden: bool = False,
) -> Doc:
    """The documentation of one option: `chunk_size: Annotated[int, doc("actions predicted at once", ge=1)] = 100`."""
    return Doc(text, unit, ge, gt, le, lt, hidden)
