"""Which images the report of a run shows: some of each cell, the most telling mistakes, doubts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import pandas as pd

from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.mistakes import (
    group_by_cell,
    select_confident_errors,
    select_uncertain_correct,
    tabulate_predictions,
)

A_CELL: Final = 24  # images of a cell of the confusion matrix, at most
ALL_CELLS: Final = 800  # of all cells together, so that a page stays small
ERRORS, HITS, DOUBTED = 15, 9, 24

Cells = Mapping[tuple[str, str], Sequence[str]]


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """Images by their paths.

    Attributes:
        cells: of each cell (truth, label), those with most images first.
        gallery: those shown large, and the class predicted for each: wrong ones, the most
            confident first, then right ones, the least confident first.
        doubted: labels that models doubt, the most doubtful first.
    """

    cells: Cells
    gallery: Mapping[str, int]
    doubted: tuple[str, ...]

    @property
    def thumbnails(self) -> tuple[str, ...]:
        """Every image that is shown small, once."""
        paths = [path for cell in self.cells.values() for path in cell]
        return tuple(dict.fromkeys([*paths, *self.doubted]))


def shown_of(
    images: pd.DataFrame, classes: Sequence[str], issues: pd.DataFrame | None = None
) -> Shown:
    """What a report shows of judged images.

    Args:
        images: a row an image, as `tabulate_predictions` gives it.
        classes: their names.
        issues: as `find_label_issues` gives them, where there are folds.
    """
    doubted = issues.loc[issues["issue"], "path"].head(DOUBTED) if issues is not None else ()
    chosen = pd.concat(
        [select_confident_errors(images).head(ERRORS), select_uncertain_correct(images).head(HITS)]
    )
    number = {name: place for place, name in enumerate(classes)}
    labels = [number[label] for label in chosen["label"]]
    gallery = dict(zip(chosen["path"], labels, strict=True))
    return Shown(cells_of(images), gallery, tuple(doubted))


def table_of(judged: LabeledPredictions) -> pd.DataFrame:
    """A row an image: path, truth, label and its calibrated probability."""
    return tabulate_predictions(judged.paths, judged.y_true, judged.probabilities, judged.classes)


def cells_of(images: pd.DataFrame, *, most: int = A_CELL, together: int = ALL_CELLS) -> Cells:
    """The images of each cell: at most `most`, and fewer where all would be more than `together`.

    Room is shared evenly: every cell may show as many, and errors come before hits.
    """
    cells = group_by_cell(images, limit=most)
    sizes = [len(table) for table in cells.values()]
    each = next((n for n in range(most, 1, -1) if sum(min(n, s) for s in sizes) <= together), 1)
    ordered = sorted(cells.items(), key=lambda cell: cell[0][0] == cell[0][1])
    found, room = {}, together
    for cell, table in ordered:
        found[cell] = tuple(table["path"].head(min(each, room)))
        room -= len(found[cell])
    return {cell: found[cell] for cell in cells if found[cell]}
