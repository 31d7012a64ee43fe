"""What a value may be, and how it is written: as text on the command line, typed in Python.

The kinds of `config.settings`, apart from it so that the list of settings can be read as a list.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

SEPARATOR = "x"  # hidden=2000x1000 and betas=0.9x0.999: a comma separates the values of a grid
JOIN = "+"  # augment=crop+flip


def _sequence(value: object) -> object:
    """'2000x1000' -> ['2000', '1000']; a single number -> [number]; 'none' -> []."""
    if isinstance(value, str):
        return [] if value.strip().lower() == "none" else value.strip().split(SEPARATOR)
    if value is None:
        return []
    return [value] if isinstance(value, (int, float)) else value


def _words(value: object) -> object:
    """'crop+flip' -> ['crop', 'flip']; 'none' -> []."""
    if isinstance(value, str):
        words = [word.strip() for word in value.split(JOIN)]
        return [] if value.strip().lower() == "none" else words
    return [] if value is None else value


def _as_set(words: tuple[str, ...]) -> tuple[str, ...]:
    """Each word once, in an order of ours: 'flip+crop' means what 'crop+flip' does."""
    return tuple(sorted(set(words)))


def _optional(value: object) -> object:
    """'none' -> None, for settings that can be switched off."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_sequence)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Decay, Decay], BeforeValidator(_sequence)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_as_set)]
Share = Annotated[float, Field(gt=0, le=0.5)]
Optional = BeforeValidator(_optional)
OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, Optional]
OptionalFactor = Annotated[Annotated[int, Field(ge=2)] | None, Optional]


def setting(default: Any, meaning: str, rule: str, **limits: Any) -> Any:  # noqa: ANN401
    """A field with its meaning (for help texts) and its rule (for error messages)."""
    return Field(default=default, description=meaning, json_schema_extra={"rule": rule}, **limits)


def as_text(value: object) -> str:
    """A value as it stands in CSV files and on the command line.

    >>> as_text((2000, 1000)), as_text(()), as_text(None), as_text(0.001), as_text(True)
    ('2000x1000', 'none', 'none', '0.001', 'true')
    """
    if isinstance(value, (tuple, list)):
        join = JOIN if all(isinstance(part, str) for part in value) else SEPARATOR
        return join.join(as_text(part) for part in value) or "none"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON and YAML hold them: tuples become lists."""
    return {name: as_plain(value) for name, value in settings.items()}


def as_plain(value: Any) -> Any:  # noqa: ANN401
    """One value as JSON and YAML hold it."""
    return list(value) if isinstance(value, tuple) else value
