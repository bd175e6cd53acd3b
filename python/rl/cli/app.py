"""The command tree as Typer sees it: the list of commands, their help, shell completion, mistyped commands."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rl.cli.commands import COMMANDS, execute, spec_of

# Typer brings its own click in newer versions and uses the shared one in older ones: asked for through its classes.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
CLICK = TyperCommand.__mro__[1].__module__.rpartition(".")[0]
FREE_WORDS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class RlUsage(Exception):
    """Words that are no command of `rl`."""


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

            todo = nearest(args[0], self.commands) or "see rl --help"
            raise RlUsage(f"rl: there is no command '{args[0]}'; {todo}")
        return super().resolve_command(ctx, args)


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


def run(words: list[str]) -> int:
    """One command line through Typer: its exit code. Errors: RlUsage; those of the command."""
    try:
        code = app(args=words, standalone_mode=False, prog_name="rl")
    except USAGE_ERROR as error:
        raise RlUsage(f"rl: {error.format_message()}") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0
