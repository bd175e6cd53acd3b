"""LeRobot 0.3.3: the statistics are tensors of the weights, there are no processor files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.api import Features, InputError
from rl.process.modes import MODES
from rl.process.names import Device
from rl.process.normalise import OldNormalise, Unnormalise
from rl.process.options import DeviceOptions
from rl.process.pipeline import Processing, images_of, opening_steps
from rl.process.tensor_files import header


class OldUnnormalise(OldNormalise, Unnormalise):
    """The way back by the old rule."""


def old_processing(weights: Path, modes: Mapping[str, str], inputs: Features, outputs: Features) -> Processing:
    """The steps that an old checkpoint has inside its weights.

    modes: kind -> mode, of its config.json. Tensor names are made from the features (dots become underscores), never
    features from tensor names. Errors: InputError naming a tensor that is missing.
    """
    header(weights)  # checked before the file is mapped
    before = _statistics(weights, "normalize_inputs", modes, inputs) | _statistics(
        weights, "normalize_targets", modes, outputs
    )
    after = _statistics(weights, "unnormalize_outputs", modes, outputs)
    return Processing(
        pre=(*opening_steps({}), images_of(inputs), OldNormalise(modes, {**inputs, **outputs}, before)),
        post=(OldUnnormalise(modes, outputs, after), Device(DeviceOptions())),
    )


def _statistics(weights: Path, group: str, modes: Mapping[str, str], features: Features) -> dict[str, dict[str, Any]]:
    from safetensors import safe_open

    found: dict[str, dict[str, Any]] = {}
    with safe_open(weights, framework="numpy") as file:
        names = set(file.keys())
        for feature in features.values():
            for statistic in MODES[modes.get(feature.kind, "identity")]:
                tensor = f"{group}.buffer_{feature.name.replace('.', '_')}.{statistic}"
                if tensor not in names:
                    raise InputError(f"has no tensor {tensor}", where=str(weights))
                found.setdefault(feature.name, {})[statistic] = file.get_tensor(tensor)
    return found
