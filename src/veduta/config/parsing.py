"""Conversion of settings from and to text; all faults are listed at once, with rule and value."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Any, Protocol, runtime_checkable

import yaml
from pydantic import ValidationError

from veduta.config.settings import (
    NAME_SEPARATOR,
    NUMBER_SEPARATOR,
    OTHER_OPTIONS,
    RUN_SETTINGS,
    Settings,
)
from veduta.errors import InputError, describe_unknown_name

PROVENANCE = "run"
"""The part of a run's config.yaml that describes its origin; it contains no settings."""

Grid = dict[str, tuple[Any, ...]]

YAML_ERRORS = (
    *(OSError, yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError),
    *(ArithmeticError, RecursionError),
)
"""Errors of reading a file as YAML: an impossible date, for example, is a ValueError."""

ABBREVIATION = Repr()
ABBREVIATION.maxstring = ABBREVIATION.maxother = 200
ABBREVIATION.maxlevel = 3


def parse_settings(values: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    r"""Return settings from raw values, text or typed, and a list of all faults.

    Settings with a wrong value have their default, so that other checks can continue and report
    more faults.

    >>> settings, faults = parse_settings({"lr": "fast", "epochz": 3})
    >>> print(*faults, sep="\n")
    no setting is called 'epochz'; did you mean 'epochs'?
    lr must be a number above 0, such as 1e-3; got 'fast'
    """
    faults = [_describe_unknown_setting(str(name)) for name in values if not _is_setting(name)]
    known = {name: value for name, value in values.items() if _is_setting(name)}
    wrong = [name for name, value in known.items() if _is_misplaced_bool(name, value)]
    try:
        settings = Settings(**known)
        if not wrong:
            return settings, faults
    except ValidationError as error:
        wrong = list(dict.fromkeys([*wrong, *(str(f["loc"][0]) for f in error.errors())]))
    faults += [
        f"{name} must be {find_rule(name)}; got {abbreviate(known.pop(name))}" for name in wrong
    ]
    return Settings(**known), faults


def parse_grid(values: Mapping[str, Any]) -> tuple[Grid, list[str]]:
    """Return a grid from raw values, `{"lr": "3e-4,3e-3"}` or `{"lr": [3e-4, 3e-3]}`, and faults.

    >>> parse_grid({"lr": "3e-4,3e-3", "batch_norm": [True]})[0]
    {'lr': (0.0003, 0.003), 'batch_norm': (True,)}
    """
    grid: Grid = {}
    faults: list[str] = []
    for name, raw in values.items():
        if not _is_setting(name):
            faults.append("grid: " + _describe_unknown_setting(str(name)))
        elif name in RUN_SETTINGS:
            faults.append(f"grid: {name} applies to the whole run; set it once, outside the grid")
        elif not (choices := _split_choices(raw)):
            faults.append(f"grid: {name} needs at least one value, as in {name}=A,B; got none")
        else:
            parsed = [parse_settings({name: choice}) for choice in choices]
            faults += ["grid: " + fault for _, wrong in parsed for fault in wrong]
            grid[name] = tuple(dict.fromkeys(getattr(settings, name) for settings, _ in parsed))
    return grid, faults


def parse_assignments(words: Sequence[str]) -> dict[str, str]:
    """Return the arguments of `--grid` as a grid of text; repeated names collect all values.

    >>> parse_assignments(["lr=3e-4,3e-3", "batch-size=32", "lr=1e-2"])
    {'lr': '3e-4,3e-3,1e-2', 'batch_size': '32'}
    """
    values: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        name = name.strip().replace("-", "_")
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def read_file(path: Path) -> dict[str, Any]:
    """Read settings from a YAML file, including `grid`; the config.yaml of a run repeats the run.

    Raises:
        InputError: the file cannot be read, or is not a mapping of names to values.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except YAML_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"--config takes a YAML file of settings; {path}: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(
            "--config takes a YAML mapping of names to values; got other content in "
            f"{path}: write lines such as lr: 0.001"
        )
    if not isinstance(content.get("grid", {}), dict):
        raise InputError(
            f"grid must be a mapping of names to lists of values; got other content in {path}: "
            "write lines such as grid: {lr: [0.001, 0.01]}"
        )
    content.pop(PROVENANCE, None)
    return content


def format_value(value: object) -> str:
    """Return a value as it is written in CSV files and on the command line.

    >>> format_value((2000, 1000)), format_value(()), format_value(None), format_value(True)
    ('2000x1000', 'none', 'none', 'true')
    """
    if isinstance(value, (tuple, list)):
        separator = (
            NAME_SEPARATOR if all(isinstance(part, str) for part in value) else NUMBER_SEPARATOR
        )
        return separator.join(format_value(part) for part in value) or "none"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with values for JSON and YAML: tuples become lists."""
    return {name: to_json_value(value) for name, value in settings.items()}


def to_json_value(value: Any) -> Any:  # noqa: ANN401
    """Return one value for JSON and YAML."""
    return list(value) if isinstance(value, tuple) else value


def abbreviate(value: object) -> str:
    """Return a value for a message: long and deeply nested values are abbreviated.

    >>> abbreviate("fast"), abbreviate([[[[1]]]])
    ("'fast'", '[[[[...]]]]')
    """
    try:
        return " ".join(ABBREVIATION.repr(value).split())
    except ValueError:  # an integer with thousands of digits
        return f"a very large {type(value).__name__}"


def find_rule(name: str) -> str:
    """Return the rule for the values of a setting, in words."""
    extra = Settings.model_fields[name].json_schema_extra
    return str(extra["rule"]) if isinstance(extra, dict) else ""


def _describe_unknown_setting(name: str) -> str:
    if name == "grid":
        return "a grid belongs to a search, as in veduta search DATA --grid lr=3e-4,3e-3; got one"
    return describe_unknown_name("setting", name, (*Settings.model_fields, *OTHER_OPTIONS))


def _is_misplaced_bool(name: str, value: object) -> bool:
    """Return whether True or False is given for a number: Python takes them for 1 and 0."""
    return isinstance(value, bool) and Settings.model_fields[name].annotation is not bool


def _is_setting(name: str) -> bool:
    return name in Settings.model_fields


def _split_choices(raw: object) -> list[Any]:
    """Return the values of one dimension of a grid."""
    if isinstance(raw, str):
        return [part.strip() for part in raw.split(",") if part.strip()]
    if isinstance(raw, Iterable) and not isinstance(raw, (bytes, Mapping)):
        return [_to_python(value) for value in raw]
    return [raw]


def _to_python(value: object) -> object:
    """Turn a number of NumPy or of a tensor into a Python number; keep other values."""
    try:
        return value.item() if isinstance(value, Scalar) else value
    except (ValueError, RuntimeError):  # several numbers
        return value


@runtime_checkable
class Scalar(Protocol):
    """A number of NumPy or of a tensor."""

    def item(self) -> object:
        """Return it as a Python number."""
        ...
