"""From images to frozen features: pixels, engine and features, each computed once.

`PixelLoader` decodes images, `create_feature_pipeline` chooses the engine once, and
`FeaturePipeline` computes features; all of it is kept in the cache. `Timings` counts both stages.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from veduta.augment.views import PLAIN, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image, Pixels, Resize, draw_images, load_pixels, open_pixel_store
from veduta.data.row_store import Rows
from veduta.data.sample import Sample, abbreviate_names
from veduta.errors import VedutaError
from veduta.experiment.feature_spec import (
    BackboneLoader,
    FeatureSpec,
    build_feature_spec,
    build_resize,
)
from veduta.features import engines, quantized
from veduta.features.engines import FASTEST, TORCH, list_candidate_engines
from veduta.features.openvino_engine import F32
from veduta.features.store import Extractor, load_features, load_views
from veduta.runs.artifact import IntermediateRepresentation
from veduta.runs.provenance import EngineChoice
from veduta.runs.summary import Durations, EngineAgreement, RowCounts
from veduta.runtime.environment import count_cores
from veduta.tracking.console import Console
from veduta.types import ignore_progress

Stage = Literal["pixels", "features"]


@final
class Timings:
    """Number of rows and seconds of the stages `pixels` and `features` of one run."""

    def __init__(self) -> None:
        self._from_cache = Counter[Stage]()
        self._computed = Counter[Stage]()
        self._seconds: dict[Stage, float] = {"pixels": 0.0, "features": 0.0}

    def add(self, stage: Stage, *, from_cache: int, computed: int, seconds: float) -> None:
        """Count rows of a stage, and the seconds that they took."""
        self._from_cache[stage] += from_cache
        self._computed[stage] += computed
        self._seconds[stage] += seconds

    @property
    def rows_from_cache(self) -> RowCounts:
        """Number of rows that the cache held."""
        return _count_rows(self._from_cache)

    @property
    def rows_computed(self) -> RowCounts:
        """Number of rows that were computed."""
        return _count_rows(self._computed)

    def summarize(self, *, training: float, total: float) -> Durations:
        """Return the seconds of all stages of a run."""
        return Durations.rounded(
            pixels=self._seconds["pixels"],
            features=self._seconds["features"],
            training=training,
            total=total,
        )


def _count_rows(rows: Counter[Stage]) -> RowCounts:
    return RowCounts(pixels=rows["pixels"], features=rows["features"])


@final
@dataclass(frozen=True, slots=True)
class PixelLoader:
    """Decodes and resizes images, and keeps their pixels in the cache."""

    cache: Path
    console: Console
    timings: Timings = field(default_factory=Timings)

    def load(self, samples: Sequence[Sample], resize: Resize) -> Pixels:
        """Return the images of samples; files that cannot be decoded are listed as rejected."""
        started = time.perf_counter()
        with self.console.stage(f"reading at {resize.size} px", "images") as advance:
            pixels = load_pixels(
                samples, resize, cache=self.cache, progress=advance, threads=count_cores()
            )
        seconds = time.perf_counter() - started
        self.timings.add(
            "pixels", from_cache=pixels.from_cache, computed=pixels.decoded, seconds=seconds
        )
        _say_reuse(self.console, "pixels", pixels.from_cache)
        if pixels.rejected:
            self.console.warn(f"{len(pixels.rejected)} files cannot be read and are left out")
        return pixels

    def load_rows(self, images: Sequence[Image], resize: Resize) -> Rows:
        """Return the pixels of images that were decoded before, in their order.

        Images whose pixels the cache lost, or has in another size, are decoded from their files.

        Raises:
            VedutaError: a file changed or is missing.
        """
        store = open_pixel_store(resize, self.cache)
        digests = [image.digest for image in images]
        if store.find_missing(digests):
            self.load([image.sample for image in images], resize)
            _expect_present(images, store.find_missing(digests))
        return store.load_rows(digests)


def _expect_present(images: Sequence[Image], missing_digests: Sequence[str]) -> None:
    missing = set(missing_digests)
    if names := sorted(image.sample.name for image in images if image.digest in missing):
        raise VedutaError(
            f"images must not change during a run; {abbreviate_names(names)} changed or cannot be "
            "found: restore them, and run the command again"
        )


def _say_reuse(console: Console, stage: Stage, rows: int) -> None:
    if rows:
        console.say(f"  {stage} of {rows:,} of them loaded from the cache")


@final
@dataclass(frozen=True, slots=True)
class FeaturePipeline:
    """Computes frozen features of images, and keeps them in the cache.

    Attributes:
        pixels: loads the pixels of images.
        backbones: builds backbones.
        backbone_digests: SHA-256 of the initial weights, by model, weights and options.
        engine: engine and precision that compute features.
        training_images: images that calibrate int8, and on which the engine is compared with the
            reference.
    """

    pixels: PixelLoader
    backbones: BackboneLoader
    backbone_digests: Mapping[str, str]
    engine: EngineChoice
    training_images: Sequence[Image]
    _last: dict[FeatureSpec, Extractor] = field(init=False, default_factory=dict)
    _agreements: dict[FeatureSpec, EngineAgreement | None] = field(init=False, default_factory=dict)

    def compute(
        self, images: Sequence[Image], settings: Settings, views: Sequence[View]
    ) -> list[Rows]:
        """Return frozen features (N, ...) of N images, in their order: one table per view.

        If nothing is frozen, the features of the plain image are its pixels.
        """
        if not views:
            return []
        pixels = self.pixels.load_rows(images, build_resize(settings))
        if settings.trains_whole_backbone:
            return [pixels]
        started = time.perf_counter()
        extractor = self._load_extractor(settings)
        with self.pixels.console.stage(_describe(settings, views), "images") as advance:
            tables = load_views(
                images, pixels, extractor, views=views, cache=self.pixels.cache, progress=advance
            )
        self._compare_engine(settings, extractor)
        from_cache = sum(table.reused for table in tables)
        self.pixels.timings.add(
            "features",
            from_cache=from_cache,
            computed=sum(table.computed for table in tables),
            seconds=time.perf_counter() - started,
        )
        _say_reuse(self.pixels.console, "features", from_cache)
        return [table.rows for table in tables]

    def load_computed(self, images: Sequence[Image], settings: Settings) -> Rows:
        """Return frozen features (N, ...) of plain images that were computed before.

        They are not counted again.
        """
        pixels = self.pixels.load_rows(images, build_resize(settings))
        (table,) = load_views(
            images,
            pixels,
            self._load_extractor(settings),
            views=(PLAIN,),
            cache=self.pixels.cache,
            progress=ignore_progress,
        )
        return table.rows

    def load_quantized_network(self, settings: Settings) -> IntermediateRepresentation | None:
        """Return the backbone in int8; None if it runs in float32."""
        network = self._load_extractor(settings).quantized
        return network.network if network else None

    def get_agreement(self, settings: Settings) -> EngineAgreement | None:
        """Return how far the engine deviated from the reference on features that were computed."""
        return self._agreements.get(build_feature_spec(settings))

    def _load_extractor(self, settings: Settings) -> Extractor:
        """Return frozen network and engine of settings; the last ones are kept in memory."""
        spec = build_feature_spec(settings)
        if spec not in self._last:
            self._last.clear()
            extractor = Extractor(
                self.backbones.load_frozen(settings),
                self.engine.name,
                build_resize(settings),
                count_cores(),
            )
            self._last[spec] = extractor
            if self.engine.precision != F32:
                self._last[spec] = self._quantize(extractor)
        return self._last[spec]

    def _quantize(self, extractor: Extractor) -> Extractor:
        """Return an extractor in int8, calibrated on training images."""
        images = draw_images(
            self.training_images,
            quantized.CALIBRATION_IMAGES,
            seed=self.backbones.seed,
            purpose="calibration",
        )
        pixels = self.pixels.load_rows(images, extractor.resize)
        with self.pixels.console.stage("calibrating int8", "images") as advance:
            network = quantized.load_quantized_backbone(
                extractor.backbone,
                extractor.spec(),
                images,
                pixels,
                cache=self.pixels.cache,
                progress=advance,
            )
        return replace(extractor, quantized=network)

    def _compare_engine(self, settings: Settings, extractor: Extractor) -> None:
        """Compare the engine with the reference, PyTorch in float32; once per feature spec.

        Both features come from the cache where they were computed before.
        """
        spec = build_feature_spec(settings)
        if spec in self._agreements:
            return
        self._agreements[spec] = None
        if extractor.engine == TORCH or not self.training_images:
            return
        images = draw_images(
            self.training_images,
            engines.AGREEMENT_IMAGES,
            seed=self.backbones.seed,
            purpose="check",
        )
        pixels = self.pixels.load_rows(images, extractor.resize)
        reference = replace(extractor, engine=TORCH, quantized=None)
        features, expected = (
            load_features(images, pixels, one, cache=self.pixels.cache).rows.take()
            for one in (extractor, reference)
        )
        agreement = engines.compare_features(features, expected)
        self._agreements[spec] = EngineAgreement(
            reference=engines.REFERENCE,
            images=agreement.images,
            max_relative_difference=agreement.max_relative_difference,
            min_cosine_similarity=agreement.min_cosine_similarity,
        )
        self._report_agreement(extractor.engine, agreement)

    def _report_agreement(self, engine: str, agreement: engines.Agreement) -> None:
        """Print the deviation of int8; warn of one in float32 that is more than rounding."""
        text = (
            f"{engine} {self.engine.precision} against {engines.REFERENCE}, {agreement.images} "
            f"images: relative difference at most {agreement.max_relative_difference:.2g}, cosine "
            f"similarity at least {agreement.min_cosine_similarity:.4f}"
        )
        if self.engine.precision != F32:
            self.pixels.console.say(text)
        elif not agreement.max_relative_difference <= engines.ROUNDING:
            self.pixels.console.warn(f"{text}; more than {engines.ROUNDING:g} is not rounding")


def create_feature_pipeline(
    engine: str,
    settings: Sequence[Settings],
    training_images: Sequence[Image],
    pixels: PixelLoader,
) -> FeaturePipeline:
    """Return the feature pipeline of a run; every backbone is built, `fastest` is measured.

    Args:
        engine: engine as `choose_engine` returned it, or that of the run that is resumed.
        settings: settings of all trials; the backbone of the first is measured.
        training_images: images to measure on, to calibrate int8 and to compare the engine.
        pixels: loads their pixels.

    Raises:
        WeightsError: weights are missing, damaged or of another architecture.
    """
    backbones = BackboneLoader(settings[0].seed, pixels.cache)
    digests = backbones.compute_digests(settings)
    choice = _choose_engine(engine, settings[0], training_images, pixels, backbones)
    return FeaturePipeline(pixels, backbones, digests, choice, training_images)


def _choose_engine(
    name: str,
    settings: Settings,
    training_images: Sequence[Image],
    pixels: PixelLoader,
    backbones: BackboneLoader,
) -> EngineChoice:
    """Return the engine that computes features; `fastest` is measured on training images."""
    if name != FASTEST:
        return EngineChoice.model_validate({"name": name, "precision": settings.precision})
    images = draw_images(
        training_images, engines.SPEED_IMAGES, seed=settings.seed, purpose="engine"
    )
    rows = pixels.load_rows(images, build_resize(settings))
    rates = engines.measure_speeds(
        list_candidate_engines(),
        backbones.load_frozen(settings),
        rows.take(),
        threads=count_cores(),
    )
    fastest = max(rates, key=lambda engine: rates[engine])
    measured = ", ".join(f"{engine} {rate:,.0f}" for engine, rate in rates.items())
    pixels.console.say(f"engine      {fastest}, the fastest here; images per second: {measured}")
    return EngineChoice.model_validate(
        {
            "name": fastest,
            "precision": settings.precision,
            "images_per_second": {engine: round(rate, 1) for engine, rate in rates.items()},
        }
    )


def _describe(settings: Settings, views: Sequence[View]) -> str:
    """Return the title of the stage that computes features."""
    stages = f", {settings.frozen_stages} stages" if settings.trains_backbone else ""
    count = f", {len(views)} views" if len(views) > 1 else ""
    return f"features by {settings.model}{stages}{count}"
