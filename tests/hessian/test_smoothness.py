"""The table of constants holds for dense Hessians."""

import numpy as np
import pytest
import torch

from companion.hessian import Hessian, partition_labels, smoothness_report
from tests.hessian.matrices import network


@pytest.mark.parametrize("partition", ["elements", "rows", "tensor"])
def test_the_report_of_a_network_holds_for_its_dense_hessian(partition):
    model, loss, data = network()
    op = Hessian(model, loss, data)
    h = op.dense()
    table = smoothness_report(model, loss, data, partition)
    spectral = torch.linalg.matrix_norm(h, 2).item()
    norm = h.abs().sum().item() / op.d
    assert table.lower["‖H‖₂"] <= spectral * (1 + 1e-9)
    assert table.upper["‖H‖₂"] >= spectral * (1 - 1e-9)
    assert table.value["d ‖H‖₂"] == pytest.approx(op.d * spectral, rel=1e-3)
    assert table.value["‖H‖₁,₁ / d"] == pytest.approx(norm, rel=0.2)
    assert table.upper["‖H‖₁,₁ / d"] <= norm * 1.4
    low, high = table.lower["Λ / d"], table.upper["Λ / d"]
    assert high <= low * 1.01
    assert low <= spectral
    if partition == "elements":
        assert table.value["‖H‖∞→1 / d"] <= high <= norm
    assert (table.products[:-1] > 0).all()
    assert np.isnan(table.upper["‖H‖∞→1 / d"])


def test_labels_of_a_partition_of_parameters():
    parameters = {"w": torch.zeros(2, 2), "b": torch.zeros(2)}
    assert partition_labels(parameters, "tensor").tolist() == [0, 0, 0, 0, 1, 1]
    assert partition_labels(parameters, "elements").tolist() == list(range(6))
    own = lambda p, name: torch.tensor([[5, 2], [5, 5]]) if name == "w" else 1  # noqa: E731
    assert partition_labels(parameters, own).tolist() == [1, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="partition"):
        partition_labels(parameters, "columns")
