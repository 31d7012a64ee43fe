"""Random images, models, configurations and tables give results or errors of Veduta, no others.

A quick and repeatable pass by default. VEDUTA_FUZZ=100 makes a hundred times as many examples, new
ones each time; `make fuzz` does that.
"""

import json
import os
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import fuzz_targets
from veduta.config.parsing import parse_assignments, parse_grid, parse_settings
from veduta.config.settings import Settings

FACTOR = int(os.environ.get("VEDUTA_FUZZ", "1"))


def make_profile(count: int) -> settings:
    """Return the settings of hypothesis for this number of examples, times VEDUTA_FUZZ."""
    return settings(max_examples=count * FACTOR, deadline=None, derandomize=FACTOR == 1)


TREE = {name: (run, seeds) for name, (run, seeds) in fuzz_targets.list_targets().items()}
CASES = [(name, seed) for name, (_, seeds) in TREE.items() for seed in range(len(seeds))]
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 8), st.binary(max_size=8)), max_size=6
)
QUICK = {"decode": 60, "manifest": 60, "tensors": 80, "configuration": 150, "table": 100}


def edit_bytes(seed: bytes, edits: list[tuple[int, int, bytes]], cut: int | None) -> bytes:
    """Return bytes of which some are replaced, inserted or removed, and the end cut off."""
    data = bytearray(seed)
    for position, removed, inserted in edits:
        start = position % (len(data) + 1)
        data[start : start + removed] = inserted
    return bytes(data if cut is None else data[: cut % (len(data) + 1)])


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_mutated_bytes_of_each_kind(name: str, seed: int) -> None:
    run, seeds = TREE[name]

    @make_profile(QUICK[name])
    @given(edits=EDITS, cut=st.none() | st.integers(0, 10**6))
    def mutate(edits: list[tuple[int, int, bytes]], cut: int | None) -> None:
        run(edit_bytes(seeds[seed], edits, cut))

    mutate()


NUMBERS = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 10**30, -1, 0])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=9)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def list_paths(content: Any, parent: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the keys and indices that lead to each value in nested lists and dictionaries."""
    paths = [parent] if parent else []
    inner = content
    if isinstance(content, list):
        inner = dict(enumerate(content))
    for key, value in inner.items() if isinstance(inner, dict) else ():
        paths += list_paths(value, (*parent, key))
    return paths


@make_profile(200)
@given(data=st.data(), value=VALUES)
def test_a_manifest_with_another_value(data: st.DataObject, value: object) -> None:
    content = json.loads(TREE["manifest"][1][0])
    *keys, last = data.draw(st.sampled_from(list_paths(content)))
    inner = content
    for key in keys:
        inner = inner[key]
    inner[last] = value
    TREE["manifest"][0](json.dumps(content).encode())


@make_profile(60)
@given(value=VALUES, name=st.sampled_from([*Settings.model_fields, "grid", "more"]))
def test_a_setting_with_another_value(value: object, name: str) -> None:
    for values in ({name: value}, {"grid": {name: value}}):
        TREE["configuration"][0](yaml.safe_dump(values, allow_unicode=True).encode())
    _, errors = parse_settings({name: value})
    _, grid_errors = parse_grid({name: value})
    assert all("\n" not in error for error in (*errors, *grid_errors))


@make_profile(100)
@given(words=st.lists(st.text(), max_size=5))
def test_any_words_after_grid(words: list[str]) -> None:
    parse_grid(parse_assignments(words))


@make_profile(100)
@given(rows=st.lists(st.lists(st.text(max_size=9), max_size=4), max_size=6))
def test_a_table_with_other_rows(rows: list[list[str]]) -> None:
    text = "image_path,label\n" + "\n".join(",".join(row) for row in rows)
    TREE["table"][0](text.encode("utf-8", "surrogatepass"))


BILLION = "a: &a [1, 1]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)

TEXTS = {
    "an invalid date": "lr: 2001-99-99",
    "a number of too many digits": f"seed: {'9' * 5000}",
    "a number of base 60, too large": f"lr: 1{':59' * 300}.5",
    "an invalid boolean": "lr: !!bool maybe",
    "lists a thousand deep": f"lr: {'[' * 3000}",
    "an object of Python": "lr: !!python/object/apply:os.system ['true']",
    "a name that is a number, in a grid": "grid: {1: [2]}",
    "a name that is null": "grid: {~: 1}",
    "a list that contains itself": "lr: &a [*a]",
    "a billion values": f"{BILLION}lr: *l\nhidden: *l\ngrid: {{lr: *f}}",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_malicious_configuration(kind: str) -> None:
    TREE["configuration"][0](TEXTS[kind].encode())


def test_an_error_of_another_class_is_not_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fuzz_targets, "decode", {}.__getitem__)
    with pytest.raises(KeyError):
        fuzz_targets.decode_image(b"")
