"""Trained backbones, from settings to a model that predicts; presets, from settings to a plan.

Training itself is tested with `tuning.executors`: here a few steps are made by hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veduta
from tests.support.journals import make_trial_finished
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.calibration import Temperature
from veduta.evaluation.winner_assessment import WinnerAssessment
from veduta.experiment import winner as winner_module
from veduta.experiment.feature_pipeline import FeaturePipeline, PixelLoader
from veduta.experiment.feature_spec import BackboneLoader, build_feature_spec
from veduta.experiment.plan import Plan, make_plan
from veduta.experiment.run_files import build_configuration
from veduta.experiment.winner import SelectedModel, write_model
from veduta.inference.classifier import load_classifier
from veduta.networks.freezing import TailNetwork
from veduta.networks.heads import build_head_network, describe_head
from veduta.optim.optimizers import build_optimizer
from veduta.runs.directory import OutputPath, create_run_directory
from veduta.runs.provenance import EngineChoice
from veduta.runs.scores import ValidationScores, save_validation_scores
from veduta.training.loss import Batch
from veduta.training.step import train_step
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import find_varied_settings
from veduta.tuning.trials.state import FinishedTrial
from veduta.tuning.trials.store import load_finished_trial, save_weights

CLASSES = 3
NO_PREDICTIONS = LabeledPredictions(
    (), (), np.zeros(0, np.int64), np.zeros((0, CLASSES)), ("a", "b", "c"), 1.0
)
ASSESSMENT = WinnerAssessment(NO_PREDICTIONS, None, Temperature(1.0, 0), (), uses_folds=False)
TORCH = EngineChoice(name="torch", precision="f32")
SETTINGS: dict[str, dict[str, Any]] = {
    "cnn": {"model": "cnn", "image_size": 32, "channels": "8x16"},
    "report_cnn": {
        "model": "report_cnn",
        "image_size": 30,
        "channels": "5x4",
        "hidden": 8,
        "untied_bias": True,
        "pooling": "l2",
        "norm_first": False,
    },
    "mlp": {"model": "mlp", "image_size": 8, "hidden": 8},
    "lite0": {"freeze": "none", "image_size": 32},
}
NETWORK = pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS)


def make_small_plan(data: Path, out: Path, values: dict[str, Any], **grid: Any) -> Plan:
    command = "search" if grid else "train"
    return make_plan(data, values, grid=grid, output=OutputPath(out), command=command)  # type: ignore[arg-type]


def create_features(cache: Path) -> FeaturePipeline:
    return FeaturePipeline(PixelLoader(cache, QUIET), BackboneLoader(0, cache), {}, TORCH, ())


def train_two_steps(plan: Plan, backbones: BackboneLoader) -> tuple[TailNetwork, torch.Tensor]:
    """Return the network of the plan's trial after two steps, and the pixels of these."""
    settings = plan.trials[0].settings
    tail = backbones.build_tail(settings)
    assert tail is not None
    head = build_head_network(describe_head(settings, tail.features, CLASSES), 0)
    network = TailNetwork(head, tail)
    size = settings.image_size or 0
    pixels = np.random.default_rng(0).integers(0, 256, (6, size, size, 3)).astype(np.uint8)
    batch = Batch(torch.from_numpy(pixels), torch.tensor([0, 1, 2, 0, 1, 2]))
    optimizer = build_optimizer(network.group_parameters(1.0), settings)
    network.train()
    for _ in range(2):
        train_step(network, optimizer, batch, noise=None)
    return network.eval(), batch.features


@NETWORK
def test_a_written_model_predicts_as_its_trained_network(
    values: dict[str, Any], color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winner_module, "format_card", lambda *_: "")  # there is no summary
    plan = make_small_plan(color_folder, tmp_path / "run", {**values, "engine": "torch"})
    features = create_features(tmp_path / "cache")
    network, pixels = train_two_steps(plan, features.backbones)
    directory = create_run_directory(plan.output)
    model = SelectedModel(directory, plan, plan.trials[0], network, features)
    write_model(model, ASSESSMENT, None)  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = torch.softmax(network(pixels).double(), 1).numpy()
    for engine in ("torch", "openvino"):
        classifier = load_classifier(directory.path, engine=engine)
        probabilities = classifier.compute_probabilities(pixels.numpy())
        np.testing.assert_allclose(probabilities, expected, atol=1e-3)
        assert classifier.manifest.weights.endswith("all trained")
    assert expected.std() > 0.003
    table = veduta.load(directory.path).predict(sorted(color_folder.rglob("*.png"))[:3])
    assert len(table) == 3


