"""Tiles side by side: every epoch is seen, in order within a tile, whatever goes wrong beside."""

import threading
from collections.abc import Iterator

import pytest
import torch

from veduta.config.settings import Settings
from veduta.errors import VedutaError
from veduta.tuning.executors.fused.executor import TileEpoch
from veduta.tuning.executors.pool import Epochs, side_by_side
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import Beat
from veduta.tuning.trials.space import trial_of

TILES: list[Tile] = [(trial_of(Settings(lr=lr)),) for lr in (1.0, 2.0, 3.0, 4.0, 5.0)]


def epochs(tile: Tile, beat: Beat) -> Iterator[TileEpoch]:
    for number in (1, 2, 3):
        yield TileEpoch(number, [], [], None)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_all_epochs_of_all_tiles_in_order(workers: int) -> None:
    seen: dict[str, list[int | None]] = {}
    for tile, came in side_by_side(TILES, epochs, workers=workers):
        number = came.number if isinstance(came, TileEpoch) else None
        seen.setdefault(tile[0].id, []).append(number)
    assert seen == {tile[0].id: [None, 1, 2, 3] for tile in TILES}


def test_each_worker_computes_on_one_thread() -> None:
    found: list[int] = []

    def work(tile: Tile, beat: Beat) -> Iterator[TileEpoch]:
        found.append(torch.get_num_threads())
        yield from epochs(tile, beat)

    list(side_by_side(TILES, work, workers=2))
    assert found == [1] * len(TILES)


def test_a_tile_that_cannot_go_on_is_told_and_the_others_go_on() -> None:
    def work(tile: Tile, beat: Beat) -> Iterator[TileEpoch]:
        yield TileEpoch(1, [], [], None)
        if tile is TILES[1]:
            raise MemoryError("too large")
        yield TileEpoch(2, [], [], None)

    seen = list(side_by_side(TILES, work, workers=2))
    errors = [(tile, came) for tile, came in seen if isinstance(came, Exception)]
    assert [tile for tile, _ in errors] == [TILES[1]]
    last = [tile for tile, came in seen if isinstance(came, TileEpoch) and came.number == 2]
    assert sorted(tile[0].id for tile in last) == sorted(
        tile[0].id for tile in TILES if tile is not TILES[1]
    )


@pytest.mark.parametrize("error", [OSError("disk full"), VedutaError("see to it"), SystemExit(1)])
def test_what_is_no_fault_of_a_trial_is_raised_and_no_thread_is_left(error: BaseException) -> None:
    def work(tile: Tile, beat: Beat) -> Iterator[TileEpoch]:
        yield from epochs(tile, beat)
        raise error

    before = threading.active_count()
    with pytest.raises(type(error)):
        list(side_by_side(TILES, work, workers=2))
    assert threading.active_count() == before


def test_leaving_early_stops_the_workers() -> None:
    begun: list[str] = []

    def endless(tile: Tile, beat: Beat) -> Iterator[TileEpoch]:
        begun.append(tile[0].id)
        while True:
            yield TileEpoch(1, [], [], None)

    before = threading.active_count()
    seen = side_by_side(TILES, endless, workers=2)
    next(seen)
    seen.close()
    assert threading.active_count() == before
    assert len(begun) <= 2


def test_leaving_early_closes_what_is_under_way() -> None:
    """In its own thread, so that it can keep what it needs, and is heard where it cannot."""
    closed: list[str] = []

    def endless(tile: Tile, beat: Beat) -> Epochs:
        try:
            while True:
                yield TileEpoch(1, [], [], None)
        except GeneratorExit:
            closed.append(threading.current_thread().name)
            raise

    seen = side_by_side(TILES[:1], endless, workers=1)
    next(seen)
    next(seen)
    seen.close()
    assert closed == ["tile"]


def test_a6_one_that_hangs_does_not_hold_up_what_must_be_said() -> None:
    """Another tile ends the search; the one that hangs is given up as if it were alone."""
    woken, waited = threading.Event(), list[bool]()

    def work(tile: Tile, beat: Beat) -> Iterator[TileEpoch]:
        yield TileEpoch(1, [], [], None)
        if tile is TILES[0]:
            waited.append(woken.wait(20))
        else:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(side_by_side(TILES[:2], work, workers=2, hang_seconds=0.3))
    assert not waited, "nobody waited for it"
    woken.set()
