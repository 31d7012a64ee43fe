"""A shared cache, so that packaged weights are converted once."""

from pathlib import Path

import pytest

from veduta.runtime.process import prepare_process

prepare_process()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")
