"""The sample of images that `draw_images` draws."""

from pathlib import Path

from tests.support.features import draw_noise, store_images
from veduta.data.pixels import Image, draw_images
from veduta.data.sample import Sample


def test_the_sample_depends_only_on_content_and_seed(tmp_path: Path) -> None:
    images, _ = store_images(draw_noise(40, 8), tmp_path)
    copy = Image(Sample(Path("z.png"), "z.png", None, None), images[5].digest)
    sample = draw_images(images, 10, seed=0, purpose="calibration")
    reordered = draw_images([copy, *reversed(images)], 10, seed=0, purpose="calibration")
    assert [image.digest for image in sample] == [image.digest for image in reordered]
    assert [image.sample.name for image in sample] == [image.sample.name for image in reordered]
    assert len({image.digest for image in sample}) == 10
    assert draw_images(images, 4, seed=0, purpose="calibration") == sample[:4]
    assert len(draw_images([*images, copy], 100, seed=0, purpose="calibration")) == 40
    assert draw_images(images, 10, seed=1, purpose="calibration") != sample
    assert draw_images(images, 10, seed=0, purpose="check") != sample
