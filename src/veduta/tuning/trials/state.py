"""Training history of one trial, independent of its executor, and why a trial fails."""

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.config.settings import Settings
from veduta.errors import VedutaError
from veduta.foundations.stopping import gap_exceeds, reaches_threshold, should_stop
from veduta.networks.heads import HeadNetwork
from veduta.runs.checkpoints import Checkpoint
from veduta.runs.scores import ValidationScores
from veduta.runtime.memory import is_out_of_memory
from veduta.training.loop import Epoch, Histogram
from veduta.training.step import NotFiniteError
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Trial
from veduta.types import BoolArray

FailureCause: TypeAlias = Literal["diverged", "memory", "hung", "raised", "crashed"]

PERMANENT_CAUSES: frozenset[FailureCause] = frozenset({"diverged", "crashed"})
"""Causes that would occur again; a resumed run tries trials with other causes again."""


@final
class HungError(VedutaError):
    """A training was given up because it made no step for a long time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"a step must be made at least every {seconds:g} s; none was: raise --hang-seconds "
            "where steps take that long"
        )


def find_failure_cause(error: BaseException) -> FailureCause:
    """Return the cause of a failure."""
    if isinstance(error, NotFiniteError):
        return "diverged"
    if isinstance(error, HungError):
        return "hung"
    return "memory" if is_out_of_memory(error) else "raised"


def describe_failure(error: BaseException) -> str:
    """Return the message of a failure on one line; an unexpected error includes its location.

    >>> describe_failure(MemoryError("too large"))
    'out of memory: too large'
    """
    message = " ".join(str(error).split())
    cause = find_failure_cause(error)
    if cause == "memory":
        return f"out of memory: {message}" if message else "out of memory"
    if cause != "raised":
        return message
    frames = traceback.extract_tb(error.__traceback__)
    location = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if message else ''}{message}{location}"


def build_failure_limit_error(count: int, reason: str) -> VedutaError:
    """Return the error of a search that ends because `count` trainings in a row failed."""
    return VedutaError(
        f"a search stops when {count} trainings in a row fail (max_failures={count}); the last "
        f"failure is: {reason}: remove its cause and continue with --resume, if need be with a "
        "higher --max-failures"
    )


StoppingRule: TypeAlias = Literal["patience", "stop_gap", "stop_at"]

EndReason: TypeAlias = Literal["epochs", "halving"] | StoppingRule
"""Why a trial ended: after all epochs, not promoted by successive halving, or by a rule."""

Weights: TypeAlias = dict[str, Tensor]
"""Tensors by name, as in `HeadNetwork.state_dict()`."""


class StoppingRules:
    """The rules that end a trial before its last epoch; a rule whose setting is None never does.

    `stop_at`: the validation accuracy reaches this value. `stop_gap`: the training accuracy exceeds
    the validation accuracy by more than this value. `patience`: the validation loss has not
    improved for this number of epochs.

    Attributes:
        losses: validation loss of every epoch so far, the only state of the rules.

    >>> rules = StoppingRules(Settings(patience=2))
    >>> for loss in (0.9, 0.8, 0.85, 0.81):
    ...     print(rules.update(val_loss=loss, train_accuracy=0.7, val_accuracy=0.6))
    None
    None
    None
    patience
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.losses: list[float] = []

    def update(
        self, *, val_loss: float, train_accuracy: float, val_accuracy: float
    ) -> StoppingRule | None:
        """Add the metrics of one epoch; return the first rule that ends the trial, or None.

        Args:
            val_loss: loss on the validation images.
            train_accuracy: accuracy on training images without augmentation, in evaluation mode.
            val_accuracy: accuracy on the validation images.
        """
        self.losses.append(val_loss)
        settings = self._settings
        if settings.stop_at is not None and reaches_threshold(val_accuracy, settings.stop_at):
            return "stop_at"
        gap = settings.stop_gap
        if gap is not None and gap_exceeds(1 - train_accuracy, 1 - val_accuracy, gap):
            return "stop_gap"
        if settings.patience is not None and should_stop(self.losses, settings.patience):
            return "patience"
        return None


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """A trial that ended normally: its outcome, and what it was at its best epoch.

    With folds, `network` is the network of the first fold; the winner is refitted on all images.

    Attributes:
        outcome: validation result at the best epoch.
        network: the network with the weights of the best epoch.
        val_logits: (validation images, classes) at the best epoch.
        correct: (epochs, validation images), whether the prediction after each epoch was correct.
        end_reason: why the trial ended.
    """

    outcome: Outcome
    network: HeadNetwork
    val_logits: Tensor
    correct: BoolArray
    end_reason: EndReason = "epochs"

    @property
    def validation_scores(self) -> ValidationScores:
        """The scores that the run directory keeps of the trial."""
        return ValidationScores(self.val_logits.numpy(), self.correct, self.outcome.best_epoch)


