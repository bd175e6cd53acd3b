"""A checkpoint in this process."""

from __future__ import annotations

import pytest

from rl.api import InputError
from rl.plugins.eager.config import EagerRuntimeConfig
from rl.plugins.eager.runtime import EagerRuntime
from rl.runtime.actor import open_actor


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no checkpoint"):
        open_actor(tmp_path / "empty")


def test_a_device_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="there is no device 'abacus'"):
        EagerRuntime(EagerRuntimeConfig(device="abacus"), tmp_path)
