"""What the environment says, and what is said where it says nothing."""

from pathlib import Path

import pytest

from veduta.errors import InputError
from veduta.runtime.environment import cache_folder


def test_the_cache_is_where_it_is_told_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_without_a_home_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(InputError, match="set VEDUTA_CACHE"):
        cache_folder()
