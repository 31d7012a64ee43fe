"""Damaged checkpoints: one is skipped; if all are damaged, the user decides."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import veduta
from tests.support.resuming import CNN_SETTINGS, assert_same_results, cut_run
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.runs.events import TrialStarted

DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "bit-flipped": lambda path: path.write_bytes(
        path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])
    ),
    "zero": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "deleted": Path.unlink,
}


@pytest.fixture(scope="module")
def both(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A finished training, and the directory of one that was killed in its last epoch."""
    folder = tmp_path_factory.mktemp("runs")
    whole = veduta.train(color_folder, out=folder / "whole", console=QUIET, **CNN_SETTINGS)
    killed = folder / "killed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("veduta.runs.checkpoints.Checkpoints.keep_newest", lambda _: None)
        veduta.train(color_folder, out=killed, console=QUIET, **CNN_SETTINGS)
    cut_run(killed, TrialStarted)
    return whole, killed


def list_checkpoints(path: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""

    def parse_number(checkpoint: Path) -> int:
        return int(checkpoint.name.split(".")[1])

    return sorted((path / "checkpoints").iterdir(), key=parse_number, reverse=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_a_damaged_one_is_used(
    both: tuple[Run, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    whole, killed = both
    path = Path(shutil.copytree(killed, tmp_path / "run"))
    first = list_checkpoints(path)[0]
    DAMAGES[damage](first)
    run = veduta.train(resume=path, console=QUIET)
    assert_same_results(run, whole)
    warnings = capfd.readouterr().err.count(str(first))
    assert warnings == (damage != "deleted")


def test_if_all_checkpoints_are_damaged_the_user_decides(
    both: tuple[Run, Path], tmp_path: Path
) -> None:
    whole, killed = both
    path = Path(shutil.copytree(killed, tmp_path / "run"))
    for checkpoint in list_checkpoints(path):
        DAMAGES["zero"](checkpoint)
    with pytest.raises(InputError, match=r"checkpoints.*restore .*or remove") as caught:
        veduta.train(resume=path, console=QUIET)
    assert caught.value.exit_code == 2
    assert all(checkpoint.name in str(caught.value) for checkpoint in list_checkpoints(path))
    for checkpoint in list_checkpoints(path):
        checkpoint.unlink()
    assert_same_results(veduta.train(resume=path, console=QUIET), whole)
