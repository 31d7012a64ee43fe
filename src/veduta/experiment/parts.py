"""Which images a run has, and which of them serve for what."""

from veduta.data.pixels import Image, Pixels
from veduta.data.splits import assign
from veduta.errors import InputError
from veduta.experiment.materials import Materials
from veduta.experiment.plan import Plan
from veduta.experiment.recipes import resize_of

Parts = dict[str, list[Image]]
"""The images of each part, by its name."""


def gate_of(plan: Plan, materials: Materials) -> Pixels:
    """Every labelled image, decoded; all of them must not be unreadable."""
    samples = [sample for sample in plan.folder.samples if sample.label is not None]
    gate = materials.pixels(samples, resize_of(plan.trials[0].settings))
    if not any(image.sample.split != "test" for image in gate.images):
        first = gate.rejected[0]
        raise InputError(
            f"training needs images that can be read; none of {len(gate.rejected)} can: "
            f"{first.name} is {first.problem} ({first.detail})"
        )
    return gate


def split(plan: Plan, gate: Pixels) -> Parts:
    """Which image serves for what; splits that came with the data are kept."""
    settings = plan.settings
    came = {sample.split for sample in plan.folder.samples}
    where = assign(
        gate.images,
        test=None if "test" in came else settings.test,
        validation=None if "validation" in came else settings.validation,
        seed=settings.seed,
        folds=settings.folds,
    )
    parts: dict[str, list[Image]] = {"train": [], "validation": [], "test": []}
    for image, part in zip(gate.images, where, strict=True):
        parts[part].append(image)
    _expect_parts(plan, parts)
    return parts


def _expect_parts(plan: Plan, parts: Parts) -> None:
    """Every class trains, and something chooses: splits that came may hold nothing readable."""
    trained = {image.sample.label for image in parts["train"]}
    lost = [repr(name) for name in plan.folder.classes if name not in trained]
    faults = []
    if lost:
        faults.append(
            "each class needs at least one training image that can be read; there is none of "
            f"{', '.join(lost)}: repair the files, or leave the class out"
        )
    if not parts["validation"] and not plan.settings.folds:
        faults.append(
            "the validation images choose the winner; none of them can be read: repair them, or "
            "leave them out, and a share of the training images will choose"
        )
    if error := InputError.unless_empty(faults):
        raise error
