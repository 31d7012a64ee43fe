"""Marks all tests of this folder with `faults`, and starts the server that forks commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.command_processes import CommandServer, start_command_server

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; pytest hands this hook all collected tests."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """A server that runs commands of `veduta` as forks, with a cache of its own."""
    with start_command_server(tmp_path_factory.mktemp("cache")) as server:
        yield server
