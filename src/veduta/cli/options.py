"""Flags from settings: every setting of `config.settings` is a flag of the same name.

Flags arrive as text and are checked with everything else, so that a user who made three mistakes
is told of three. Words that are no flag of ours are collected too, and reported in the same way.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from veduta.config.settings import Settings, as_text
from veduta.errors import InputError

COLLECT = {"allow_extra_args": True, "ignore_unknown_options": True}

Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help="Folder of images (class folders, or train/ test/), or a CSV file; with --resume, "
        "where it is now, if it has moved.",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Go on with the run in this directory, with its data and settings: killed or "
        "interrupted, it ends as if it had not been.",
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="New directory (default: the next free number in runs/).")
]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings; flags come first.")]
Preview = Annotated[
    bool,
    typer.Option(
        "--preview",
        help="Train nothing: draw images of each class, and what each epoch would show of them, as "
        "preview.png in a new directory.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Settings under a name, such as report; flags and --config come first."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print summary.json last on standard output, nothing else.")
]


def flag(name: str) -> str:
    """How a setting is spelt on the command line."""
    return "--" + name.replace("_", "-")


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each setting; those given reach it as keyword arguments."""
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    flags = [_flag_parameter(name) for name in Settings.model_fields]

    def wrapped(**given: Any) -> None:  # noqa: ANN401
        settings = {n: given.pop(n) for n in Settings.model_fields}
        command(**given, **{n: v for n, v in settings.items() if v is not None})

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    parameters = [*own, *flags]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def unknown_flags(words: Sequence[str]) -> dict[str, str]:
    """Words that are no flag of ours, as settings of those names, to be reported with the rest.

    Raises:
        InputError: a word that belongs to no flag.
    """
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("-") and not _is_number(word):
            name, _, value = word.lstrip("-").replace("-", "_").partition("=")
            found[name] = value
        elif name:
            found[name], name = word, ""
        else:
            raise InputError(f"one folder of data is expected; got {word!r} as well: leave it out")
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _flag_parameter(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    meaning = str(field.description)
    shown = "" if field.default is None else f" (default: {as_text(field.default)})"
    switch = field.annotation is bool
    option = typer.Option(
        flag(name),
        *([f"--no-{name.replace('_', '-')}"] if switch else []),
        help=f"{meaning[:1].upper()}{meaning[1:]}{shown}.",
        show_default=False,
        metavar=None if switch else _metavar(field.annotation),
        rich_help_panel="Settings",
    )
    kind = Annotated[bool | None, option] if switch else Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _metavar(annotation: object) -> str:
    """What kind of value a flag takes, in a word."""
    if get_origin(annotation) in (tuple, Literal):
        return "TEXT"
    names = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
    kinds = [annotation, *get_args(annotation)]  # a number that may be none: look inside
    kinds += [inner for kind in kinds for inner in get_args(kind)]
    return next((names[kind] for kind in kinds if isinstance(kind, type) and kind in names), "TEXT")
