"""From images to frozen features: pixels, networks, engines and features, each computed once."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from veduta.augment.views import PLAIN, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image, Pixels, Resize, load_pixels, pixel_store
from veduta.data.row_store import Rows
from veduta.data.sample import Sample, some
from veduta.errors import VedutaError
from veduta.experiment.feature_spec import Networks, Recipe, recipe_of, resize_of
from veduta.features import engines as agreement
from veduta.features import engines as measuring
from veduta.features import quantized as quantised
from veduta.features.engines import FASTEST, TORCH, candidates
from veduta.features.openvino_engine import F32
from veduta.features.quantized import drawn
from veduta.features.store import Extractor, load_features, load_views
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import Network
from veduta.runtime.environment import processors
from veduta.tracking.console import Console


def fastest(backbone: Backbone, pixels: Rows, console: Console) -> tuple[str, dict[str, float]]:
    """The engine that was quickest on `pixels` just now, and images a second of each."""
    rates = measuring.measure(candidates(), backbone, pixels.take(), threads=processors())
    name = max(rates, key=lambda one: rates[one])
    told = ", ".join(f"{engine} {rate:,.0f}" for engine, rate in rates.items())
    console.say(f"engine      {name}, the fastest here; images a second: {told}")
    return name, {engine: round(rate, 1) for engine, rate in rates.items()}


def quantise(
    extractor: Extractor, images: Sequence[Image], pixels: Rows, *, cache: Path, console: Console
) -> Extractor:
    """The extractor in int8, calibrated on `images`, whose pixels are aligned with them."""
    with console.stage("calibrating int8", "images") as advance:
        made = quantised.quantised(
            extractor.backbone, extractor.spec(), images, pixels, cache=cache, progress=advance
        )
    return replace(extractor, quantised=made)


def check(
    extractor: Extractor, images: Sequence[Image], pixels: Rows, *, cache: Path, console: Console
) -> dict[str, Any] | None:
    """How far the features of `images` are from torch's in float32; None where it is torch's.

    Both come from the cache where they are known: the reference is kept there like any features.
    """
    if extractor.engine == TORCH:
        return None
    reference = replace(extractor, engine=TORCH, quantised=None)
    ours, theirs = (
        load_features(images, pixels, one, cache=cache).rows.take()
        for one in (extractor, reference)
    )
    found = agreement.agreement(ours, theirs)
    precision = str(extractor.spec()["precision"])
    text = (
        f"{extractor.engine} {precision} against {agreement.REFERENCE}, {found.images} images: "
        f"features differ by at most {found.largest_difference:.2g} of their length, smallest "
        f"cosine {found.smallest_cosine:.4f}"
    )
    if precision != F32:
        console.say(text)
    elif not found.largest_difference <= agreement.ROUNDING:
        console.warn(f"{text}; more than {agreement.ROUNDING:g} is not rounding")
    return found.as_dict()


@dataclass(slots=True)
class Materials:
    """Makes pixels and features on demand; what recipes share is made once.

    `reused` and `made` count rows by stage, `seconds` the time, for the summary. On images of
    `training` engines are measured, calibrated and checked; `checks` is what came of it, by recipe.
    """

    engine: str
    seed: int
    cache: Path
    console: Console
    precision: str = F32
    training: Sequence[Image] = ()
    checks: dict[Recipe, dict[str, Any] | None] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=lambda: {"pixels": 0, "features": 0})
    made: dict[str, int] = field(default_factory=lambda: {"pixels": 0, "features": 0})
    seconds: dict[str, float] = field(default_factory=lambda: {"pixels": 0.0, "features": 0.0})
    networks: Networks = field(init=False)
    _kept: dict[Recipe, Extractor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.networks = Networks(self.seed, self.cache)

    def pixels(self, samples: Sequence[Sample], resize: Resize) -> Pixels:
        """Pixels of `samples`; what cannot be read is listed, never replaced."""
        started = time.perf_counter()
        with self.console.stage(f"reading at {resize.size} px", "images") as advance:
            found = load_pixels(
                samples, resize, cache=self.cache, progress=advance, threads=processors()
            )
        self._count("pixels", found.reused, found.decoded, time.perf_counter() - started)
        if found.rejected:
            self.console.warn(f"{len(found.rejected)} files cannot be read and are left out")
        return found

    def network(self, settings: Settings) -> Network | None:
        """The backbone in int8, where that is what runs."""
        made = self._extractor(settings).quantised
        return made.network if made else None

    def settle_engine(self, settings: Settings) -> dict[str, Any]:
        """Measure, once, which engine is the fastest on `settings`, where that one is asked for.

        Returns what the journal says of it; nothing where the engine was settled before.
        """
        if self.engine != FASTEST:
            return {}
        chosen = drawn(self.training, measuring.SPEED_IMAGES, seed=self.seed, purpose="engine")
        pixels = self.pixels_of(chosen, resize_of(settings))
        self.engine, rates = fastest(self._built(settings).backbone, pixels, self.console)
        self._kept.clear()
        return {"engine_measured": rates}

    def _extractor(self, settings: Settings) -> Extractor:
        """Network and engine of `settings`, in the precision of the run."""
        extractor = self._built(settings)
        if self.precision == F32 or extractor.quantised:
            return extractor
        chosen = drawn(self.training, quantised.IMAGES, seed=self.seed, purpose="calibration")
        pixels = self.pixels_of(chosen, extractor.resize)
        made = quantise(extractor, chosen, pixels, cache=self.cache, console=self.console)
        self._kept[recipe_of(settings)] = made
        return made

    def _built(self, settings: Settings) -> Extractor:
        """Frozen network and engine of `settings`; those last asked for are kept."""
        recipe = recipe_of(settings)
        if recipe not in self._kept:
            self._kept.clear()
            frozen, resize = self.networks.frozen(settings), resize_of(settings)
            self._kept[recipe] = Extractor(frozen, self.engine, resize, processors())
        return self._kept[recipe]

    def expect_backbones(self, wanted: Iterable[Settings]) -> dict[str, str]:
        """Build the backbone of every recipe, so that weights that do not fit are known early.

        Returns:
            SHA-256 of their tensors, by model, weights and options.

        Raises:
            WeightsError: weights are missing, damaged or of another architecture.
        """
        recipes = {recipe_of(settings)[:3]: settings for settings in wanted}
        return {
            " ".join(str(part) for part in recipe if part): self.networks.backbone(
                settings
            ).weights_sha256
            for recipe, settings in reversed(recipes.items())
        }

    def features(
        self, images: Sequence[Image], settings: Settings, views: Sequence[View]
    ) -> list[Rows]:
        """Frozen features (N, ...) of `images`, in their order: one table a view.

        Where nothing is frozen the features of the plain image are its pixels.
        """
        if not views:
            return []
        pixels = self.pixels_of(images, resize_of(settings))
        if settings.freeze == "none":
            return [pixels]
        started = time.perf_counter()
        extractor = self._extractor(settings)
        several = f", {len(views)} views" if len(views) > 1 else ""
        cut = "" if settings.freeze == "all" else f", {settings.freeze} stages"
        title = f"features by {settings.model}{cut}{several}"
        with self.console.stage(title, "images") as advance:
            found = load_views(
                images, pixels, extractor, views=views, cache=self.cache, progress=advance
            )
        self._check(settings, extractor)
        reused, made = sum(one.reused for one in found), sum(one.computed for one in found)
        self._count("features", reused, made, time.perf_counter() - started)
        return [one.rows for one in found]

    def features_again(self, images: Sequence[Image], settings: Settings) -> Rows:
        """Frozen features (N, ...) of plain images that have been made: none is counted anew."""
        pixels, extractor = self.pixels_of(images, resize_of(settings)), self._extractor(settings)
        (found,) = load_views(
            images,
            pixels,
            extractor,
            views=(PLAIN,),
            cache=self.cache,
            progress=lambda _done, _all: None,
        )
        return found.rows

    def _check(self, settings: Settings, extractor: Extractor) -> None:
        """Compare the engine with the reference, once a recipe."""
        recipe = recipe_of(settings)
        if self.training and recipe not in self.checks:
            chosen = drawn(
                self.training, agreement.AGREEMENT_IMAGES, seed=self.seed, purpose="check"
            )
            pixels = self.pixels_of(chosen, extractor.resize)
            self.checks[recipe] = check(
                extractor, chosen, pixels, cache=self.cache, console=self.console
            )

    def pixels_of(self, images: Sequence[Image], resize: Resize) -> Rows:
        """Pixels of images that were read before, aligned with them; from the files where gone."""
        store = pixel_store(resize, self.cache)
        digests = [image.digest for image in images]
        if store.missing(digests):
            self.pixels([image.sample for image in images], resize)
            self._expect_all(images, store.missing(digests))
        return store.rows(digests)

    def _expect_all(self, images: Sequence[Image], missing: Sequence[str]) -> None:
        lost = sorted(image.sample.name for image in images if image.digest in set(missing))
        if lost:
            raise VedutaError(
                f"images must stay as they are during a run; {some(lost)} changed or went: "
                "put them back, and run it again"
            )

    def _count(self, stage: str, reused: int, made: int, seconds: float) -> None:
        self.reused[stage] += reused
        self.made[stage] += made
        self.seconds[stage] += seconds
        if reused:
            self.console.say(f"  {reused:,} of them from the cache: the same {stage} as before")
