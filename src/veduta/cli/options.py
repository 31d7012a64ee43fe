"""Options that commands share: `--preview`, and one flag for every setting of `config.settings`.

Values of settings arrive as text and are checked together, so that a user who made three mistakes
sees three messages. Unknown flags are collected and reported in the same way.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from veduta.config.parsing import format_value
from veduta.config.settings import Settings
from veduta.errors import InputError

if TYPE_CHECKING:
    from veduta.tracking.console import Console

COLLECT_UNKNOWN = {"allow_extra_args": True, "ignore_unknown_options": True}

DATA_HELP = (
    "Folder of images (class folders, or train/ and test/ with class folders), or a CSV file"
)

Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help=f"{DATA_HELP}; with --resume, its new location if it was moved.",
    ),
]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Run directory to resume with its own data and settings; the result is the same as "
        "without the interruption.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY", help="New directory (default: the next free number in runs/)."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML file of settings; flags take precedence."),
]
Preview = Annotated[
    bool,
    typer.Option(
        "--preview",
        metavar="",
        help="Do not train; draw images of each class, as augmented in each epoch, to "
        "preview.png in a new directory.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Named set of settings, such as report; flags and --config take precedence.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print only summary.json on standard output."),
]

PANELS = {
    "model": "Network settings",
    "head": "Head settings",
    "epochs": "Training settings",
    "validation": "Data and evaluation settings",
    "engine": "Execution settings",
}
"""Title of each group of settings in the help texts, by the name of its first setting."""


def format_flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def add_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add one flag per setting to a command, which receives given flags as keyword arguments."""
    hints = get_type_hints(command, include_extras=True)
    own_parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    flags = []
    panel = ""
    for name in Settings.model_fields:
        panel = PANELS.get(name, panel)
        flags.append(_make_flag(name, panel))

    def wrapped(**arguments: Any) -> None:  # noqa: ANN401
        settings = {name: arguments.pop(name) for name in Settings.model_fields}
        given = {name: value for name, value in settings.items() if value is not None}
        command(**arguments, **given)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    parameters = [*own_parameters, *flags]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def collect_unknown_flags(words: Sequence[str]) -> dict[str, str]:
    """Return unknown flags as settings, so that they are reported with all other errors.

    Raises:
        InputError: an argument is neither a flag nor the value of one.
    """
    flags: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("-") and not _is_number(word):
            name, _, value = word.lstrip("-").replace("-", "_").partition("=")
            flags[name] = value
        elif name:
            flags[name], name = word, ""
        else:
            raise InputError(f"only one data folder is accepted; got also {word!r}: omit it")
    return flags


def draw_preview(
    data: Path | None,
    options: Mapping[str, Any],
    console: "Console",
    *,
    as_json: bool,
    settings: Mapping[str, Any],
) -> None:
    """Draw the preview and print its path.

    Args:
        data: folder of images, or CSV file.
        options: other options of the command: `out`, `config`, `preset`, `resume`, `grid` (if any).
        console: prints the path.
        as_json: print the paths as JSON, last on standard output.
        settings: settings that the user gave.

    Raises:
        InputError: `resume` is given, `data` is missing, or an option or setting is invalid.
    """
    from veduta import api
    from veduta.cli.printing import print_json

    preview_options = dict(options)
    if preview_options.pop("resume") or data is None:
        raise InputError(
            "--preview shows the images of a new run, as in veduta train photos --preview; got "
            f"{'--resume' if data is not None else 'no folder of images'}: leave out --resume and "
            "give the folder"
        )
    paths = api.preview(data, **preview_options, console=console, **settings)
    for path in paths:
        console.say(f"preview     {path}")
    if as_json:
        print_json({"preview": [str(path) for path in paths]})


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _make_flag(name: str, panel: str) -> inspect.Parameter:
    """Return the command parameter of one setting."""
    field = Settings.model_fields[name]
    description = str(field.description)
    default = "" if field.default is None else f" (default: {format_value(field.default)})"
    is_switch = field.annotation is bool
    option = typer.Option(
        format_flag(name),
        *([f"--no-{name.replace('_', '-')}"] if is_switch else []),
        help=f"{description[:1].upper()}{description[1:]}{default}.",
        show_default=False,
        metavar="" if is_switch else _get_metavar(field.annotation),
        rich_help_panel=panel,
    )
    annotation = Annotated[bool | None, option] if is_switch else Annotated[str | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _get_metavar(annotation: object) -> str:
    """Return the metavar of a flag: the type of its value, as one word.

    >>> _get_metavar(int), _get_metavar(float | None), _get_metavar(Literal["all"] | int)
    ('INTEGER', 'NUMBER', 'TEXT')
    """
    types = [annotation, *get_args(annotation)]  # the members of a union, such as int | None
    if get_origin(annotation) is tuple or any(get_origin(type_) is Literal for type_ in types):
        return "TEXT"
    types += [inner for type_ in types for inner in get_args(type_)]
    names = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
    return next((names[t] for t in types if isinstance(t, type) and t in names), "TEXT")
