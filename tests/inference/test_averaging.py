"""Averaging of logits over views, against values computed by hand."""

import numpy as np
import pytest
import torch

from veduta.config.network_specs import Head
from veduta.inference.classifier import average_logits
from veduta.networks.heads import HeadNetwork


@pytest.fixture
def head() -> HeadNetwork:
    network = HeadNetwork(Head(2, 2))
    with torch.no_grad():
        network.dense[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        network.dense[0].bias.copy_(torch.tensor([0.5, -1.0]))
    return network


def test_logits_of_two_views_are_averaged(head: HeadNetwork) -> None:
    image, flipped = torch.tensor([[1.0, 3.0], [0.0, 1.0]]), torch.tensor([[3.0, 4.0], [2.0, 0.0]])
    logits = average_logits(head, [[image], [flipped[:1], flipped[1:]]])  # one and two batches
    assert logits.tolist() == [[2.5, 6.0], [1.5, 0.0]]


def test_averaged_logits_give_the_geometric_mean_of_probabilities(head: HeadNetwork) -> None:
    views = [torch.randn(5, 2, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    probabilities = [torch.softmax(average_logits(head, [[view]]), 1) for view in views]
    product = (probabilities[0] * probabilities[1]).sqrt()
    expected = product / product.sum(1, keepdim=True)
    averaged = torch.softmax(average_logits(head, [[view] for view in views]), 1)
    np.testing.assert_allclose(averaged.numpy(), expected.numpy(), atol=1e-6)
