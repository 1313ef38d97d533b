"""Gradients over the depth: which way transformers lean, and who is out of line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from surefoot.nn.flow import (
    DepthProfile,
    FlowError,
    blocks_of,
    depth_profile,
    path_or_branch,
)

WIDTH, HEADS = 128, 4


class Transformer(nn.Module):
    """Torch's layers with Xavier-normal weights."""

    def __init__(self, depth: int, *, norm_first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, 4 * WIDTH, 0.0, batch_first=True, norm_first=norm_first
            )
            for _ in range(depth)
        )
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_normal_(weight)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def _lean(depth: int, *, norm_first: bool) -> float:
    """Last over first gradient, the mean of two seeds."""
    found = 0.0
    for seed in range(2):
        torch.manual_seed(seed)
        model = Transformer(depth, norm_first=norm_first)
        batch = torch.randn(4, 16, WIDTH), torch.randn(4, 16, WIDTH)
        profile = depth_profile(model, batch, loss_fn=_along)
        assert len(profile.blocks) == depth
        found += profile.last_over_first / 2
    return found


def _along(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A loss whose slope by the output is the same for all models."""
    return (model(batch[0]) * batch[1]).sum()


def test_post_norm_leans_to_the_output_and_pre_norm_to_the_input() -> None:
    post = [_lean(depth, norm_first=False) for depth in (6, 12, 24)]
    pre = [_lean(depth, norm_first=True) for depth in (6, 12, 24)]
    assert 1 < post[0] < post[1] < post[2]
    assert 1 > pre[0] > pre[1] > pre[2]


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)), nn.BatchNorm1d(3))
    stream = torch.random.get_rng_state()
    depth_profile(model, torch.ones(4, 3), loss_fn=lambda m, x: m(x).square().sum())
    assert all(weight.grad is None for weight in model.parameters())
    assert model[4].num_batches_tracked.item() == 0
    assert torch.equal(stream, torch.random.get_rng_state())


def test_norms_are_over_all_weights_of_a_block() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    x = torch.randn(4, 3)
    found = depth_profile(model, x, loss_fn=lambda m, x: m(x).sum())
    model(x).sum().backward()
    for block, norm in zip(model, found.gradients, strict=True):
        own = torch.cat([w.grad.flatten() for w in block.parameters()])
        assert norm == pytest.approx(float(own.norm()), rel=1e-6)


def test_repeated_blocks_are_found() -> None:
    model = nn.Module()
    model.stem = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.body = nn.ModuleList([nn.LSTM(9, 9), nn.ReLU(), nn.LSTM(9, 9)])
    assert blocks_of(model) == ("body.0", "body.2")
    with pytest.raises(FlowError, match="give blocks="):
        blocks_of(nn.Linear(2, 2))


def test_a_block_out_of_line_is_named_by_its_factor() -> None:
    steady = [0.5**i for i in range(8)]
    names = tuple("abcdefgh")
    even = DepthProfile(names, tuple(steady))
    assert even.per_block == pytest.approx(0.5)
    assert even.distortion == pytest.approx((1.0,) * 8)
    steady[1] *= 30
    odd = DepthProfile(names, tuple(steady))
    assert odd.early_distortion == pytest.approx(30.0)
    assert max(odd.distortion[2:]) < 5


def test_a_gradient_that_is_blown_up_early_shows_by_its_factor() -> None:
    torch.manual_seed(0)
    model = Transformer(8, norm_first=True)
    batch = torch.randn(4, 16, WIDTH), torch.randn(4, 16, WIDTH)
    before = depth_profile(model, batch, loss_fn=_along)
    assert before.early_distortion == pytest.approx(1.0, abs=0.3)
    # the same output, ten times its gradient, for the first block only
    hook = model.layers[0].register_forward_hook(
        lambda module, given, output: output.detach() + 10 * (output - output.detach())
    )
    after = depth_profile(model, batch, loss_fn=_along)
    hook.remove()
    assert after.distortion[0] == pytest.approx(10 * before.distortion[0], rel=1e-3)
    assert after.early_distortion == after.distortion[0]


@pytest.mark.parametrize(
    ("blocks", "told"),
    [(["nine"], "no module is called"), (["1"], "no weights"), ([], "expected names")],
)
def test_wrong_blocks_are_refused(blocks: list[str], told: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(FlowError, match=told):
        depth_profile(model, None, loss_fn=lambda m, x: x, blocks=blocks)


# --- path or branch -------------------------------------------------------------


def _softmax_maps(count: int, tokens: int, seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    kind = torch.float64
    return [
        torch.randn(tokens, tokens, generator=draw, dtype=kind).softmax(-1)
        for _ in range(count)
    ]


def test_attention_on_the_path_forgets_and_on_a_branch_keeps() -> None:
    """12 random softmax maps of 32 tokens: median 1e-10 on the path, 1 beside it."""
    path, branch = path_or_branch(_softmax_maps(12, 32, seed=0)).medians
    assert path < 1.1e-10
    assert branch == pytest.approx(0.998, abs=0.1)


def test_operators_of_different_sizes_are_refused() -> None:
    for wrong in (
        [],
        [torch.eye(2), torch.eye(3)],
        [torch.ones(2, 3)],
        [torch.ones(2)],
    ):
        with pytest.raises(FlowError, match="one size"):
            path_or_branch(wrong)