@dataclass(slots=True)
class TrialState:
    """The epochs of one trial so far, and its logits and weights at the best of them.

    The best epoch is the first with the highest validation accuracy.

    Attributes:
        trial: the trial.
        epochs: every epoch so far, without logits.
        end_reason: why the trial ended; None while it trains.
    """

    trial: Trial
    epochs: list[Epoch] = field(default_factory=list)
    end_reason: EndReason | None = None
    _rules: StoppingRules = field(init=False)
    _packed: list[NDArray[np.uint8]] = field(default_factory=list)  # correctness, one bit per image
    _best: tuple[Epoch, Weights] | None = None

    def __post_init__(self) -> None:
        self._rules = StoppingRules(self.trial.settings)

    def add_epoch(
        self, epoch: Epoch, correct: BoolArray, copy_weights: Callable[[], Weights]
    ) -> None:
        """Add one epoch, and end the trial where it was the last one or a stopping rule applies.

        Args:
            epoch: the epoch; its logits are copied where it is the best so far.
            correct: (validation images,) whether the prediction was correct.
            copy_weights: returns a copy of the weights after the epoch; called where it is the
                best so far.
        """
        if self._best is None or epoch.val_accuracy > self._best[0].val_accuracy:
            logits = epoch.val_logits.clone(memory_format=torch.contiguous_format)
            self._best = replace(epoch, val_logits=logits), copy_weights()
        without_logits = replace(epoch, val_logits=epoch.val_logits.new_empty(0))
        self._append(without_logits, np.packbits(correct))

    def _append(self, epoch: Epoch, packed: NDArray[np.uint8]) -> None:
        self.epochs.append(epoch)
        self._packed.append(packed)
        rule = self._rules.update(
            val_loss=epoch.val_loss,
            train_accuracy=epoch.train_accuracy,
            val_accuracy=epoch.val_accuracy,
        )
        is_last = epoch.number >= self.trial.settings.epochs
        self.end_reason = rule or ("epochs" if is_last else None)

    def collect(self) -> tuple[dict[str, object], dict[str, Tensor]]:
        """Return the whole state for a checkpoint: JSON values, and tensors by name."""
        if self._best is None:
            return {"epochs": []}, {}
        best, weights = self._best
        epochs = [asdict(epoch) for epoch in self.epochs]
        for values in epochs:
            del values["val_logits"]
        tensors = {f"best.{name}": tensor for name, tensor in weights.items()}
        tensors["best_logits"] = best.val_logits
        tensors["correct"] = torch.from_numpy(np.stack(self._packed))
        return {"epochs": epochs, "best": best.number}, tensors

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from the state that `collect` returned, in a new `TrialState`."""
        records, tensors = checkpoint.progress["epochs"], checkpoint.tensors
        if not records:
            return
        for record, packed in zip(records, tensors["correct"], strict=True):
            values = {**record, "val_logits": torch.empty(0)}
            if (histograms := record["weights"]) is not None:
                values["weights"] = {layer: Histogram(**h) for layer, h in histograms.items()}
            self._append(Epoch(**values), packed.numpy())
        number = checkpoint.progress["best"]
        best = replace(self.epochs[number - 1], val_logits=tensors["best_logits"])
        self._best = best, select_tensors(tensors, "best.")

    def build_outcome(self, parameters: int) -> Outcome:
        """Return the outcome so far; `parameters` is the number of trained parameters."""
        best, _ = self._require_best()
        packed = self._packed[best.number - 1]
        correct = np.unpackbits(packed, count=len(best.val_logits)).view(np.bool_)
        return Outcome(
            trial=self.trial.id,
            best_epoch=best.number,
            epochs_trained=len(self.epochs),
            cost=parameters * len(self.epochs),
            train_loss=best.train_loss,
            train_accuracy=best.train_accuracy,
            val_loss=best.val_loss,
            val_accuracy=best.val_accuracy,
            seconds=sum(epoch.seconds for epoch in self.epochs),
            correct=correct,
            stopped_by_halving=self.end_reason == "halving",
        )

    def finish(self, network: HeadNetwork) -> FinishedTrial:
        """Return the finished trial; `network` gets the weights of the best epoch.

        Args:
            network: a network of the kind that was trained, with any weights.
        """
        best, weights = self._require_best()
        network.load_state_dict(weights, assign=True)  # they are copies already
        network.to(memory_format=torch.channels_last)  # a checkpoint does not keep the layout
        packed, images = np.stack(self._packed), len(best.val_logits)
        correct = np.unpackbits(packed, axis=1, count=images).view(np.bool_)
        outcome = self.build_outcome(network.trained_parameters)
        return FinishedTrial(
            outcome, network, best.val_logits, correct, self.end_reason or "epochs"
        )

    def _require_best(self) -> tuple[Epoch, Weights]:
        if self._best is None:
            raise ValueError(f"a trial has a result after its first epoch; {self.trial} has none")
        return self._best


def select_tensors(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
