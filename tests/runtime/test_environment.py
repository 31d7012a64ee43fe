"""What the environment says, and what is said where it says nothing."""

from pathlib import Path

import pytest

from veduta.errors import InputError
from veduta.runtime.environment import cache_folder, usable_cache


def test_the_cache_is_where_it_is_told_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_without_a_home_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(InputError, match="set VEDUTA_CACHE"):
        cache_folder()


def test_a_cache_that_cannot_be_written_is_replaced_once_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "here"))
    with usable_cache(told.append) as cache:
        assert cache == tmp_path / "here"
    assert told == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "file"))
    with usable_cache(told.append) as cache:
        (cache / "rows").write_bytes(b"some")
    assert not cache.exists()
    (line,) = told
    assert "set VEDUTA_CACHE to another folder" in line
