"""Pictures as they are stored to pictures as a network takes them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from rl.api import Features, InputError

Size = tuple[int, int]  # height, width


class Images:
    """uint8 (B, T, H, W, 3) to float32 (B, T, 3, h, w) in 0..1, every image feature of a sample.

    features: the images. sizes: name -> (h, w) of the network; a name without a size keeps the picture's own.
    Resizing is bilinear with the triangle filter widened when shrinking, so that no pixel is skipped. It is two matrix
    products: the same numbers in NumPy, torch and an exported graph.
    Errors: InputError when a picture is not uint8 HWC.
    """

    name = "images"
    where: Literal["host", "graph"] = "graph"

    def __init__(self, features: Features, sizes: Mapping[str, Size | None]) -> None:
        self.known = {name: feature for name, feature in features.items() if feature.kind == "image"}
        self.sizes = {name: sizes.get(name) for name in self.known}

    def features(self, given: Features) -> Features:
        out = dict(given)
        for name, size in self.sizes.items():
            if name in out and size is not None:
                out[name] = replace(out[name], shape=(*size, out[name].shape[-1]))
        return out

    def apply(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(sample)
        for name, size in self.sizes.items():
            if out.get(name) is not None:
                out[name] = self._convert(name, out[name], size)
        return out

    def invert(self, sample: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Actions hold no pictures: nothing to undo."""
        return dict(sample)

    def state(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        if state:
            raise InputError(f"has no state, the file holds {', '.join(sorted(state))}", where=self.name)

    def _convert(self, name: str, pictures: Any, size: Size | None) -> Any:
        xp = array_namespace(pictures)
        channels = self.known[name].shape[-1]
        if pictures.dtype != xp.uint8 or pictures.ndim != 5 or pictures.shape[-1] != channels:
            raise InputError(
                f"'{name}' is {pictures.dtype} {tuple(pictures.shape)}, "
                f"not uint8 (batch, time, height, width, {channels})",
                where="images",
            )
        values = xp.astype(xp.permute_dims(pictures, (0, 1, 4, 2, 3)), xp.float32) / 255
        return values if size is None else resize(values, size)


def resize(values: Any, size: Size) -> Any:
    """float (..., H, W) to (..., h, w): bilinear, antialiased. The input itself when the size is already right."""
    xp, (height, width) = array_namespace(values), tuple(values.shape[-2:])
    if (height, width) == tuple(size):
        return values
    rows, columns = (
        xp.asarray(weights(int(a), int(b)), dtype=values.dtype, device=device(values))
        for a, b in ((height, size[0]), (width, size[1]))
    )
    return rows @ values @ xp.permute_dims(columns, (1, 0))


@lru_cache(maxsize=32)
def weights(given: int, wanted: int) -> NDArray[np.float32]:
    """(wanted, given) rows that sum to 1: a triangle of the wider of the two pixel pitches at each wanted centre."""
    scale = given / wanted
    centre = (np.arange(wanted) + 0.5) * scale
    distance = np.abs(np.arange(given) + 0.5 - centre[:, None])  # (wanted, given)
    triangle = np.maximum(0.0, 1.0 - distance / max(scale, 1.0))
    rows: NDArray[np.float32] = (triangle / triangle.sum(-1, keepdims=True)).astype(np.float32)
    return rows
