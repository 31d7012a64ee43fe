"""Networks trained whole, from settings to files that predict, and presets from settings to plan.

Training itself is another matter (`search.serial`): here a few steps are made by hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veduta
from veduta.errors import InputError
from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.calibration import Temperature
from veduta.experiment import winner as outcome
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.feature_spec import recipe_of
from veduta.experiment.judgement import Judgement
from veduta.experiment.plan import Plan, make_plan
from veduta.experiment.record import settings_of
from veduta.experiment.winner import Made, write_model
from veduta.inference.classifier import load_classifier
from veduta.networks.freezing import TailNetwork
from veduta.networks.heads import build_head, head_of
from veduta.optim.optimizers import build_optimizer
from veduta.runs.directory import Place, create
from veduta.tracking.console import Console
from veduta.training.loss import Batch
from veduta.training.step import train_step
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import varied
from veduta.tuning.trials.state import Finished
from veduta.tuning.trials.store import read_finished, write_scores, write_weights

CLASSES = 3
NONE = LabeledPredictions(
    (), (), np.zeros(0, np.int64), np.zeros((0, CLASSES)), ("a", "b", "c"), 1.0
)
JUDGED = Judgement(NONE, None, Temperature(1.0, 0), (), folds=False)
KINDS: dict[str, dict[str, Any]] = {
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
KIND = pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)


def plan_of(data: Path, out: Path, values: dict[str, Any], **grid: Any) -> Plan:
    command = "search" if grid else "train"
    return make_plan(data, values, grid=grid, place=Place(out), command=command)


def trained(plan: Plan, materials: Materials) -> tuple[TailNetwork, torch.Tensor]:
    """The plan's trial after two steps, and the pixels that it saw."""
    settings = plan.trials[0].settings
    tail = materials.networks.tail(settings)
    assert tail is not None
    network = TailNetwork(build_head(head_of(settings, tail.features, CLASSES), 0), tail)
    size = settings.image_size or 0
    drawn = np.random.default_rng(0).integers(0, 256, (6, size, size, 3)).astype(np.uint8)
    batch = Batch(torch.from_numpy(drawn), torch.tensor([0, 1, 2, 0, 1, 2]))
    optimizer = build_optimizer(network.groups(1.0), settings)
    network.train()
    for _ in range(2):
        train_step(network, optimizer, batch, noise=None)
    return network.eval(), batch.features


@KIND
def test_the_model_that_is_written_predicts_what_was_trained(
    values: dict[str, Any], colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "card", lambda *_: "")  # there was no run that it could tell of
    plan = plan_of(colours, tmp_path / "run", {**values, "engine": "torch"})
    materials = Materials("torch", 0, tmp_path / "cache", Console(quiet=True))
    network, pixels = trained(plan, materials)
    directory = create(plan.place)
    write_model(Made(directory, plan, plan.trials[0], network, materials), JUDGED, {})
    with torch.inference_mode():
        expected = torch.softmax(network(pixels).double(), 1).numpy()
    for engine in ("torch", "openvino"):
        classifier = load_classifier(directory.path, engine=engine)  # type: ignore[arg-type]
        found = classifier.probabilities(pixels.numpy())
        np.testing.assert_allclose(found, expected, atol=1e-3)
        assert classifier.manifest.weights.endswith("all of it trained")
    assert expected.std() > 0.003
    table = veduta.load(directory.path).predict(sorted(colours.rglob("*.png"))[:3])
    assert len(table) == 3


@KIND
def test_what_is_kept_of_a_trial_comes_back_whole(
    values: dict[str, Any], colours: Path, tmp_path: Path
) -> None:
    plan = plan_of(colours, tmp_path / "run", values)
    network, pixels = trained(plan, Materials("torch", 0, tmp_path / "cache", Console(quiet=True)))
    with torch.inference_mode():
        logits = network(pixels)
    hits = np.ones((1, 6), bool)
    figures = dict.fromkeys(Outcome.FIGURES, 1)
    came = Outcome(trial=plan.trials[0].id, hits=hits[0], cost=1, **figures)  # type: ignore[arg-type]
    end = Finished(came, network, logits, hits)
    write_scores(tmp_path / f"{came.trial}.npz", end)
    event = {**figures, "hits": 6, "images": 6, "weights": write_weights(tmp_path, end)}
    again = read_finished(tmp_path, came, event)
    assert again is not None
    assert isinstance(again.network, TailNetwork)
    with torch.inference_mode():
        assert torch.equal(again.network.eval()(pixels), logits)
    assert {n for n, p in again.network.named_parameters() if p.requires_grad} == {
        n for n, p in network.named_parameters() if p.requires_grad
    }


