"""Where a data set that is given by folder or by name lies."""

from pathlib import Path

import pytest

from rl.api import InputError
from rl.data.home import dataset_root, lerobot_home


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"HF_LEROBOT_HOME": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/lerobot"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/lerobot"),
        ({}, "~/.cache/huggingface/lerobot"),
    ],
)
def test_the_home_is_lerobots(environ, home):
    assert lerobot_home(environ) == Path(home).expanduser()


def test_a_folder_goes_before_a_name(monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_HOME", "/sets")
    assert dataset_root("here", "org/name") == Path("here")
    assert dataset_root(None, "org/name") == Path("/sets/org/name")


@pytest.mark.parametrize("repo_id", [None, "/etc", "../elsewhere", "org/../../x"])
def test_no_name_leads_out_of_the_home(repo_id):
    with pytest.raises(InputError, match="data set"):
        dataset_root(None, repo_id)
