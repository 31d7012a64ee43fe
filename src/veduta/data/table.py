"""A CSV file `image_path,label[,split]` as samples: the layout of data that live in a database."""

import csv
from collections import Counter
from pathlib import Path

from veduta.config.parsing import suggestion
from veduta.data.files import exists
from veduta.data.sample import SPLITS, Folder, Sample, some, split_of
from veduta.errors import InputError

NEEDED, OPTIONAL = ("image_path", "label"), ("split",)


def read_table(path: Path) -> tuple[Folder, list[str]]:
    """The samples of a CSV file, and the faults of its rows; paths are relative to its folder.

    White space around a label, a split or a path is dropped; around the path of a file that exists
    under this very name, it stays.

    Raises:
        InputError: it is no such table.
    """
    header, rows = _rows(path)
    if faults := _header_faults(path, header):
        raise InputError(*faults)
    records = [_record(path.parent, header, row) for _, row in rows if len(row) == len(header)]
    faults = _row_faults(path, header, rows, records)
    samples = [_sample(path.parent, record) for record in records]
    trained = {sample.label for sample in samples if sample.split in {None, "train"}}
    classes = tuple(sorted(label for label in trained if label is not None))
    ordered = tuple(sorted(samples, key=lambda sample: sample.name))
    return Folder(path.parent, "table", classes, ordered, 0), faults


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"a table must be a CSV file in UTF-8; {path}: {reason}; save it again as such"
        ) from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    return header, rows[1:]


def _record(root: Path, header: list[str], row: list[str]) -> dict[str, str]:
    """The fields of a row by the names of their columns."""
    record = {name: value.strip() for name, value in zip(header, row, strict=True)}
    written = row[header.index("image_path")]
    if written != record["image_path"] and written.strip() and exists(root / written):
        record["image_path"] = written
    return record


def _header_faults(path: Path, header: list[str]) -> list[str]:
    rule = f"{path.name}: a table has the columns image_path,label[,split]"
    known = (*NEEDED, *OPTIONAL)
    faults = [
        f"{rule}; got {name!r}; {suggestion(name, known)}" for name in header if name not in known
    ]
    faults += [
        f"{rule}; {name} is missing; add it to the first line"
        for name in NEEDED
        if name not in header
    ]
    faults += [
        f"{rule}; {name} stands there {count} times; keep one"
        for name, count in Counter(header).items()
        if count > 1
    ]
    return faults


def _row_faults(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], records: list[dict[str, str]]
) -> list[str]:
    def fault(rule: str, wrong: list[str], cure: str) -> None:
        if wrong:
            faults.append(f"{path.name}: {rule}; not so for {len(wrong)}: {some(wrong)}; {cure}")

    faults: list[str] = []
    if not rows:
        faults.append(f"{path.name}: a table has a row for each image; it has none; add them")
    ragged = [f"line {line}" for line, row in rows if len(row) != len(header)]
    fault(f"every row has {len(header)} fields, as the header", ragged, "quote commas in names")
    names = [record["image_path"] for record in records]
    missing = [name for name in dict.fromkeys(names) if not name or not exists(path.parent / name)]
    fault("every image_path leads from the table's folder to a file", missing, "correct the paths")
    again = [name for name, count in Counter(names).items() if count > 1]
    fault("every image_path stands in one row", again, "remove the others")
    splits = {name: split_of(name) for name in dict.fromkeys(r.get("split", "") for r in records)}
    if "split" in header:
        strange = [name for name, split in splits.items() if split is None]
        cure = suggestion(strange[0].lower(), SPLITS) if strange else ""
        fault("every split is train, validation, test or predict", strange, cure)
    blank = [
        r["image_path"]
        for r in records
        if not r["label"] and splits[r.get("split", "")] != "predict"
    ]
    fault("every image has a label, unless its split is predict", blank, "fill them in")
    return faults


def _sample(root: Path, record: dict[str, str]) -> Sample:
    split = split_of(record["split"]) if "split" in record else None
    label = None if split == "predict" else record["label"]
    return Sample(root / record["image_path"], record["image_path"], label, split)
