"""What is in memory: worked by hand, and without effect on results."""

import json
import sys
from pathlib import Path

import pytest

from veduta import search
from veduta.config.settings import Settings
from veduta.networks.heads import Head
from veduta.runtime import memory
from veduta.tracking.console import Console
from veduta.tuning import memory_plan as module
from veduta.tuning.memory_plan import (
    Sizes,
    allowed_bytes,
    residency,
    side_by_side_of,
    tile_bytes,
)
from veduta.tuning.trials.space import cells, trial_of, trials

TILE = tuple(trial_of(Settings(lr=lr, epochs=8, batch_size=2)) for lr in (1e-3, 1e-2))


def test_a_linear_tile_by_hand() -> None:
    """2 trials of 5 x 3 + 3 = 18 numbers, adam; 100 images train, 10 choose; 3 classes, 8 epochs.

    Learned 2 x 5 x 18 x 4 = 720; logits 2 x 3 x 30 x 4 = 720; hits 2 x 10 x (1 + 8 + 2) = 220;
    order 5 x 8 x 100 = 4000. A block of 512 images: inputs 512 x 5 x 4 = 10240, outputs
    512 x 2 x 3 x 4 x 8 = 98304; more than a step of two images. A fifth more for holes in the heap.
    """
    bytes_of_it = tile_bytes(TILE, Head(5, 3), Sizes(100, 10, 3))
    assert bytes_of_it == int(1.2 * (720 + 720 + 220 + 4000 + 10240 + 98304))


def test_folds_are_trained_side_by_side() -> None:
    """Each of 3 folds has weights, gradients and two moments of its own."""
    one, three = (tile_bytes(TILE, Head(5, 3), Sizes(0, 0, 3, folds)) for folds in (1, 3))
    assert three - one == pytest.approx(1.2 * 2 * (2 * 4 * 18 * 4), abs=1)


def test_sizes_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowed_bytes("500MB") == 500_000_000
    assert allowed_bytes("2.5GB") == 2_500_000_000
    monkeypatch.setattr(module, "free_memory", lambda: 901)
    assert allowed_bytes(None) == 450


def test_as_many_as_processors_tiles_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processors", lambda: 4)
    five = [TILE] * 5
    assert side_by_side_of(five, 100, 10**6) == 4
    assert side_by_side_of(five[:3], 100, 10**6) == 3
    assert side_by_side_of(five, 100, 299) == 2
    assert side_by_side_of(five, 100, 99) == 1


def test_the_plan_counts_the_group_that_takes_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 linear trials make two tiles of 32; two of 600 units one tile each, which take more."""
    monkeypatch.setattr(module, "processors", lambda: 2)
    rates = tuple(1e-3 * number for number in range(1, 65))
    linear = trials(cells(Settings(epochs=2), {"lr": rates}))
    wide = trials(cells(Settings(epochs=2, hidden=(600,)), {"lr": rates[:2]}))
    sizes = Sizes(100, 50, 4)
    found = residency([*linear, *wide], sizes, 10**9)
    assert (found.trials, found.groups, found.tiles) == (66, 2, 4)
    alone = residency(wide, sizes, 10**9)
    assert alone.side_by_side == alone.tiles
    assert alone.planned == alone.side_by_side * alone.largest + 2 * 50
    assert found.planned == alone.planned + 64 * 50
    halved = residency(linear, sizes, 10**9, apart=True)
    assert (halved.groups, halved.tiles, halved.side_by_side) == (1, 64, 2)


def test_an_average_and_a_checkpoint_of_a_network_by_hand() -> None:
    """`mlp` is its head alone: 3 x 8 x 8 pixels, 192 x 20000 + 20000 and 20000 x 3 + 3 numbers.

    With sgd there are weights, gradients and velocities, here of two folds, and the best: 7 P. An
    average adds 2. A checkpoint has weights, velocities, averages and the best, 7 P, twice; that is
    more than a step.
    """
    plain, averaged = (
        trial_of(
            Settings(
                model="mlp", freeze="none", weights="none", image_size=8, hidden=(20000,),
                batch_size=2, optimizer="sgd", ema=ema,
            )
        )
        for ema in (0.0, 0.9)
    )  # fmt: skip
    head = Head(192, 3, hidden=(20000,))
    assert head.parameters == 192 * 20000 + 20000 + 60003
    found = [tile_bytes((one,), head, Sizes(0, 0, 3, 2)) for one in (plain, averaged)]
    each = 1.2 * 4 * head.parameters
    assert found == [pytest.approx(each * n, rel=1e-3) for n in (7 + 2 * 5, 9 + 2 * 7)]


def test_memory_changes_no_result(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One tile at a time where not even one fits, and it is said; all at once elsewhere."""
    found = {}
    for allowed in ("1MB", "4GB"):
        run = search(
            colours, grid={"lr": [1e-3, 1e-2], "hidden": ["none", 700]}, out=tmp_path / allowed,
            console=Console(), memory=allowed, epochs=2, image_size=32, weights="none",
        )  # fmt: skip
        found[allowed] = run.trials.drop(columns="seconds")
        lines = (tmp_path / allowed / "journal.jsonl").read_text().splitlines()
        (event,) = [e for e in map(json.loads, lines) if e["event"] == "residency"]
        assert event["allowed"] == allowed_bytes(allowed)
        assert event["largest"] > 10**6
        assert 0 < event["in_use"] <= memory.anonymous_memory() * 10 or sys.platform != "linux"
    out, err = capsys.readouterr()
    assert found["1MB"].equals(found["4GB"])
    assert "groups 2, tiles 3, side by side 1: " in out
    assert err.count("a tile of trials should fit in --memory") == 1
