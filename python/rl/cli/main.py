"""The program `rl`: the command tree, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rl.api.errors import RlError
from rl.cli.commands import COMMANDS, execute, spec_of

INTERRUPTED = 130
CORE_CODES = dict.fromkeys(("absent", "permission", "busy", "motor-missing"), 3)
CORE_CODES |= dict.fromkeys(("usage", "calibration", "wrong-model"), 2)
# Typer brings its own click in newer versions and uses the shared one in older ones: asked for through its classes.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
CLICK = TyperCommand.__mro__[1].__module__.rpartition(".")[0]
FREE_WORDS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class Tree(TyperCommand):
    """A command whose options are a configuration tree: rl.config reads its words, prints its help, completes them."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        from importlib import import_module

        from rl.config.help import option_names
        from rl.registry import registry

        item = import_module(f"{CLICK}.shell_completion").CompletionItem
        words = [*getattr(ctx, "_protected_args", []), *ctx.args]
        options = option_names(spec_of(str(ctx.info_name)), words, registry())
        return [item(name, help=text) for name, text in options if name.startswith(incomplete)]


class Group(TyperGroup):
    """Commands in the order of a robot's day; an unknown one is answered with the nearest."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from rl.config.nearest import nearest

            raise RlUsage(f"there is no command '{args[0]}'", nearest(args[0], self.commands))
        return super().resolve_command(ctx, args)


class RlUsage(Exception):
    """A command that does not exist."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"rl: {what}" + (f"; {todo}" if todo else ""))


app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    help="Record, train, evaluate, export and run robot-learning policies.",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(asked: bool) -> None:
    if asked:
        from rl import __version__

        typer.echo(f"rl {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Record, train, evaluate, export and run robot-learning policies."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _add(name: str, summary: str) -> None:
    @app.command(name, cls=Tree, help=summary + ".", context_settings=FREE_WORDS)
    def command(ctx: typer.Context) -> None:
        raise typer.Exit(execute(name, ctx.args))


for _command in COMMANDS:
    _add(_command.name, _command.summary)


@app.command("plugins", help="List, show, create and check plugins.", context_settings=FREE_WORDS)
def _plugins(ctx: typer.Context) -> None:
    from rl.cli.plugins import main as plugins

    raise typer.Exit(plugins(list(ctx.args)))


def main(words: list[str] | None = None) -> int:
    """Run one command line. Exit codes: 0 done, 1 failed, 2 wrong input, 3 a part is missing, 130 interrupted."""
    try:
        code = app(args=words, standalone_mode=False, prog_name="rl")
        sys.stdout.flush()
    except RlError as error:
        return _failed(str(error), error.exit_code)
    except RlUsage as error:
        return _failed(str(error), 2)
    except USAGE_ERROR as error:
        return _failed(f"rl: {error.format_message()}", 2)
    except (KeyboardInterrupt, typer.Abort):
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
        return _failed(str(error), CORE_CODES.get(str(getattr(error, "code", "")), 1))
    return code if isinstance(code, int) else 0


EXTRAS = {
    "torch": "train", "tensorboard": "train", "av": "record", "pyarrow": "record", "cv2": "camera", "onnx": "export",
    "onnxscript": "export", "onnxruntime": "deploy", "transformers": "vla", "wandb": "", "rl._core": "",
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
