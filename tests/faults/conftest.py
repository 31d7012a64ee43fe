"""What fault tests share: the program that forks commands, started once."""

from collections.abc import Iterator

import pytest

from tests.faults.running import Commands, commands


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Runs commands of `veduta` as forks, with a cache of their own."""
    with commands(tmp_path_factory.mktemp("cache")) as found:
        yield found
