"""From a path or an id to a reader."""

import subprocess
import sys

import pytest

from rl.api import InputError
from rl.data import locate, open_dataset


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no data set at .*gone"):
        open_dataset(tmp_path / "gone")


def test_what_is_no_data_set_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match=r"known format; looked for: .*lerobot \(.*meta/info.json"):
            open_dataset(path)


def test_an_unknown_format_has_a_nearest_match(shared):
    with pytest.raises(InputError, match="lerobot"):
        open_dataset(shared / "data" / "so101-wrist-v30", "lerobt")


def test_every_v30_set_opens_by_itself(shared):
    rows = {"so101-wrist-v30": 1153, "so101-longgop-v30": 1153, "bimanual-hands-v30": 1273, "piper-novideo-v30": 13331}
    for name, count in rows.items():
        info = open_dataset(shared / "data" / name).info
        assert sum(e.length for e in info.episodes) == count
        assert not any(e.refused for e in info.episodes)
        assert {"state", "action", "image"} <= {f.kind for f in info.features.values()}


def test_options_reach_the_format(shared):
    path = shared / "data" / "so101-wrist-v30"
    assert open_dataset(path, options={"decoders": 3}).config.decoders == 3
    with pytest.raises(InputError, match="decoder"):
        open_dataset(path, options={"decodrs": 3})


def test_an_id_is_looked_up_in_the_local_cache_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path))
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("org/name").resolve() == tmp_path / "org" / "name"
    with pytest.raises(InputError, match="org/other"):
        locate("org/other")


def test_importing_the_package_and_the_plugin_costs_nothing_heavy():
    heavy = "numpy torch av pyarrow cv2"
    code = (
        "import sys, rl.data, rl.plugins.lerobot_format, rl.plugins.lerobot_format.config; "
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
