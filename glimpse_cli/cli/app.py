"""The Typer app: one place where errors become words and exit codes, and where shared options are spread out.

A command's parameter that is annotated with a frozen dataclass of options (see `options`) stands for all of its
fields: ``command`` shows them to Typer one by one and hands them over together.
"""

import inspect
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import wraps
from importlib import import_module
from shlex import quote
from shutil import get_terminal_size
from threading import current_thread, main_thread
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from glimpse_cli import __version__
from glimpse_cli.cli import talk
from glimpse_cli.errors import GlimpseError, InputError, OutputError, UsageError
from glimpse_cli.files import shown, working_folder

COMMANDS = ("crop", "batch", "compare")  # a module each, which registers itself with `command`
INTERRUPTED = 130
ONCE = frozenset({"u", "d", "s", "scale", "shift"})  # options
_loaded: dict[str, Any] = {}
BOXED = 66  # characters of a line from which on the help of a command has boxes
SETTINGS = {"help_option_names": ["-h", "--help"]}


class _AsTyped:
    """Stands in for Typer's coercion of values: ours are texts, lists of texts and flags, checked by `places`.

    Typer loads pydantic for it, 100 ms that no option here needs.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002 - Typer's signature
        return list(value or ()) if param.multiple or param.nargs == -1 else value


class _Plain:
    """Parameters that keep what was typed."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if hasattr(param, "_runtime_param"):  # a Typer without it coerces by itself, only slower
                param._runtime_param = _AsTyped()  # noqa: SLF001 - there is no public way
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""  # help shows a flag's names, not its type
            if isinstance(param, typer.core.TyperArgument):  # nor "<list[str]>" beside what an argument is
                param.display_type_rich = _no_type  # type: ignore[method-assign]  # there is no public way
        return params


def _no_type(ctx: Any) -> None:
    """What help says of an argument's type."""


class Command(_Plain, typer.core.TyperCommand):
    """A command whose parameters keep what was typed; two values where there is one place are one too many."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's, of which the last of several values would win."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for param in order:
            if param.name in ONCE and order.count(param) > 1:
                raise UsageError(f"{param.opts[0]} is given twice", hint="one of them")
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As Typer's, but without boxes on a narrow terminal, where these cut the names of options."""
        columns = get_terminal_size().columns
        if columns >= BOXED:
            super().format_help(ctx, formatter)
        else:
            formatter.width = columns
            super(typer.core.TyperCommand, self).format_help(ctx, formatter)


class App(_Plain, typer.core.TyperGroup):
    """The group, and the one place where an error becomes words and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """The commands in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - likewise
        """A command, loaded when it is asked for: one does not pay for what another imports."""
        if cmd_name in COMMANDS:
            import_module(f"glimpse_cli.cli.{cmd_name}")
        return _loaded.get(cmd_name)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """As Typer's, for errors before a command is known."""
        typed = list(args)
        with _errors_explained(lambda: "--debug" in typed, lambda: None, typed):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta["typed"] = typed
        return context

    def invoke(self, ctx: Any) -> Any:
        """As Typer's, for all others."""
        explained = _errors_explained(
            lambda: bool(ctx.meta.get("debug")), lambda: ctx.invoked_subcommand, ctx.meta["typed"]
        )
        with explained, _told_to_end():
            return super().invoke(ctx)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Being told to end is being interrupted: nothing half-written stays, and workers stop."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    # SIG_IGN is nohup's; and only the main thread may say what is done with a signal
    ours = [n for n, known in before.items() if known is not signal.SIG_IGN and current_thread() is main_thread()]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextmanager
def _errors_explained(
    debug: Callable[[], bool], command: Callable[[], str | None], typed: Sequence[str]
) -> Iterator[None]:
    try:
        yield
    except GlimpseError as error:
        talk.explain(error, trace=debug())
        raise typer.Exit(error.exit_code) from error
    except typer.TyperException as error:  # the parser's own: an unknown option, a missing argument
        message = error.format_message() if hasattr(error, "format_message") else ""
        if not message:  # no arguments at all: help has been shown
            raise
        ahead = typed[: typed.index("--")] if "--" in typed else typed
        missing = message.startswith(("Missing argument", "No such option"))
        dashed = next((name for name in ahead if missing and name[:1] == "-" and os.path.isfile(name)), None)  # noqa: PTH113 - a string
        hint = f"a name that begins with a dash goes after --: -- {quote(shown(dashed))}" if dashed else None
        help_ = " ".join(filter(None, ("glimpse", command(), "--help")))
        talk.explain(UsageError(message, hint=hint or help_))
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        talk.note("interrupted")
        raise typer.Exit(INTERRUPTED) from error
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except OSError as error:  # files are mapped where they are used: what is left is stdout, or there is no here
        told: GlimpseError = OutputError("cannot write the output", why=error.strerror)
        try:
            working_folder()
        except InputError as nowhere:
            told = nowhere
        talk.explain(told, trace=debug())
        raise typer.Exit(told.exit_code) from error
    except Exception as error:  # a bug of ours; the command line promises words, not a traceback
        if debug():
            raise
        talk.explain(
            GlimpseError(f"a bug in glimpse: {type(error).__name__}: {error}", hint="--debug, and report what it shows")
        )
        raise typer.Exit(1) from error


app = typer.Typer(cls=App, add_completion=False, no_args_is_help=True, context_settings=SETTINGS)


def show_version(value: bool) -> None:
    """Callback of --version."""
    if value:
        talk.say(f"glimpse {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Look at a part of a picture the way an attention model does.

    A glimpse is a fixed-size, sub-pixel crop by Gaussian attention or a spatial transformer.
    """


def remember_debug(ctx: typer.Context, value: bool) -> bool:
    """Callback of --debug: where an error is explained, the traceback is wanted too."""
    ctx.meta["debug"] = value  # shared by all contexts of a command line
    return value


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command of `COMMANDS`, with the fields of its option groups as options of its own."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function).parameters.values()
        groups: dict[str, Any] = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}
        spread = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=field.type, default=field.default)
            for group in groups.values()
            for field in fields(group)
        ]

        @wraps(function)
        def call(**values: Any) -> None:
            built = {
                name: group(**{field.name: values.pop(field.name) for field in fields(group)})
                for name, group in groups.items()
            }
            function(**values, **built)

        call.__signature__ = inspect.Signature([p for p in own if p.name not in groups] + spread)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in call.__signature__.parameters.values()}  # type: ignore[attr-defined]
        alone = typer.Typer(add_completion=False)
        alone.command(name, cls=Command, context_settings=SETTINGS)(call)
        _loaded[name] = typer.main.get_command(alone)
        return call

    return register
