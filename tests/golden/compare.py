"""Got against wanted, tensor by tensor, by the tolerances of a golden folder."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class NotKnown(Exception):
    """A kind, policy or part that cannot be checked here (exit code 3)."""


class NotReadable(Exception):
    """Not a golden folder (exit code 2)."""


@dataclass
class Row:
    """How one tensor came out."""

    name: str
    hit: bool
    absolute: float = 0.0  # largest |got - want|
    relative: float = 0.0  # largest |got - want| / |want| where want is not zero
    share: float = 0.0  # largest error as a share of its tolerance
    note: str = ""


@dataclass
class Comparison:
    """The outputs of one folder and what has been compared of them. What is never compared is a miss."""

    golden: Mapping[str, Any]
    wanted: Mapping[str, np.ndarray]
    rows: dict[str, Row] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        return name in self.wanted

    def tensor(self, name: str, got: Any, *, atol: Any = 0.0) -> None:
        """Compare one output, when the folder has it. atol: an array or number that the tolerance is at least."""
        if name in self.wanted:
            self.rows[name] = self._row(name, np.asarray(got), self.wanted[name], atol)

    def tensors(self, got: Mapping[str, Any]) -> None:
        for name, value in got.items():
            self.tensor(name, value)

    def tolerance(self, name: str) -> tuple[float, float]:
        """(rtol, atol): the exact name beats a prefix that ends in '/', a longer prefix a shorter one."""
        given = self.golden.get("tolerances", {})
        prefixes = [key for key in given if key.endswith("/") and name.startswith(key)]
        chosen = given.get(name) or (given[max(prefixes, key=len)] if prefixes else self.golden["tolerance"])
        return float(chosen["rtol"]), float(chosen["atol"])

    def finished(self) -> list[Row]:
        """Every row, in the order of the file; tensors that nobody computed are misses."""
        left = (name for name in self.wanted if name not in self.rows)
        unread = (Row(name, False, note="not compared: nothing computes it") for name in left)
        order = {name: i for i, name in enumerate(self.wanted)}
        return sorted((*self.rows.values(), *unread), key=lambda row: order.get(row.name, -1))

    def _row(self, name: str, got: np.ndarray, want: np.ndarray, least: Any) -> Row:
        if got.shape != want.shape:
            return Row(name, False, note=f"shape {got.shape}, wanted {want.shape}")
        if want.dtype.kind in "biu":
            wrong = int((got != want).sum())
            return Row(name, got.dtype.kind in "biu" and wrong == 0, wrong, note=f"{wrong} differ" if wrong else "")
        rtol, atol = self.tolerance(name)
        got, want = got.astype(np.float64), want.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.where(got == want, 0.0, np.abs(got - want))  # equal infinities differ by nothing
            bound = np.maximum(atol, least) + rtol * np.abs(want)
            inside = error <= bound  # a comparison with NaN is false: a miss
            relative = np.where(want != 0, error / np.abs(want), 0.0)
            share = np.where(bound > 0, error / bound, np.where(error > 0, np.inf, 0.0))
        if not want.size:
            return Row(name, True)
        note = "" if np.isfinite(got).all() or not np.isfinite(want).all() else "not finite"
        return Row(name, bool(inside.all()), *(float(a.max()) for a in (error, relative, share)), note)


def core() -> Any:
    """The compiled core. Raises NotKnown when it is not built."""
    if importlib.util.find_spec("rl._core") is None:
        raise NotKnown("rl._core is not built, and this needs it: `pip install -e .` builds it")
    from rl import _core

    return _core
