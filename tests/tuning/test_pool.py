"""The pool: all results arrive in order within a tile, whatever happens to other tiles."""

import threading

import pytest
import torch

from veduta.config.settings import Settings
from veduta.errors import VedutaError
from veduta.tuning.executors.pool import run_tiles
from veduta.tuning.executors.protocol import Heartbeat, TileEpoch, TileEpochs
from veduta.tuning.trials.space import Tile, build_trial

TILES: list[Tile] = [(build_trial(Settings(lr=lr)),) for lr in (1.0, 2.0, 3.0, 4.0, 5.0)]


def run_three_epochs(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
    for number in (1, 2, 3):
        yield TileEpoch(number, [], [])


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_all_epochs_of_all_tiles_arrive_in_order(workers: int) -> None:
    numbers: dict[str, list[int | None]] = {}
    for tile, result in run_tiles(TILES, run_three_epochs, workers=workers):
        number = result.number if isinstance(result, TileEpoch) else None
        numbers.setdefault(tile[0].id, []).append(number)
    assert numbers == {tile[0].id: [None, 1, 2, 3] for tile in TILES}


def test_each_worker_uses_one_thread() -> None:
    threads: list[int] = []

    def executor(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
        threads.append(torch.get_num_threads())
        yield from run_three_epochs(tile, heartbeat)

    list(run_tiles(TILES, executor, workers=2))
    assert threads == [1] * len(TILES)


def test_an_error_in_one_tile_is_reported_and_the_others_continue() -> None:
    def executor(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
        yield TileEpoch(1, [], [])
        if tile is TILES[1]:
            raise MemoryError("too large")
        yield TileEpoch(2, [], [])

    results = list(run_tiles(TILES, executor, workers=2))
    assert [tile for tile, result in results if isinstance(result, Exception)] == [TILES[1]]
    finished = [tile for tile, result in results if result == TileEpoch(2, [], [])]
    assert sorted(tile[0].id for tile in finished) == sorted(
        tile[0].id for tile in TILES if tile is not TILES[1]
    )


@pytest.mark.parametrize("error", [OSError("disk full"), VedutaError("see to it"), SystemExit(1)])
def test_a_fatal_error_is_raised_and_no_thread_remains(error: BaseException) -> None:
    def executor(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
        yield from run_three_epochs(tile, heartbeat)
        raise error

    before = threading.active_count()
    with pytest.raises(type(error)):
        list(run_tiles(TILES, executor, workers=2))
    assert threading.active_count() == before


def test_closing_early_stops_the_workers() -> None:
    started: list[str] = []

    def executor(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
        started.append(tile[0].id)
        while True:
            yield TileEpoch(1, [], [])

    before = threading.active_count()
    results = run_tiles(TILES, executor, workers=2)
    next(results)
    results.close()
    assert threading.active_count() == before
    assert len(started) <= 2


def test_closing_early_closes_the_executors_in_their_own_threads() -> None:
    closed: list[str] = []

    def executor(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
        try:
            while True:
                yield TileEpoch(1, [], [])
        except GeneratorExit:
            closed.append(threading.current_thread().name)
            raise

    results = run_tiles(TILES[:1], executor, workers=1)
    next(results)
    next(results)
    results.close()
    assert closed == ["tile"]


def test_a_hung_tile_does_not_delay_a_fatal_error() -> None:
    """Another tile ends the search while one hangs; the hung one is abandoned."""
    released, waited = threading.Event(), list[bool]()

    def executor(tile: Tile, heartbeat: Heartbeat) -> TileEpochs:
        yield TileEpoch(1, [], [])
        if tile is TILES[0]:
            waited.append(released.wait(20))
        else:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(run_tiles(TILES[:2], executor, workers=2, hang_seconds=0.3))
    assert not waited, "the pool did not wait for the hung tile"
    released.set()
