"""How words become a tree: LeRobot's spellings, and what its parser refuses or misreads.

The table of `facts/lerobot.md` A2.1, line by line.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from rl.api import InputError
from rl.config import Choice, Selected, doc
from rl.config.command_line import CommandSpec, Note, resolve, tree_of, wants_help
from rl.config.help import help_text, option_names


@dataclass(frozen=True, kw_only=True)
class Act:
    chunk_size: Annotated[int, doc("actions predicted at once", ge=1)] = 100
    n_action_steps: Annotated[int, doc("actions used of each chunk", ge=1)] = 100
    norm: Annotated[dict[str, str], doc("kind -> mode")] = field(
        default_factory=lambda: {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    )
    repo_id: Annotated[str | None, doc("name on the hub")] = None

    PRESETS: ClassVar = {"debug": {"chunk_size": 4, "n_action_steps": 4}}

    def __post_init__(self) -> None:
        if self.n_action_steps > self.chunk_size:
            what = f"n_action_steps {self.n_action_steps} is more than chunk_size {self.chunk_size}"
            raise InputError(what, where="policy", todo="use --policy.n_action_steps")


@dataclass(frozen=True, kw_only=True)
class Opencv:
    index_or_path: Annotated[int | str, doc("device")] = 0
    width: Annotated[int, doc("pixels", ge=1)] = 640
    height: Annotated[int, doc("pixels", ge=1)] = 480
    fps: Annotated[float, doc("rate", gt=0)] = 30.0


@dataclass(frozen=True, kw_only=True)
class Arm:
    port: Annotated[str, doc("port")] = "sim"
    cameras: Annotated[dict[str, Annotated[Selected, Choice("camera")]], doc("role -> camera")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    root: Annotated[str | None, doc("folder")] = None
    repo_id: Annotated[str | None, doc("hub name")] = None
    episodes: Annotated[tuple[int, ...] | None, doc("only these")] = None
    image_size: Annotated[tuple[int, int] | None, doc("height,width", ge=8)] = None
    use_imagenet_stats: Annotated[bool, doc("ImageNet's statistics")] = True


@dataclass(frozen=True, kw_only=True)
class Tree:
    policy: Annotated[Selected | None, Choice("policy"), doc("the policy")] = None
    robot: Annotated[Selected | None, Choice("robot"), doc("the robot")] = None
    dataset: Dataset = field(default_factory=Dataset)
    batch_size: Annotated[int, doc("samples a step", ge=1)] = 8
    steps: Annotated[int, doc("steps", ge=1)] = 100_000
    lr: Annotated[float | None, doc("rate", gt=0)] = None
    job_name: Annotated[str | None, doc("name")] = None
    resume: Annotated[bool | str, doc("continue")] = False
    overwrite: Annotated[bool, doc("replace")] = False
    units: Annotated[Literal["degrees", "range_m100_100"] | None, doc("unit")] = None
    rename_map: Annotated[dict[str, str], doc("names")] = field(default_factory=dict)
    out: Annotated[Path | None, doc("folder")] = None
    secret: Annotated[str, doc("not shown", hidden=True)] = ""


class Plugins:
    """What the tree asks a registry for."""

    known: ClassVar = {
        "policy": {"act": Act, "other": Dataset},
        "camera": {"opencv": Opencv},
        "robot": {"so101": Arm},
    }

    def names(self, kind):
        return sorted(self.known[kind])

    def canonical(self, kind, name):
        name = {"so101_follower": "so101"}.get(name, name)
        if name not in self.known[kind]:
            raise InputError(f"there is no {kind} '{name}'", todo="did you mean 'act'?")
        return name

    def config_class(self, kind, name):
        return self.known[kind][self.canonical(kind, name)]


SPEC = CommandSpec(
    "train",
    Tree,
    "Trains.",
    positionals=("source",),
    short={"-o": "out"},
    aliases={
        "source": "dataset.root",
        "output_dir": "out",
        "push_to_hub": Note("nothing leaves the machine"),
        "gpu": lambda value: ({"batch_size": 16 if value == "big" else 4}, ["the batch follows"]),
    },
    values={"dataset": "dataset.root"},
)


def read(*words: str, spec: CommandSpec = SPEC) -> Any:
    return resolve(spec, words, Plugins())


def config(*words: str) -> Tree:
    return read(*words).config


def refused(*words: str) -> str:
    with pytest.raises(InputError) as found:
        read(*words)
    text = str(found.value)
    assert "\n" not in text
    return text


# --- spelling


@pytest.mark.parametrize(
    "words", [("--dataset.root=here",), ("--dataset.root", "here"), ("--dataset", "here"), ("here",)]
)
def test_a_value_follows_with_a_space_or_an_equals_sign(words):
    assert config(*words).dataset.root == "here"


@pytest.mark.parametrize("word", ["--batch-size=4", "--batch_size=4"])
def test_dashes_and_underscores_are_the_same(word):
    assert config(word).batch_size == 4


def test_dashes_are_the_same_inside_groups_and_plugins():
    given = config("--policy", "act", "--policy.chunk-size=200", "--dataset.image-size=96,128")
    assert given.policy.config.chunk_size == 200
    assert given.dataset.image_size == (96, 128)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--step=5", "--steps"),
        ("--bath_size=4", "--batch_size"),
        ("--polcy=act", "--policy"),
        ("--dataset.rot=x", "--dataset.root"),
    ],
)
def test_a_wrong_flag_is_one_line_with_the_nearest_match(word, nearest):
    assert f"did you mean '{nearest}'?" in refused(word)


def test_an_abbreviation_is_not_guessed():
    assert "no option '--batch'" in refused("--batch=4")


def test_dashes_are_no_likeness():
    assert "did you mean" not in refused("--xy=1")


def test_a_wrong_option_of_a_plugin_is_answered_with_its_nearest_option():
    assert "did you mean '--policy.chunk_size'?" in refused("--policy=act", "--policy.chunk_sise=4")


def test_an_option_of_a_plugin_that_was_not_chosen_says_so():
    assert "no policy is chosen" in refused("--policy.chunk_size=4")


# --- booleans


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "yes", "on", "1"])
def test_every_spelling_of_true(text):
    assert config(f"--overwrite={text}").overwrite is True
    assert config("--overwrite", text).overwrite is True


@pytest.mark.parametrize("text", ["false", "False", "no", "off", "0"])
def test_every_spelling_of_false(text):
    assert config(f"--dataset.use_imagenet_stats={text}").dataset.use_imagenet_stats is False


def test_a_bare_flag_is_true_and_no_negates_it():
    assert config("--overwrite").overwrite is True
    assert config("--overwrite", "--steps=5").steps == 5
    assert config("--no-overwrite").overwrite is False
    assert config("--dataset.no-use_imagenet_stats").dataset.use_imagenet_stats is False


def test_a_bare_flag_does_not_swallow_the_word_behind_it():
    given = config("--overwrite", "here")
    assert (given.overwrite, given.dataset.root) == (True, "here")


def test_resume_takes_true_false_and_a_folder_and_may_stand_bare():
    assert config("--resume").resume is True
    assert config("--resume=false").resume is False
    assert config("--resume=true").resume is True
    assert config("--resume", "runs/x").resume == "runs/x"


def test_a_wrong_truth_value_is_said():
    assert "overwrite" in refused("--overwrite=maybe")


# --- none, numbers


@pytest.mark.parametrize("text", ["null", "none", "None", "NONE", "~"])
def test_every_spelling_of_none_for_optional_fields(text):
    given = config(
        "--policy=act", f"--policy.repo_id={text}", f"--lr={text}", f"--job_name={text}", f"--dataset.episodes={text}"
    )
    assert (given.policy.config.repo_id, given.lr, given.job_name, given.dataset.episodes) == (None,) * 4


def test_none_for_a_field_that_cannot_be_none_is_refused():
    assert "steps" in refused("--steps=null")


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("10_000", 10_000), ("1e5", 100_000), ("2.0", 2)])
def test_integers_in_every_spelling(text, number):
    assert config(f"--steps={text}").steps == number


@pytest.mark.parametrize("text", ["ten", "1.5", "1e-3", "true", "nan", "inf", "[1,2]", ""])
def test_what_is_no_integer_is_refused_with_the_option_and_the_value(text):
    told = refused(f"--steps={text}")
    assert told.startswith("steps: ")


def test_bounds_are_told_with_the_option():
    assert refused("--batch_size=0") == "batch_size: 0 is not at least 1"
    assert "lr" in refused("--lr=-1")
    assert "lr" in refused("--lr=nan")


def test_floats_take_exponents_and_integers():
    assert config("--lr=1e-5").lr == 1e-5
    assert config("--lr=1").lr == 1.0


def test_a_negative_number_is_a_value_and_no_option():
    assert "lr: -0.5 is not more than 0" in refused("--lr", "-0.5")


# --- lists, maps, enumerations


@pytest.mark.parametrize("text", ["[0,1]", "0,1", "[0, 1]", "(0,1)", "0, 1"])
def test_lists_with_and_without_brackets(text):
    assert config(f"--dataset.episodes={text}").dataset.episodes == (0, 1)


def test_a_single_value_is_a_list_of_one():
    assert config("--dataset.episodes=3").dataset.episodes == (3,)


def test_a_list_of_fixed_length_says_how_many_it_wants():
    assert "2 values" in refused("--dataset.image_size=96")
    assert "2 values" in refused("--dataset.image_size=96,128,3")


def test_bounds_hold_for_each_element():
    assert "image_size" in refused("--dataset.image_size=96,4")


@pytest.mark.parametrize("text", ['{"STATE": "MIN_MAX"}', "{STATE: MIN_MAX}"])
def test_a_map_is_merged_by_key_into_its_default(text):
    norm = config("--policy=act", f"--policy.norm={text}").policy.config.norm
    assert norm == {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "MEAN_STD"}


def test_one_key_of_a_map_can_be_given_alone():
    norm = config("--policy=act", "--policy.norm.STATE=MIN_MAX").policy.config.norm
    assert norm == {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "MEAN_STD"}
    assert config('--rename_map={"a": "b"}').rename_map == {"a": "b"}


def test_a_key_of_a_map_may_hold_dots(tmp_path):
    wanted = {"observation.images.top": "observation.images.front"}
    (tmp_path / "a.yaml").write_text("rename_map: {observation.images.top: observation.images.front}\n")
    for word in (
        '--rename_map={"observation.images.top": "observation.images.front"}',
        "--rename_map.observation.images.top=observation.images.front",
        f"--config={tmp_path / 'a.yaml'}",
    ):
        found = read(word)
        assert found.config.rename_map == wanted
        assert set(found.sources) == {"rename_map.observation.images.top"}


def test_a_key_of_a_map_in_a_file_keeps_its_dashes(tmp_path):
    (tmp_path / "a.yaml").write_text("rename_map: {my-camera: front}\n")
    assert config(f"--config={tmp_path / 'a.yaml'}").rename_map == {"my-camera": "front"}


def test_what_is_no_map_is_refused():
    assert "rename_map" in refused("--rename_map=[1]")


@pytest.mark.parametrize("text", ["degrees", "DEGREES", "Degrees"])
def test_enumerations_are_case_insensitive(text):
    assert config(f"--units={text}").units == "degrees"


def test_a_wrong_member_is_answered_with_the_nearest():
    assert "did you mean 'degrees'?" in refused("--units=degree")


# --- plugins


@pytest.mark.parametrize(
    "words", [("--policy=act",), ("--policy.type=act",), ("--policy", "act"), ("--policy.type", "act")]
)
def test_a_plugin_is_chosen_by_its_name_or_by_its_type(words):
    chosen = config(*words, "--policy.chunk_size=120").policy
    assert (chosen.name, chosen.config.chunk_size) == ("act", 120)


def test_the_options_of_a_plugin_may_stand_before_its_name():
    assert config("--policy.chunk_size=120", "--policy=act").policy.config.chunk_size == 120


def test_an_alias_of_a_plugin_is_resolved_to_its_own_name():
    assert config("--robot.type=so101_follower").robot.name == "so101"


def test_a_mistyped_plugin_is_told_as_such():
    assert "there is no policy 'actt'" in refused("--policy=actt", "--policy.chunk_size=5")


def test_cameras_as_one_value():
    text = "{ front: {type: opencv, index_or_path: 0, width: 320, height: 240, fps: 15} }"
    camera = config("--robot.type=so101", f"--robot.cameras={text}").robot.config.cameras["front"]
    assert (camera.name, camera.config.width, camera.config.fps) == ("opencv", 320, 15.0)


def test_cameras_key_by_key():
    words = ("--robot.cameras.front.type", "opencv", "--robot.cameras.front.index_or_path", "/dev/video2")
    camera = config("--robot=so101", *words, "--robot.cameras.front.width=320").robot.config.cameras["front"]
    assert (camera.config.index_or_path, camera.config.width, camera.config.height) == ("/dev/video2", 320, 480)


def test_a_wrong_option_of_a_camera_is_answered_with_the_nearest():
    told = refused("--robot=so101", "--robot.cameras.front.type=opencv", "--robot.cameras.front.widht=3")
    assert "robot.cameras.front.widht" in told


def test_fields_that_contradict_each_other_are_both_named():
    told = refused("--policy.type=act", "--policy.chunk_size=10")
    assert "n_action_steps 100 is more than chunk_size 10" in told


def test_a_preset_lies_below_the_options():
    given = config("--policy=act", "--policy.preset=debug", "--policy.n_action_steps=2").policy.config
    assert (given.chunk_size, given.n_action_steps) == (4, 2)
    assert "no preset 'debgu'" in refused("--policy=act", "--policy.preset=debgu")


# --- files, sources, notes


def test_options_win_over_files_and_later_files_over_earlier_ones(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.json"
    first.write_text("steps: 5\nbatch_size: 3\npolicy: {type: act, chunk_size: 120}\n")
    second.write_text('{"batch_size": 7, "dataset": {"root": "there"}}')
    found = read(f"--config={first}", "--config_path", str(second), "--policy.chunk_size=130")
    assert (found.config.steps, found.config.batch_size, found.config.dataset.root) == (5, 7, "there")
    assert found.config.policy.config.chunk_size == 130
    assert found.sources["batch_size"] == "b.json"
    assert found.sources["policy.chunk_size"] == "option"
    assert "lr" not in found.sources


def test_the_resolved_tree_is_itself_a_file_of_options(tmp_path):
    import json

    given = read("--policy=act", "--policy.chunk_size=120", "--dataset.episodes=1,2", "--rename_map={a: b}")
    (tmp_path / "again.json").write_text(json.dumps(tree_of(given)))
    assert read(f"--config={tmp_path / 'again.json'}").config == given.config


def test_another_plugin_than_the_files_drops_the_files_options_for_its_own(tmp_path):
    (tmp_path / "a.yaml").write_text("policy: {type: act, chunk_size: 120}\n")
    assert config(f"--config={tmp_path / 'a.yaml'}", "--policy.type=other").policy.name == "other"
    assert config("--policy=other", f"--config={tmp_path / 'a.yaml'}").policy.name == "other"
    kept = config(f"--config={tmp_path / 'a.yaml'}", "--policy.type=act", "--policy.n_action_steps=3").policy.config
    assert (kept.chunk_size, kept.n_action_steps) == (120, 3)


def test_a_later_file_may_choose_another_plugin(tmp_path):
    (tmp_path / "a.yaml").write_text("policy: {type: act, chunk_size: 120}\n")
    (tmp_path / "b.yaml").write_text("policy: {type: other, root: x}\n")
    chosen = config(f"--config={tmp_path / 'a.yaml'}", f"--config={tmp_path / 'b.yaml'}").policy
    assert (chosen.name, chosen.config.root) == ("other", "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stepz: 5", "did you mean '--steps'?"),
        ("steps: ten", "steps"),
        ("[1, 2]", "no mapping"),
        ("a: [", "line 1"),
        ("steps: !!python/object/apply:os.system ['true']", "not readable"),
    ],
)
def test_a_bad_file_is_one_line(text, told, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    assert told in refused(f"--config={tmp_path / 'bad.yaml'}")


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "gone.yaml" in refused(f"--config={tmp_path / 'gone.yaml'}")


def test_a_spelling_without_meaning_gives_its_note_bare_or_with_a_value():
    for words in (("--push_to_hub",), ("--push_to_hub=true",), ("--push_to_hub", "false")):
        assert read(*words).notes == ("--push_to_hub: nothing leaves the machine",)


def test_an_alias_may_set_several_options_and_say_so():
    found = read("--gpu=big")
    assert found.config.batch_size == 16
    assert found.notes == ("--gpu: the batch follows",)


def test_an_alias_is_another_name_and_a_short_one_too():
    assert config("--output_dir=x").out == Path("x")
    assert config("-o", "x").out == Path("x")


def test_the_last_of_two_equal_options_wins():
    assert config("--steps=5", "--steps=6").steps == 6


# --- words that are wrong


def test_an_option_without_its_value_is_told():
    assert "--steps needs a value" in refused("--steps")
    assert "--steps needs a value" in refused("--steps", "--overwrite")


def test_one_word_too_many_is_told():
    assert "'there' is one word too many" in refused("here", "there")


def test_an_unknown_short_option_is_told():
    assert "no option '-x'" in refused("-x", "3")


def test_a_required_word_is_told():
    spec = CommandSpec("info", Dataset, "Shows.", positionals=("root",), required=("root",))
    with pytest.raises(InputError, match="ROOT is missing"):
        resolve(spec, [], Plugins())
    assert resolve(spec, ["--", "--odd-name"], Plugins()).config.root == "--odd-name"


# --- help


def test_help_shows_only_the_chosen_plugins_options_with_default_bound_and_unit():
    text = help_text(SPEC, ["--policy", "act", "--help"], Plugins())
    assert "policy (policy act):" in text
    assert "--policy.chunk_size" in text
    assert ">= 1" in text
    assert "[100]" in text
    assert "--robot.port" not in text
    assert "--secret" not in text


def test_help_of_a_nested_camera_is_shown():
    text = help_text(SPEC, ["--robot=so101", "--robot.cameras.front.type=opencv"], Plugins())
    assert "--robot.cameras.front.width" in text


def test_completion_offers_the_options_of_the_chosen_plugin():
    names = dict(option_names(SPEC, ["--policy", "act"], Plugins()))
    assert names["--policy.chunk_size"] == "actions predicted at once"
    assert "--robot.port" not in names


def test_help_is_asked_for_in_two_ways():
    assert wants_help(["--help"])
    assert wants_help(["--policy", "act", "-h"])
    assert not wants_help(["--steps=5"])
