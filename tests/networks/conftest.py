"""One cache for all tests of models: packaged weights are converted once, in a child process."""

from pathlib import Path

import pytest

from veduta.runtime.process import prepare

prepare()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")
