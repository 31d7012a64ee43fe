"""What the problems of a data set mean, in a sentence a person can act on."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """A heading, and what it is about."""

    title: str
    told: str


MEANINGS = {
    "leak": Meaning(
        "Leaks",
        "The same image, pixel for pixel, in more than one split. A model that knows an image by "
        "heart is judged by it: its score flatters. The copy that would train is dropped.",
    ),
    "conflict": Meaning(
        "Conflicting labels",
        "The same image, pixel for pixel, under more than one label. One of them is wrong.",
    ),
    "near leak": Meaning(
        "Look-alikes in more than one split",
        "Images that look alike and are not identical: another size, another frame, a retouched "
        "copy. Nothing is dropped for it; look whether they show one thing.",
    ),
    "near conflict": Meaning(
        "Look-alikes with several labels",
        "Images that look alike under several labels: a wrong label, or classes that overlap.",
    ),
    "duplicate": Meaning(
        "Duplicates",
        "The same image, pixel for pixel, more than once in a class: it counts for more than the "
        "others. Copies stay together when images are divided.",
    ),
    "near duplicate": Meaning(
        "Look-alikes of one class",
        "Images that look alike and may: they teach less than their number says. Where only the "
        "division of a training put them in several splits, its score flatters a little: put them "
        "in one split yourself. One that is to be predicted has no class, and leaks nothing.",
    ),
    "more look-alikes": Meaning(
        "More look-alikes",
        "So many images look alike that only the nearest of each are named; frames of a film do.",
    ),
    "predict copy": Meaning(
        "Copies to be predicted",
        "The same image, pixel for pixel, among those to be predicted. A training leaves these "
        "alone; that a model knows such an image by heart tells nothing about others.",
    ),
    "missing class": Meaning("Classes missing from a split", ""),
    "tiny class": Meaning("Tiny classes", ""),
    "uneven classes": Meaning("Uneven classes", ""),
    "blank": Meaning("Blank images", "All of one colour: there is nothing to learn from."),
    "dark": Meaning("Dark images", "Nearly black."),
    "bright": Meaning("Bright images", "Nearly white."),
    "blurred": Meaning("Blurred images", "Hardly an edge in them: out of focus, or enlarged."),
    "odd shape": Meaning(
        "Odd shapes", "Much longer than broad: what is resized to a square is squashed."
    ),
    "tiny image": Meaning("Tiny images", "A few pixels across: there is little to see."),
    "wrong extension": Meaning(
        "Wrong extensions", "Read by what they hold; other programs may go by the name."
    ),
    "animated": Meaning("Animations", "The first frame is used."),
    "rotated": Meaning(
        "Rotated by their camera", "Turned upright here; programs that do not see them lying."
    ),
    "16-bit": Meaning("16 bits a channel", "Scaled to 8 bits."),
    "not RGB": Meaning("Other colours than RGB", "Grey, palette or CMYK: converted to RGB."),
    "transparent": Meaning("Transparent images", "Laid on white."),
}


def meaning_of(problem: str) -> Meaning:
    """What a problem means; a word that is not known here speaks for itself."""
    return MEANINGS.get(problem, Meaning(problem.capitalize(), ""))