@NETWORK
def test_a_saved_trial_is_loaded_with_the_same_weights(
    values: dict[str, Any], color_folder: Path, tmp_path: Path
) -> None:
    plan = make_small_plan(color_folder, tmp_path / "run", values)
    network, pixels = train_two_steps(plan, BackboneLoader(0, tmp_path / "cache"))
    with torch.inference_mode():
        logits = network(pixels)
    correct = np.ones((1, 6), bool)
    event = make_trial_finished(plan.trials[0].id, val_correct=6, val_images=6)
    names = {*Outcome.__dataclass_fields__} - {"correct", "stopped_by_halving"}
    outcome = Outcome(**event.model_dump(include=names), correct=correct[0])
    finished = FinishedTrial(outcome, network, logits, correct)
    scores = ValidationScores(logits.numpy(), correct, 1)
    save_validation_scores(tmp_path / f"{outcome.trial}.npz", scores)
    digest = save_weights(tmp_path, finished)
    event = event.model_copy(update={"weights_sha256": digest})
    loaded = load_finished_trial(tmp_path, outcome, event)
    assert loaded is not None
    assert isinstance(loaded.network, TailNetwork)
    with torch.inference_mode():
        assert torch.equal(loaded.network.eval()(pixels), logits)
    assert {n for n, p in loaded.network.named_parameters() if p.requires_grad} == {
        n for n, p in network.named_parameters() if p.requires_grad
    }


def test_networks_that_differ_have_different_feature_specs(
    color_folder: Path, tmp_path: Path
) -> None:
    plan = make_small_plan(
        color_folder, tmp_path / "run", {"model": "report_cnn", "image_size": 80, "hidden": 8},
        pooling=["max", "l2"], untied_bias=[False, True], channels=["4x4", "5x4"],
    )  # fmt: skip
    assert len(plan.trials) == 8
    assert find_varied_settings(plan.trials) == ["channels", "pooling", "untied_bias"]
    assert len({build_feature_spec(trial.settings) for trial in plan.trials}) == 8
    digests = BackboneLoader(0, tmp_path / "cache").compute_digests(
        trial.settings for trial in plan.trials
    )
    assert len(digests) == 8


def test_given_settings_take_precedence_over_those_of_the_model(
    color_folder: Path, tmp_path: Path
) -> None:
    plan = make_small_plan(color_folder, tmp_path / "run", {"model": "report_cnn", "epochs": 3})
    settings = plan.trials[0].settings
    assert (settings.freeze, settings.hidden, settings.epochs) == ("none", (4000, 4000, 1000), 3)
    assert plan.settings == settings
    configuration = build_configuration(plan)
    assert configuration.settings["hidden"] == [4000, 4000, 1000]
    again = make_small_plan(color_folder, tmp_path / "run", configuration.settings)
    assert [trial.id for trial in again.trials] == [trial.id for trial in plan.trials]
    assert again.unused_settings == plan.unused_settings == ()


@pytest.mark.parametrize(
    "grid",
    [
        {"model": ["cnn", "mlp", "efficientnet_lite0"]},
        {"head": ["none", "report_a", "report_b"], "lr": [1e-3, 1e-2]},
        {"model": ["cnn", "report_cnn"], "head": ["none", "report_c"], "dropout": [0.1, 0.2]},
    ],
    ids=str,
)
def test_a_grid_of_presets_is_recorded_so_that_it_can_be_run_again(
    grid: dict[str, Any], color_folder: Path, tmp_path: Path
) -> None:
    given = {"epochs": 4, "batch_norm": False}
    plan = make_small_plan(color_folder, tmp_path / "run", given, **grid)
    configuration = build_configuration(plan)
    again = make_small_plan(
        color_folder, tmp_path / "run", configuration.settings, **configuration.grid
    )
    assert [trial.id for trial in again.trials] == [trial.id for trial in plan.trials]
    assert build_configuration(again) == configuration
    assert configuration.settings["epochs"] == 4
    assert all(trial.settings.epochs == 4 for trial in plan.trials)
    assert not any(trial.settings.batch_norm for trial in plan.trials)
    assert "hidden" not in configuration.settings
    assert configuration.settings["seed"] == 0
    assert len(plan.trials) == np.prod([len(values) for values in grid.values()])


def test_a_search_over_heads_is_extended(color_folder: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {"image_size": 32, "epochs": 1, "engine": "torch", "weights": "none"}
    run = veduta.search(
        color_folder,
        grid={"head": ["none", "report_a"]},
        out=tmp_path / "run",
        console=QUIET,
        **small,
    )
    before = run.trials
    extended = veduta.search(resume=run.directory.path, grid={"lr": [1e-2]}, console=QUIET)
    assert len(extended.trials) == 4
    assert len(before.merge(extended.trials, on=[*before.columns.drop("seconds")])) == 2
    with pytest.raises(InputError, match="dropout was as each model or head has it, now it is 0"):
        veduta.search(resume=run.directory.path, dropout=0.2)


def test_all_errors_are_reported_at_once(color_folder: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "model": "mlp",
        "freeze": "all",
        "weights": "pretrained",
        "lr": "fast",
    }
    with pytest.raises(InputError) as caught:
        make_small_plan(color_folder, tmp_path / "run", values)
    assert len(caught.value.faults) == 3
    for values in ({"model": "nasnet_mobile"}, {"model": "timm:resnt18"}, {"head": "report_d"}):
        with pytest.raises(InputError) as caught:
            make_small_plan(color_folder, tmp_path / "run", values)
        assert len(caught.value.faults) == 1
