"""Cache folder: where it is, and what happens if it cannot be used."""

from pathlib import Path

import pytest

from veduta.errors import InputError
from veduta.runtime.environment import get_cache_folder, get_content_folder, open_cache


def test_cache_folder_is_the_value_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "here"))
    assert get_cache_folder() == tmp_path / "here"
    assert get_content_folder(get_cache_folder()) == tmp_path / "here" / "v1"


def test_cache_folder_is_that_of_the_user_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VEDUTA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = get_cache_folder()
    assert folder.name == "veduta"
    assert folder.is_relative_to(tmp_path)


def test_cure_is_named_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(InputError, match="set VEDUTA_CACHE"):
        get_cache_folder()


def test_temporary_folder_replaces_a_cache_that_is_not_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "here"))
    with open_cache(warnings.append) as cache:
        assert cache == tmp_path / "here"
    assert warnings == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "file"))
    with open_cache(warnings.append) as cache:
        (cache / "rows").write_bytes(b"some")
    assert not cache.exists()
    (warning,) = warnings
    assert str(tmp_path / "file") in warning
    assert "VEDUTA_CACHE" in warning
