"""The mean over views, against the same sums by hand."""

import numpy as np
import pytest
import torch

from veduta.inference.classifier import mean_logits
from veduta.networks.heads import Head, HeadNetwork


@pytest.fixture
def head() -> HeadNetwork:
    network = HeadNetwork(Head(2, 2))
    with torch.no_grad():
        network.dense[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        network.dense[0].bias.copy_(torch.tensor([0.5, -1.0]))
    return network


def test_logits_of_two_views_are_averaged(head: HeadNetwork) -> None:
    image, mirror = torch.tensor([[1.0, 3.0], [0.0, 1.0]]), torch.tensor([[3.0, 4.0], [2.0, 0.0]])
    found = mean_logits(head, [[image], [mirror[:1], mirror[1:]]])  # in one part, in two
    assert found.tolist() == [[2.5, 6.0], [1.5, 0.0]]


def test_that_is_the_geometric_mean_of_probabilities(head: HeadNetwork) -> None:
    views = [torch.randn(5, 2, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    each = [torch.softmax(mean_logits(head, [[view]]), 1) for view in views]
    product = (each[0] * each[1]).sqrt()
    expected = product / product.sum(1, keepdim=True)
    found = torch.softmax(mean_logits(head, [[view] for view in views]), 1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)
