"""From what a user typed to checked settings: all faults at once, with rule, value and cure."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any, Protocol, runtime_checkable

import yaml
from pydantic import ValidationError

from veduta.config.settings import NO_SETTINGS, OF_A_RUN, Settings
from veduta.errors import InputError

PROVENANCE = "run"
"""The part of a run's config.yaml that tells where it comes from; it sets nothing."""

Grid = dict[str, tuple[Any, ...]]

NOT_YAML = (
    *(OSError, yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError),
    *(ArithmeticError, RecursionError),
)
"""What reading a file as YAML may raise: a date that is none, for example, is a ValueError."""

SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 200
SHORT.maxlevel = 3


def suggestion(name: str, known: Iterable[str]) -> str:
    """The cure for a name that does not exist.

    >>> suggestion("wieght_decay", ["lr", "weight_decay"])
    "did you mean 'weight_decay'?"
    """
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The fault of a name that is not in a registry."""
    return f"no {kind} is called {name!r}; {suggestion(name, known)}"


def parse_settings(values: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    r"""Settings from raw values, text or typed, and the faults found.

    Where a value is wrong, the returned settings hold its default, so that other checks can go on
    and report what they find as well.

    >>> settings, faults = parse_settings({"lr": "fast", "epochz": 3})
    >>> print(*faults, sep="\n")
    no setting is called 'epochz'; did you mean 'epochs'?
    lr must be a number above 0, such as 1e-3; got 'fast'
    """
    faults = [_no_setting(str(name)) for name in values if not _known(name)]
    good = {name: value for name, value in values.items() if _known(name)}
    wrong = [name for name, value in good.items() if _is_no_number(name, value)]
    try:
        settings = Settings(**good)
        if not wrong:
            return settings, faults
    except ValidationError as error:
        wrong = list(dict.fromkeys([*wrong, *(str(f["loc"][0]) for f in error.errors())]))
    faults += [f"{name} must be {rule(name)}; got {shown(good.pop(name))}" for name in wrong]
    return Settings(**good), faults


def parse_grid(values: Mapping[str, Any]) -> tuple[Grid, list[str]]:
    """A grid from raw values, `{"lr": "3e-4,3e-3"}` or `{"lr": [3e-4, 3e-3]}`, and its faults.

    >>> parse_grid({"lr": "3e-4,3e-3", "batch_norm": [True]})[0]
    {'lr': (0.0003, 0.003), 'batch_norm': (True,)}
    """
    grid: Grid = {}
    faults: list[str] = []
    for name, raw in values.items():
        if not _known(name):
            faults.append("grid: " + _no_setting(str(name)))
        elif name in OF_A_RUN:
            faults.append(f"grid: {name} holds for the whole run; set it once, outside the grid")
        elif not (choices := _choices(raw)):
            faults.append(f"grid: {name} needs at least one value, as in {name}=A,B; got none")
        else:
            parsed = [parse_settings({name: choice}) for choice in choices]
            faults += ["grid: " + fault for _, wrong in parsed for fault in wrong]
            grid[name] = tuple(dict.fromkeys(getattr(settings, name) for settings, _ in parsed))
    return grid, faults


def parse_assignments(words: Sequence[str]) -> dict[str, str]:
    """What `--grid` took, as a grid of text; a name given twice has the values of both.

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
    """The settings in a YAML file, `grid` among them; a run's config.yaml is one, and replays it.

    Raises:
        InputError: the file cannot be read, or is not a mapping of names to values.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except NOT_YAML as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"--config takes a YAML file of settings; {path}: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"--config takes a YAML mapping of names to values; {path} holds another")
    if not isinstance(content.get("grid", {}), dict):
        raise InputError(f"grid must be a mapping of names to lists of values; in {path} it is not")
    content.pop(PROVENANCE, None)
    return content


def shown(value: object) -> str:
    """A wrong value as a message shows it: of a long or a deep one, the beginning.

    >>> shown("fast"), shown([[[[1]]]])
    ("'fast'", '[[[[...]]]]')
    """
    try:
        return " ".join(SHORT.repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        return f"a very large {type(value).__name__}"


def rule(name: str) -> str:
    """What a setting must be, in words."""
    extra = Settings.model_fields[name].json_schema_extra
    return str(extra["rule"]) if isinstance(extra, dict) else ""


def _no_setting(name: str) -> str:
    if name == "grid":
        return "a grid belongs to a search, as in veduta search DATA --grid lr=3e-4,3e-3; got one"
    return unknown("setting", name, (*Settings.model_fields, *NO_SETTINGS))


def _is_no_number(name: str, value: object) -> bool:
    """True and False are 1 and 0 to Python, but not to a person who writes a number."""
    return isinstance(value, bool) and Settings.model_fields[name].annotation is not bool


def _known(name: str) -> bool:
    return name in Settings.model_fields


def _choices(raw: object) -> list[Any]:
    if isinstance(raw, str):
        return [part.strip() for part in raw.split(",") if part.strip()]
    if isinstance(raw, Iterable) and not isinstance(raw, (bytes, Mapping)):
        return [_own(one) for one in raw]
    return [raw]


def _own(value: object) -> object:
    """A number of NumPy or of a tensor as Python's own; anything else as it is."""
    try:
        return value.item() if isinstance(value, Scalar) else value
    except (ValueError, RuntimeError):  # several numbers
        return value


@runtime_checkable
class Scalar(Protocol):
    """A number of NumPy or of a tensor."""

    def item(self) -> object:
        """The number as Python's own."""
        ...
