"""The last training of a winner: the epochs it had, with the learning rates it had."""

import torch

from tests.contracts.test_fused import CLASSES, FEATURES, data
from veduta.config.settings import Settings
from veduta.models.heads import Head, build_head
from veduta.search.serial import Way, refit
from veduta.search.space import trial_of
from veduta.training.loop import Training


def test_a_refit_stops_inside_the_schedule_of_the_whole_trial() -> None:
    train, _ = data(torch.float32)
    settings = Settings(epochs=6, schedule="cosine", warmup=2.5)
    network = build_head(Head(FEATURES, CLASSES), settings.seed)
    training = Training(network, train, settings)
    for _ in range(2):  # warming up still
        training.finish_epoch()
        training.next_epoch()
    made = refit(trial_of(settings), train, way=Way(CLASSES), epochs=2)
    assert torch.equal(made.dense[0].weight, network.dense[0].weight)
