"""The networks of a run: whole backbones, their frozen stages, the stages that trials train.

Backbones that differ only in where they are cut are one in memory.
"""

from dataclasses import dataclass, field
from pathlib import Path

from veduta.config.settings import Settings
from veduta.models.backbones import Backbone, build_backbone
from veduta.models.freezing import Prefix, Tail, frozen_stages
from veduta.models.model import Model
from veduta.models.registry import model_of


@dataclass(slots=True)
class Networks:
    """Builds them on demand; the backbone last asked for is kept."""

    seed: int
    cache: Path
    _kept: dict[tuple[Model, str, int | None], Backbone] = field(default_factory=dict)

    def backbone(self, settings: Settings) -> Backbone:
        """The whole backbone of `settings`, as it came.

        Raises:
            WeightsError: weights are missing, damaged or of another architecture.
        """
        model = model_of(settings)
        key = model, settings.weights, settings.image_size
        if key not in self._kept:
            self._kept.clear()
            self._kept[key] = build_backbone(
                model,
                settings.weights,
                image_size=settings.image_size,
                seed=self.seed,
                cache=self.cache,
            )
        return self._kept[key]

    def frozen(self, settings: Settings) -> Backbone:
        """The part of it that is frozen: its leading stages, or all of it.

        Where nothing is, that is the backbone as it will be when it has been trained.
        """
        whole = self.backbone(settings)
        some = settings.freeze not in ("all", "none")
        return Prefix(whole, frozen_stages(settings)) if some else whole

    def tail(self, settings: Settings) -> Tail | None:
        """The stages that train with the head; None where that is the head alone."""
        if settings.freeze == "all":
            return None
        whole = self.backbone(settings)
        return Tail(whole.model, whole.network, frozen_stages(settings))
