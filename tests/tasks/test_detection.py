"""Boxes: overlaps and suppression, beside what a loop over all pairs says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surefoot.tasks.detection import (
    BoxError,
    box_area,
    box_iou,
    differentiable_nms,
    nms,
    soft_nms,
)

CHAIN = torch.tensor([[0.0, 0, 10, 1], [3, 0, 13, 1], [6, 0, 16, 1]])
FALLING = torch.tensor([0.9, 0.8, 0.7])


def drawn(seed: int, count: int, *, extent: float = 40.0, of: int = 0) -> tuple:
    """Boxes, scores and classes at random, in float64."""
    stream = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=stream, dtype=torch.float64) * extent
    size = torch.rand(count, 2, generator=stream, dtype=torch.float64) * 20 + 1
    scores = torch.rand(count, generator=stream, dtype=torch.float64)
    classes = torch.randint(0, max(of, 1), (count,), generator=stream)
    return torch.cat([low, low + size], 1), scores, classes if of else None


def overlap(first: list[float], second: list[float]) -> float:
    """IoU of two boxes, side by side."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    inside = max(wide, 0) * max(high, 0)
    areas = ((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second))
    whole = sum(areas) - inside
    return inside / whole if whole > 0 else 0.0


def pairs(boxes: Tensor, classes: Tensor | None) -> Callable[[int, int], float]:
    rows = boxes.tolist()
    kinds = [0] * len(rows) if classes is None else classes.tolist()
    return lambda i, j: overlap(rows[i], rows[j]) if kinds[i] == kinds[j] else -1.0


def ranked(scores: Tensor) -> list[int]:
    values = scores.tolist()
    return sorted(range(len(values)), key=lambda i: (-values[i], i))


# --- overlaps -------------------------------------------------------------------


def test_overlaps_are_those_of_a_loop_over_pairs() -> None:
    boxes, *_ = drawn(0, 30)
    expected = [[overlap(a, b) for b in boxes.tolist()] for a in boxes.tolist()]
    torch.testing.assert_close(box_iou(boxes, boxes), torch.tensor(expected).double())


def test_overlaps_of_the_chain_are_7_of_13_and_4_of_16() -> None:
    found = box_iou(CHAIN[:1], CHAIN[1:])
    torch.testing.assert_close(found, torch.tensor([[7 / 13, 4 / 16]]))


def test_boxes_without_area_overlap_nothing_and_have_finite_slopes() -> None:
    points = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2]])
    points.requires_grad_()
    found = box_iou(points, points)
    assert found[0, 1] == 0
    found.sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert box_area(points).tolist() == [0, 0, 4]


def test_overlaps_take_batches_and_whole_numbers_and_half_precision() -> None:
    batch = torch.stack([CHAIN, CHAIN + 1])
    assert box_iou(batch, CHAIN).shape == (2, 3, 3)
    torch.testing.assert_close(box_iou(CHAIN.long(), CHAIN), box_iou(CHAIN, CHAIN))
    assert box_iou(CHAIN.bfloat16(), CHAIN.bfloat16()).dtype == torch.float32


def test_slopes_of_overlaps_are_right() -> None:
    first, second = drawn(1, 4)[0], drawn(2, 3)[0]
    assert torch.autograd.gradcheck(
        box_iou, (first.requires_grad_(), second.requires_grad_())
    )


# --- hard -----------------------------------------------------------------------


def greedy(
    boxes: Tensor, scores: Tensor, threshold: float, classes: Tensor | None
) -> list[int]:
    kept: list[int] = []
    pair = pairs(boxes, classes)
    for i in ranked(scores):
        if all(pair(j, i) <= threshold for j in kept):
            kept.append(i)
    return kept


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 40),
    threshold=st.floats(0, 1),
    of=st.sampled_from([0, 1, 3]),
)
def test_hard_suppression_is_the_greedy_loop(
    seed: int, count: int, threshold: float, of: int
) -> None:
    boxes, scores, classes = drawn(seed, count, of=of)
    scores = (scores * 8).round() / 8  # some are equal
    found = nms(boxes, scores, threshold=threshold, classes=classes)
    assert found.tolist() == greedy(boxes, scores, threshold, classes)


def test_hard_suppression_of_more_boxes_than_one_block_is_the_greedy_loop() -> None:
    boxes, scores, classes = drawn(3, 1_200, extent=300, of=2)
    found = nms(boxes, scores, threshold=0.3, classes=classes)
    assert found.tolist() == greedy(boxes, scores, 0.3, classes)
    assert 512 < len(found) < 1_200


# --- soft -----------------------------------------------------------------------


def bodla(boxes: Tensor, scores: Tensor, decay: Callable[[float], float]) -> list:
    """The loop of the paper: take the best, lower the rest, again."""
    left, done = dict(enumerate(scores.tolist())), {}
    pair = pairs(boxes, None)
    while left:
        best = max(left, key=lambda i: left[i])
        done[best] = left.pop(best)
        left = {i: s * decay(pair(best, i)) for i, s in left.items()}
    return [done[i] for i in range(len(done))]


