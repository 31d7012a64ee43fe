"""Checkpoints that were damaged after they were written: one is no harm, all are the user's say."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import veduta
from tests.experiment.test_whole import CNN, QUIET, cut, expect_same
from veduta.errors import InputError
from veduta.results.run import Run

DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "bit-flipped": lambda path: path.write_bytes(
        path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])
    ),
    "zero": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "deleted": Path.unlink,
}


@pytest.fixture(scope="module")
def both(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A training, and what was left of one that was killed in its last epoch."""
    folder = tmp_path_factory.mktemp("runs")
    whole = veduta.train(colours, out=folder / "whole", console=QUIET, **CNN)
    killed = folder / "killed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("veduta.runs.checkpoints.Checkpoints.keep_last", lambda _: None)
        veduta.train(colours, out=killed, console=QUIET, **CNN)
    cut(killed, "trial started")
    return whole, killed


def newest(path: Path) -> list[Path]:
    """The checkpoints, the newest first."""
    number = lambda one: int(one.name.split(".")[1])  # noqa: E731
    return sorted((path / "checkpoints").iterdir(), key=number, reverse=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_b3_the_checkpoint_before_a_damaged_one_is_used(
    both: tuple[Run, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    whole, killed = both
    path = Path(shutil.copytree(killed, tmp_path / "run"))
    first = newest(path)[0]
    DAMAGES[damage](first)
    run = veduta.train(resume=path, console=QUIET)
    expect_same(run, whole)
    told = capfd.readouterr().err.count(f"{first} is no whole checkpoint")
    assert told == (damage != "deleted")


def test_b3_where_none_is_whole_the_user_decides(both: tuple[Run, Path], tmp_path: Path) -> None:
    whole, killed = both
    path = Path(shutil.copytree(killed, tmp_path / "run"))
    for one in newest(path):
        DAMAGES["zero"](one)
    with pytest.raises(
        InputError, match=r"none in .*checkpoints is: restore .*or remove"
    ) as caught:
        veduta.train(resume=path, console=QUIET)
    assert caught.value.exit_code == 2
    assert all(one.name in str(caught.value) for one in newest(path))
    for one in newest(path):
        one.unlink()
    expect_same(veduta.train(resume=path, console=QUIET), whole)
