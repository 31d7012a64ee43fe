"""Small pictures of files, as a page carries them: made from what every other command sees."""

import io
from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from veduta.data.decode import decode, read_file
from veduta.data.reading import in_chunks
from veduta.data.sample import Sample
from veduta.errors import DecodeError
from veduta.report.pictures import data_address
from veduta.runtime.environment import processors

SIDE = 160  # pixels of the longer side
QUALITY = 72


def thumbnails(
    samples: Sequence[Sample], progress: Callable[[int, int], None]
) -> Mapping[str, str]:
    """Pictures of `samples`, by name, as addresses that hold them.

    What cannot be decoded (any more) has none.
    """
    different = list({sample.name: sample for sample in samples}.values())
    found: dict[str, str] = {}
    done = 0
    for made in in_chunks(_thumbnail, different, processors()):
        found |= {name: address for name, address in made if address}
        done += len(made)
        progress(done, len(different))
    return found


def _thumbnail(sample: Sample) -> tuple[str, str | None]:
    try:
        image = Image.fromarray(decode(read_file(sample.path)))
    except DecodeError:
        return sample.name, None
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    drawn = io.BytesIO()
    image.save(drawn, format="WEBP", quality=QUALITY, method=2)
    return sample.name, data_address(drawn.getvalue(), "image/webp")
