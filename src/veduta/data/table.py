"""Read the samples of a data set from a CSV file with the columns `image_path,label[,split]`."""

import csv
from collections import Counter
from pathlib import Path

from veduta.data.files import path_exists
from veduta.data.sample import PREDICT, SPLITS, TRAIN, Folder, Sample, abbreviate_names, parse_split
from veduta.errors import InputError, suggest_name

REQUIRED_COLUMNS, OPTIONAL_COLUMNS = ("image_path", "label"), ("split",)


def read_table(path: Path) -> tuple[Folder, list[str]]:
    """Return the data set that a CSV file lists, and the faults in its rows.

    Paths are relative to the folder of the file. White space around a label, a split or a path is
    removed, except around a path under which a file exists.

    Raises:
        InputError: the file is not a table with the required columns.
    """
    header, rows = _read_rows(path)
    if faults := _find_header_faults(path, header):
        raise InputError(*faults)
    records = [_parse_row(path.parent, header, row) for _, row in rows if len(row) == len(header)]
    faults = _find_row_faults(path, header, rows, records)
    samples = [_build_sample(path.parent, record) for record in records]
    train_labels = {sample.label for sample in samples if sample.split in {None, TRAIN}}
    classes = tuple(sorted(label for label in train_labels if label is not None))
    sorted_samples = tuple(sorted(samples, key=lambda sample: sample.name))
    return Folder(path.parent, "table", classes, sorted_samples, 0), faults


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and the line number and fields of each row.

    pandas is not used because it does not report the line numbers of rows with missing or extra
    fields.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"a table must be a CSV file in UTF-8; {path}: {reason}; save it as UTF-8 CSV"
        ) from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    return header, rows[1:]


def _parse_row(root: Path, header: list[str], row: list[str]) -> dict[str, str]:
    """Return the fields of a row as a dict, by column name."""
    record = {name: value.strip() for name, value in zip(header, row, strict=True)}
    written_path = row[header.index("image_path")]
    is_stripped = written_path != record["image_path"]
    if is_stripped and written_path.strip() and path_exists(root / written_path):
        record["image_path"] = written_path
    return record


def _find_header_faults(path: Path, header: list[str]) -> list[str]:
    """Return a fault for each unknown, missing or repeated column."""
    rule = f"{path.name}: a table must have the columns image_path,label[,split]"
    columns = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    faults = [
        f"{rule}; got {name!r}; {suggest_name(name, columns)}"
        for name in header
        if name not in columns
    ]
    faults += [
        f"{rule}; {name} is missing; add it to the first line"
        for name in REQUIRED_COLUMNS
        if name not in header
    ]
    faults += [
        f"{rule}; {name} occurs {count} times; keep one"
        for name, count in Counter(header).items()
        if count > 1
    ]
    return faults


def _find_row_faults(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], records: list[dict[str, str]]
) -> list[str]:
    """Return one fault per violated rule, with the first few rows that violate it."""

    def add_fault(rule: str, values: list[str], cure: str) -> None:
        if values:
            examples = f"violated by {len(values)}: {abbreviate_names(values)}"
            faults.append(f"{path.name}: {rule}; {examples}; {cure}")

    faults: list[str] = []
    if not rows:
        faults.append(
            f"{path.name}: a table must have a row for each image; it has no rows; add them"
        )
    ragged = [f"line {line}" for line, row in rows if len(row) != len(header)]
    rule = f"every row must have {len(header)} fields, like the header"
    add_fault(rule, ragged, "quote names that contain commas")
    paths = [record["image_path"] for record in records]
    missing = [
        name for name in dict.fromkeys(paths) if not name or not path_exists(path.parent / name)
    ]
    rule = "every image_path must exist relative to the folder of the table"
    add_fault(rule, missing, "correct the paths")
    repeated = [name for name, count in Counter(paths).items() if count > 1]
    add_fault("every image_path must occur only once", repeated, "remove the repeated rows")
    splits = {
        name: parse_split(name) for name in dict.fromkeys(r.get("split", "") for r in records)
    }
    if "split" in header:
        unknown = [name for name, split in splits.items() if split is None]
        cure = suggest_name(unknown[0].lower(), SPLITS) if unknown else ""
        add_fault("every split must be train, validation, test or predict", unknown, cure)
    unlabeled = [
        record["image_path"]
        for record in records
        if not record["label"] and splits[record.get("split", "")] != PREDICT
    ]
    rule = "every image must have a label, unless its split is predict"
    add_fault(rule, unlabeled, "add the labels")
    return faults


def _build_sample(root: Path, record: dict[str, str]) -> Sample:
    """Return the sample of a row."""
    split = parse_split(record["split"]) if "split" in record else None
    label = None if split == PREDICT else record["label"]
    return Sample(root / record["image_path"], record["image_path"], label, split)