def test_soft_suppression_of_the_chain_lowers_08_to_044797() -> None:
    found = soft_nms(CHAIN[:2].double(), FALLING[:2].double())
    assert found[1].item() == pytest.approx(0.44797, abs=5e-6)
    assert found[0].item() == pytest.approx(0.9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 25))
def test_soft_suppression_is_the_loop_of_the_paper(seed: int, count: int) -> None:
    boxes, scores, _ = drawn(seed, count)
    expected = bodla(boxes, scores, lambda o: math.exp(-o * o / 0.5))
    found = soft_nms(boxes, scores)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    expected = bodla(boxes, scores, lambda o: 1 - o if o > 0.3 else 1.0)
    found = soft_nms(boxes, scores, kind="linear")
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_soft_suppression_has_slopes_also_where_boxes_are_equal() -> None:
    boxes, scores, _ = drawn(4, 8)
    boxes[1] = boxes[0]
    for kind in ("gaussian", "linear"):
        leaves = boxes.clone().requires_grad_(), scores.clone().requires_grad_()
        soft_nms(*leaves, kind=kind).sum().backward()
        assert all(leaf.grad.isfinite().all() for leaf in leaves)
    boxes, scores, _ = drawn(5, 6)
    assert torch.autograd.gradcheck(
        soft_nms, (boxes.requires_grad_(), scores.requires_grad_())
    )


def test_classes_are_suppressed_apart() -> None:
    boxes, scores, classes = drawn(6, 40, of=3)
    for run in (soft_nms, differentiable_nms):
        whole = run(boxes, scores, classes=classes)
        for kind in range(3):
            mine = classes == kind
            torch.testing.assert_close(whole[mine], run(boxes[mine], scores[mine]))


# --- differentiable -------------------------------------------------------------


def recursion(
    boxes: Tensor, scores: Tensor, threshold: float, temperature: float
) -> list[float]:
    pair, order = pairs(boxes, None), ranked(scores)
    keep: dict[int, float] = {}
    for i in order:
        product = 1.0
        for j, kept in keep.items():
            slope = (pair(i, j) - threshold) / temperature
            product *= 1 - kept / (1 + math.exp(-slope))
        keep[i] = product
    return [keep[i] for i in range(len(order))]


def test_the_chain_at_a_low_temperature_is_greedy_1_0_1() -> None:
    found = differentiable_nms(CHAIN, FALLING, threshold=0.4, temperature=0.005)
    torch.testing.assert_close(found, torch.tensor([1.0, 0, 1]), atol=1e-6, rtol=0)
    assert nms(CHAIN, FALLING, threshold=0.4).tolist() == [0, 2]


def test_the_chain_at_temperature_005_is_1_0059_08997() -> None:
    found = differentiable_nms(CHAIN, FALLING, threshold=0.4, temperature=0.05)
    expected = torch.tensor([1.0, 0.059, 0.8997])
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def test_other_forms_get_the_third_box_wrong() -> None:
    """A plain product drops it, a linear system lifts its score from 0.7 to 0.8."""
    chance = torch.sigmoid((box_iou(CHAIN, CHAIN) - 0.4) / 0.005).tril(-1)
    assert (1 - chance).prod(1)[2].item() == pytest.approx(0, abs=1e-6)
    lifted = torch.linalg.solve(torch.eye(3) + chance, FALLING)
    assert lifted[2].item() == pytest.approx(0.8, abs=1e-6)
    keep = differentiable_nms(CHAIN, FALLING, threshold=0.4, temperature=0.005)
    assert (FALLING * keep)[2].item() == pytest.approx(0.7, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 30),
    threshold=st.floats(0.1, 0.9),
    temperature=st.floats(0.01, 1),
)
def test_differentiable_suppression_is_the_recursion(
    seed: int, count: int, threshold: float, temperature: float
) -> None:
    boxes, scores, _ = drawn(seed, count)
    soft = {"threshold": threshold, "temperature": temperature}
    expected = recursion(boxes, scores, threshold, temperature)
    found = differentiable_nms(boxes, scores, **soft)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_differentiable_suppression_of_many_boxes_is_the_recursion() -> None:
    boxes, scores, _ = drawn(7, 300, extent=100)
    expected = recursion(boxes, scores, 0.5, 0.05)
    found = differentiable_nms(boxes, scores)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("count", "of"), [(9, 0), (150, 0), (12, 2)])
def test_slopes_of_differentiable_suppression_are_right(count: int, of: int) -> None:
    boxes, scores, classes = drawn(8, count, of=of)
    assert torch.autograd.gradcheck(
        lambda b: differentiable_nms(b, scores, temperature=0.1, classes=classes),
        boxes.requires_grad_(),
        fast_mode=count > 20,
    )


