"""Where random numbers come from: a generator, a recording, or the inputs of an exported graph."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from rl.api import InputError
from rl.api.protocols import Draw

Law = Literal["normal", "uniform", "integers"]


class GeneratorDraws:
    """Fresh numbers from a torch generator, moved to `device`. A CPU generator gives every device the same numbers.

    generator: None is torch's own. device: None is the generator's.
    """

    def __init__(self, generator: torch.Generator | None = None, device: torch.device | str | None = None) -> None:
        self.generator = generator
        self.source = generator.device if generator is not None else torch.device("cpu")
        self.device = torch.device(device) if device is not None else self.source

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Standard normal float32 of `shape`."""
        return torch.randn(tuple(shape), generator=self.generator, device=self.source).to(self.device)

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        """float32 in [0, 1) of `shape`."""
        return torch.rand(tuple(shape), generator=self.generator, device=self.source).to(self.device)

    def integers(self, name: str, shape: Sequence[int], high: int) -> Tensor:
        """int64 in 0..high-1 of `shape`."""
        return torch.randint(high, tuple(shape), generator=self.generator, device=self.source).to(self.device)


class RecordedDraws:
    """Given numbers by name. A tensor with one axis more than asked for holds successive calls along axis 0.

    Errors: InputError when a name is missing, a shape differs, or there are more calls than numbers.
    """

    def __init__(self, recorded: Mapping[str, Tensor]) -> None:
        self.recorded = dict(recorded)
        self.calls: dict[str, int] = {}

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        return self._next(name, tuple(shape))

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        return self._next(name, tuple(shape))

    def integers(self, name: str, shape: Sequence[int], high: int) -> Tensor:
        return self._next(name, tuple(shape))

    def _next(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in self.recorded:
            known = ", ".join(sorted(self.recorded)) or "none"
            raise InputError(f"there is no recorded draw '{name}'", where="draws", todo=f"recorded: {known}")
        tensor, call = self.recorded[name], self.calls.get(name, 0)
        self.calls[name] = call + 1
        if tuple(tensor.shape) == shape and call == 0:
            return tensor
        if tuple(tensor.shape[1:]) == shape and call < len(tensor):
            return tensor[call]
        raise InputError(
            f"call {call} of draw '{name}' wants shape {shape}, recorded is {tuple(tensor.shape)}", where="draws"
        )


class NotingDraws(GeneratorDraws):
    """Fresh numbers, and a note of every draw asked for: what an exported graph needs as inputs."""

    def __init__(self, generator: torch.Generator | None = None, device: torch.device | str | None = None) -> None:
        super().__init__(generator, device)
        self.asked: dict[str, list[Tensor]] = {}
        self.laws: dict[str, tuple[Law, int]] = {}

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        return self._note(name, "normal", 0, super().normal(name, shape))

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        return self._note(name, "uniform", 0, super().uniform(name, shape))

    def integers(self, name: str, shape: Sequence[int], high: int) -> Tensor:
        return self._note(name, "integers", high, super().integers(name, shape, high))

    def values(self) -> dict[str, Tensor]:
        """One tensor a name; several calls of a name are stacked along a new axis 0."""
        return {name: calls[0] if len(calls) == 1 else torch.stack(calls) for name, calls in self.asked.items()}

    def described(self) -> tuple[Draw, ...]:
        """What a runtime must fill in before every inference."""
        return tuple(Draw(name, tuple(v.shape), *self.laws[name]) for name, v in self.values().items())

    def _note(self, name: str, law: Law, high: int, drawn: Tensor) -> Tensor:
        if self.laws.setdefault(name, (law, high)) != (law, high):
            raise ValueError(f"draw '{name}' is asked for under two laws")
        calls = self.asked.setdefault(name, [])
        if calls and calls[0].shape != drawn.shape:
            raise ValueError(f"draw '{name}' is asked for in two shapes; give each its own name")
        calls.append(drawn)
        return drawn


class InputDraws(RecordedDraws):
    """The inputs of a graph as draws, by name, stacked as `NotingDraws.values` gives them."""
