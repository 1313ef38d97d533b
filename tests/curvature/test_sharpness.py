"""λ_max of each layer's block, against dense blocks."""

from __future__ import annotations

import pytest
import torch

from curvature import nets
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import hessian
from surefoot.curvature.sharpness import (
    layer_sharpness,
    layers_of,
    sharpness_of_blocks,
)
from surefoot.curvature.space import space


@pytest.mark.parametrize("build", [nets.conv2d, nets.residual, nets.encoder_layer])
def test_each_layer_has_the_largest_eigenvalue_of_its_block(build) -> None:
    case = nets.made(build)
    found = layer_sharpness(
        case.model, case.batch, loss_fn=case.loss_fn, tolerance=1e-4
    )
    with hessian(case.model, case.batch, loss_fn=case.loss_fn) as whole:
        dense = whole @ torch.eye(whole.shape[0], dtype=whole.dtype)
    over = space(case.model)
    assert list(found) == list(layers_of(over))
    top = torch.linalg.eigvalsh(dense)[-1].item()
    for name, estimate in found.items():
        rows = torch.cat(
            [
                torch.arange(over.size)[part]
                for own, part in over.slices.items()
                if own.rpartition(".")[0] == name
            ]
        )
        exact = torch.linalg.eigvalsh(dense[rows][:, rows])[-1].item()
        # A bound is on the nearest eigenvalue; of a close pair that may be the second.
        within = max(estimate.error, 1e-4 * abs(exact), 1e-12)
        assert abs(estimate.value - exact) <= within
        assert estimate.value <= top * (1 + 1e-9)


def test_layers_can_be_chosen_and_the_operator_stays_open() -> None:
    case = nets.made(nets.smooth)
    with hessian(case.model, case.batch, loss_fn=case.loss_fn) as whole:
        found = sharpness_of_blocks(whole, layers=["0", "2.weight"])
        again = sharpness_of_blocks(whole, layers=["0"])
    assert list(found) == ["0", "2.weight"]
    assert again["0"].value == found["0"].value
    with pytest.raises(CurvatureError, match="absent"):
        layer_sharpness(case.model, case.batch, loss_fn=case.loss_fn, layers=["absent"])


def test_tied_weights_and_weights_of_the_model_itself_have_a_layer() -> None:
    tied = nets.made(nets.embedding_tied)
    assert layers_of(space(tied.model)) == {
        "embed": ("embed.weight",),
        "inner": ("inner.weight", "inner.bias"),
    }
    bare = torch.nn.ParameterDict({"w": torch.ones(2)})
    assert layers_of(space(bare)) == {"w": ("w",)}
