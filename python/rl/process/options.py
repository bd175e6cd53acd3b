"""Options of the built-in steps, field by field those of LeRobot's processor files. Cheap to import."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from rl.api.errors import InputError
from rl.config.docs import doc


@dataclass(frozen=True, kw_only=True)
class NormaliseOptions:
    """Scaling by statistics, and the way back."""

    eps: Annotated[float, doc("added to deviations; stands for a range of zero", ge=0)] = 1e-8
    features: Annotated[dict[str, Any], doc("name -> type and shape of what is scaled")]
    norm_map: Annotated[dict[str, str], doc("feature type -> mode: VISUAL MEAN_STD")]
    normalize_observation_keys: Annotated[tuple[str, ...] | None, doc("only these observations; null: all of them")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class RenameOptions:
    """Names of the data set or robot to names of the policy."""

    rename_map: Annotated[dict[str, str], doc("given name -> the policy's name")] = field(default_factory=dict)

    def __post_init__(self) -> None:
        targets = list(self.rename_map.values())
        twice = sorted({name for name in targets if targets.count(name) > 1})
        if twice:
            raise InputError(f"two features are renamed to '{twice[0]}'", where="rename_map")


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Adding the batch axis: it has none."""


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where tensors are computed."""

    device: Annotated[str, doc("device that wrote the file; the running command decides anew")] = "cpu"
    float_dtype: Annotated[str | None, doc("type that floating tensors are cast to; null keeps theirs")] = None

    def __post_init__(self) -> None:
        if self.float_dtype not in (None, "float32"):
            raise InputError(
                f"float_dtype {self.float_dtype} is not supported",
                where="device_processor",
                todo="use null or float32; precision is an option of training and export",
            )
