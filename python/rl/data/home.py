"""Where data sets live: a folder that is given, or a name below LeRobot's home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rl.api.errors import InputError


def lerobot_home(environ: Mapping[str, str] = os.environ) -> Path:
    """LeRobot's folder for data sets and calibrations: HF_LEROBOT_HOME, else below HF_HOME, else below the cache."""
    if given := environ.get("HF_LEROBOT_HOME"):
        return Path(given).expanduser()
    cache = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(cache).expanduser() / "lerobot"


def dataset_root(root: str | None, repo_id: str | None) -> Path:
    """The folder that the options `--dataset.root` and `--dataset.repo_id` mean; it need not exist.

    Errors: InputError when neither is given, or the name could lead out of the home.
    """
    if root is not None:
        return Path(root).expanduser()
    if repo_id is None:
        raise InputError("no data set is given", todo="add --dataset FOLDER")
    if Path(repo_id).is_absolute() or ".." in Path(repo_id).parts:
        raise InputError(f"'{repo_id}' is no name of a data set", where="dataset.repo_id", todo="use --dataset FOLDER")
    return lerobot_home() / repo_id