def test_networks_that_differ_are_kept_apart(colours: Path, tmp_path: Path) -> None:
    plan = plan_of(
        colours, tmp_path / "run", {"model": "report_cnn", "image_size": 80, "hidden": 8},
        pooling=["max", "l2"], untied_bias=[False, True], channels=["4x4", "5x4"],
    )  # fmt: skip
    assert len(plan.trials) == 8
    assert varied(list(plan.trials)) == ["channels", "pooling", "untied_bias"]
    assert len({recipe_of(trial.settings) for trial in plan.trials}) == 8
    materials = Materials("torch", 0, tmp_path / "cache", Console(quiet=True))
    digests = materials.expect_backbones(trial.settings for trial in plan.trials)
    assert len(digests) == 8


def test_a_model_brings_its_recipe_and_what_is_given_stays(colours: Path, tmp_path: Path) -> None:
    plan = plan_of(colours, tmp_path / "run", {"model": "report_cnn", "epochs": 3})
    settings = plan.trials[0].settings
    assert (settings.freeze, settings.hidden, settings.epochs) == ("none", (4000, 4000, 1000), 3)
    assert plan.settings == settings
    recorded = settings_of(plan)
    assert recorded["hidden"] == [4000, 4000, 1000]
    again = plan_of(colours, tmp_path / "run", recorded)
    assert [trial.id for trial in again.trials] == [trial.id for trial in plan.trials]
    assert again.idle == plan.idle == ()


@pytest.mark.parametrize(
    "grid",
    [
        {"model": ["cnn", "mlp", "efficientnet_lite0"]},
        {"head": ["none", "report_a", "report_b"], "lr": [1e-3, 1e-2]},
        {"model": ["cnn", "report_cnn"], "head": ["none", "report_c"], "dropout": [0.1, 0.2]},
    ],
    ids=str,
)
def test_a_grid_over_presets_is_recorded_so_that_it_can_be_run_again(
    grid: dict[str, Any], colours: Path, tmp_path: Path
) -> None:
    given = {"epochs": 4, "batch_norm": False}
    plan = plan_of(colours, tmp_path / "run", given, **grid)
    recorded = settings_of(plan)
    again = plan_of(
        colours, tmp_path / "run", {n: v for n, v in recorded.items() if n != "grid"},
        **recorded["grid"],
    )  # fmt: skip
    assert [trial.id for trial in again.trials] == [trial.id for trial in plan.trials]
    assert settings_of(again) == recorded
    assert recorded["epochs"] == 4
    assert all(trial.settings.epochs == 4 for trial in plan.trials)
    assert not any(trial.settings.batch_norm for trial in plan.trials)
    assert "hidden" not in recorded
    assert recorded["seed"] == 0
    assert len(plan.trials) == np.prod([len(values) for values in grid.values()])


def test_a_search_over_heads_goes_on(colours: Path, tmp_path: Path) -> None:
    small = {"image_size": 32, "epochs": 1, "engine": "torch", "weights": "none"}
    run = veduta.search(
        colours, grid={"head": ["none", "report_a"]}, out=tmp_path / "run",
        console=Console(quiet=True), **small,
    )  # fmt: skip
    before = run.trials
    again = veduta.search(
        resume=run.directory.path, grid={"lr": [1e-2]}, console=Console(quiet=True)
    )
    assert len(again.trials) == 4
    both = before.merge(again.trials, on=[*before.columns.drop("seconds")])
    assert len(both) == 2
    with pytest.raises(InputError, match="dropout was as each model or head has it, now it is 0"):
        veduta.search(resume=run.directory.path, dropout=0.2)


def test_all_faults_at_once(colours: Path, tmp_path: Path) -> None:
    values = {"model": "mlp", "freeze": "all", "weights": "pretrained", "lr": "fast"}
    with pytest.raises(InputError) as caught:
        plan_of(colours, tmp_path / "run", values)
    assert len(caught.value.faults) == 3
    for values in ({"model": "nasnet_mobile"}, {"model": "timm:resnt18"}, {"head": "report_d"}):
        with pytest.raises(InputError) as caught:
            plan_of(colours, tmp_path / "run", values)
        assert len(caught.value.faults) == 1
