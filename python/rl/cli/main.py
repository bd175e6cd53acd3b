"""The program `rl`: which command is meant, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys

from rl.api.errors import RlError
from rl.cli.commands import COMMANDS, execute

INTERRUPTED = 130


def dispatch(words: list[str]) -> int:
    """The commands read their own words; Typer, whose import costs as much as the rest, has the tree around them."""
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    completing = "_RL_COMPLETE" in os.environ
    if words and not completing and words[0] in {command.name for command in COMMANDS}:
        return execute(words[0], words[1:])
    if words and not completing and words[0] == "plugins":
        from rl.cli.plugins import main as plugins

        return plugins(words[1:])
    from rl.cli.app import RlUsage, run

    try:
        return run(words)
    except RlUsage as error:
        return _failed(str(error), 2)


def main(words: list[str] | None = None) -> int:
    """Run one command line. Exit codes: 0 done, 1 failed, 2 wrong input, 3 a part is missing, 130 interrupted."""
    try:
        code = dispatch(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except RlError as error:
        return _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        return _missing_module(error)
    except OSError as error:  # a disk, a folder or a device that says no
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", 1)
    except Exception as error:
        core = sys.modules.get("rl._core")  # not imported for this: without it the error is none of its
        if core is None or not isinstance(error, core.CoreError):
            raise
        from rl.control.core_errors import told

        core_error = told(error)
        return _failed(str(core_error), core_error.exit_code)
    return code


EXTRAS = {
    "torch": "train", "tensorboard": "train", "av": "record", "pyarrow": "record", "cv2": "camera", "pygame": "gamepad",
    "onnx": "export", "onnxscript": "export", "onnxruntime": "deploy", "transformers": "vla", "wandb": "",
    "rl._core": "",
}  # fmt: skip


def _missing_module(error: ModuleNotFoundError) -> int:
    name = str(error.name)
    if name == "rl._core":
        return _failed("the real-time core rl._core is not there; it is built on Linux only", 3)
    if name not in EXTRAS:
        raise error
    what = f"rl-toolkit[{EXTRAS[name]}]" if EXTRAS[name] else name
    return _failed(f'this needs {name}; pip install "{what}"', 3)


def _failed(message: str, code: int) -> int:
    if os.environ.get("RL_DEBUG") == "1" and sys.exc_info()[0] is not None:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    print(f"error: {message}" if code != INTERRUPTED else message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