def test_slopes_of_equal_boxes_are_those_of_autograd() -> None:
    boxes, scores, _ = drawn(9, 12)
    boxes[3], boxes[7] = boxes[0], boxes[0]
    boxes[5] = boxes[4]

    def plain(at: Tensor) -> Tensor:
        order = torch.tensor(ranked(scores))
        chance = torch.sigmoid((box_iou(at[order], at[order]) - 0.5) / 0.02)
        keep = at.new_ones(1)
        for i in range(1, len(at)):
            keep = torch.cat([keep, (1 - keep * chance[i, :i]).prod()[None]])
        return keep[order.argsort()]

    found = differentiable_nms(boxes.requires_grad_(), scores, temperature=0.02)
    weights = torch.arange(12.0).double()
    (ours,) = torch.autograd.grad((found * weights).sum(), boxes)
    (theirs,) = torch.autograd.grad((plain(boxes) * weights).sum(), boxes)
    torch.testing.assert_close(ours, theirs)


def test_at_a_low_temperature_slopes_stay_finite_in_float32() -> None:
    boxes, scores, _ = drawn(10, 200, extent=30)
    boxes = boxes.float().requires_grad_()
    keep = differentiable_nms(boxes, scores.float(), temperature=1e-3)
    keep.sum().backward()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()
    hard = torch.zeros(200).index_fill(0, nms(boxes, scores, threshold=0.5), 1.0)
    assert (keep - hard).abs().gt(0.1).sum() < 6  # overlaps within T of the threshold


def test_gradients_stop_at_the_sort() -> None:
    scores = FALLING.clone().requires_grad_()
    keep = differentiable_nms(CHAIN.clone().requires_grad_(), scores)
    assert torch.autograd.grad(keep.sum(), scores, allow_unused=True) == (None,)
    (slope,) = torch.autograd.grad((scores * keep.detach()).sum(), scores)
    torch.testing.assert_close(slope, keep.detach())


def test_a_batch_of_images_is_each_image() -> None:
    several = [drawn(seed, 70) for seed in range(3)]
    boxes, scores = (torch.stack([one[k] for one in several]) for k in (0, 1))
    boxes.requires_grad_()
    found = differentiable_nms(boxes, scores)
    for index, (one, score, _) in enumerate(several):
        torch.testing.assert_close(found[index], differentiable_nms(one, score))
    (slope,) = torch.autograd.grad(found.square().sum(), boxes)
    mapped = torch.func.vmap(
        torch.func.grad(lambda b, s: differentiable_nms(b, s).square().sum())
    )(boxes.detach(), scores)
    torch.testing.assert_close(slope, mapped)


def test_vmap_over_boxes_alone_takes_the_scores_of_all() -> None:
    boxes, scores, classes = drawn(11, 10, of=2)
    several = torch.stack([boxes, boxes.flip(0)])
    found = torch.func.vmap(lambda b: differentiable_nms(b, scores, classes=classes))(
        several
    )
    expected = [differentiable_nms(b, scores, classes=classes) for b in several]
    torch.testing.assert_close(found, torch.stack(expected))


def test_differentiable_suppression_compiles_whole() -> None:
    boxes, scores, classes = drawn(12, 90, of=2)
    torch._dynamo.reset()
    fast = torch.compile(differentiable_nms, fullgraph=True, backend="aot_eager")
    slopes = []
    for run in (differentiable_nms, fast):
        at = boxes.float().requires_grad_()
        run(at, scores.float(), classes=classes).sum().backward()
        slopes.append(at.grad)
    torch.testing.assert_close(*slopes)


def test_half_precision_is_computed_in_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = differentiable_nms(CHAIN.bfloat16(), FALLING.bfloat16(), threshold=0.4)
    expected = torch.tensor([1.0, 0.059, 0.8997])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


# --- what cannot be used --------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: box_area(torch.zeros(3, 5)), r"\(3, 5\).*x1, y1"),
        (lambda: nms(CHAIN, FALLING[:2]), r"scores of shape \(2,\)"),
        (lambda: nms(CHAIN[None], FALLING[None]), "one image"),
        (lambda: nms(CHAIN, FALLING, classes=torch.zeros(2)), "one a box"),
        (lambda: nms(CHAIN, FALLING, threshold=1.5), "an overlap, 0 to 1"),
        (lambda: soft_nms(CHAIN, FALLING, sigma=0.0), "positive"),
        (lambda: soft_nms(CHAIN, FALLING, kind="hard"), "'linear'"),
        (lambda: differentiable_nms(CHAIN, FALLING, temperature=0.0), "positive"),
        (lambda: differentiable_nms(CHAIN, FALLING[:1]), "expected"),
    ],
)
def test_what_cannot_be_used_is_refused(run: Callable, words: str) -> None:
    with pytest.raises(BoxError, match=words):
        run()


def test_no_box_is_no_error() -> None:
    none = torch.zeros(0, 4), torch.zeros(0)
    assert nms(*none).shape == soft_nms(*none).shape == (0,)
    assert differentiable_nms(*none).shape == (0,)
