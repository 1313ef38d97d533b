"""Points of images come in, Gaussian heat maps to train a pose network on go out.

A map is exp(−‖x − μ‖²/2σ²) around its point: "peak" leaves its highest value at 1 and
"sum" divides it by its sum. The choice decides what σ does to the gradient, so that an
annealed σ must keep one of them: `pull` and `heatmap_report` say the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from surefoot.schedules.scheduled import Scheduled, value_at

Scale = Literal["peak", "sum"]


class HeatmapError(ValueError):
    """Points, sizes or widths that make no heat map."""


def gaussian_heatmaps(
    points: Tensor,
    *,
    size: tuple[int, int],
    sigma: float | Tensor = 2.0,
    scale: Scale = "peak",
    visible: Tensor | None = None,
) -> Tensor:
    """A Gaussian around each point (Tompson et al. 2014; Xiao et al. 2018).

    Nothing is cut off at some distance, and points between pixels or outside of the
    image are taken as they are. Gradients flow to points and σ.

    Args:
        points: `[..., 2]` as (x, y), in pixels: the centre of the first one is (0, 0).
        size: (height, width) of the maps.
        sigma: σ in pixels: one number, or a tensor that broadcasts to `[...]`, such as
            one for each joint. 2 in Xiao et al. 2018, for maps of 64 × 48.
        scale: "peak" for 1 at a point that lies on a pixel; "sum" for maps that sum
            to 1, as those of kornia's `render_gaussian2d`: their peak is 1/(2πσ²) where
            the map holds the whole Gaussian, and σ is half a pixel or more.
        visible: booleans `[...]`; maps of points that are not visible are 0.

    Returns:
        `[..., height, width]` in the type of the points; float32 of whole numbers.

    Raises:
        HeatmapError: points that are no pairs, an empty map, a number σ that is not
            positive, an unknown scale, a mask of another shape or type.

    >>> gaussian_heatmaps(torch.tensor([1.0, 0.0]), size=(1, 3), sigma=1.0)
    tensor([[0.6065, 1.0000, 0.6065]])
    """
    _check(points, size, scale)
    _check_sigma(sigma)
    kind = points.dtype if points.is_floating_point() else torch.float32
    wide = torch.promote_types(kind, torch.float32)
    at, width = points.to(wide), torch.as_tensor(sigma, device=points.device).to(wide)
    across = _profile(at[..., 0], size[1], width, scale)
    down = _profile(at[..., 1], size[0], width, scale)
    maps = down[..., :, None] * across[..., None, :]
    return _shown(maps, points, visible).to(kind)


def _profile(centre: Tensor, count: int, sigma: Tensor, scale: Scale) -> Tensor:
    """One axis: the Gaussian is the product of two."""
    pixels = torch.arange(count, device=centre.device, dtype=centre.dtype)
    logs = -0.5 * ((pixels - centre[..., None]) / sigma[..., None]).square()
    # A softmax, as far away all numbers would be 0 before they are divided.
    return logs.exp() if scale == "peak" else logs.softmax(-1)


def _shown(maps: Tensor, points: Tensor, visible: Tensor | None) -> Tensor:
    if visible is None:
        return maps
    if visible.dtype != torch.bool or visible.shape != points.shape[:-1]:
        raise HeatmapError(
            f"visible of shape {tuple(visible.shape)} and type {visible.dtype} came; "
            f"expected booleans of shape {tuple(points.shape[:-1])}"
        )
    return torch.where(visible[..., None, None], maps, 0.0)


class GaussianHeatmaps(nn.Module):
    """`gaussian_heatmaps` with a σ that can be annealed: a buffer that is read live.

    Wide maps first, so that far predictions are pulled at all, narrow ones last, so
    that the peak is where the point is: `after_step(optimizer, Vary(targets, "sigma",
    schedule=Geometric(4.0, 1.0, steps=1_000)))`.

    Args:
        size: (height, width) of the maps.
        sigma: σ in pixels; of a schedule its value at step 0.
        scale: "peak" or "sum"; it stays the same when σ changes.
        device: of σ.
        dtype: of σ.

    Shape:
        Points `[..., 2]` and, if given, visible `[...]` to `[..., height, width]`.

    Raises:
        HeatmapError: as `gaussian_heatmaps`.

    >>> targets = GaussianHeatmaps((64, 48), sigma=2.0)
    >>> targets(torch.tensor([[24.0, 32.0]])).shape
    torch.Size([1, 64, 48])
    """

    sigma: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        *,
        sigma: float | Scheduled = 2.0,
        scale: Scale = "peak",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        start = value_at(sigma, 0)
        _check(torch.zeros(2), size, scale)
        _check_sigma(start)
        self.size, self.scale = (int(size[0]), int(size[1])), scale
        self.register_buffer("sigma", torch.tensor(start, device=device, dtype=dtype))

    def forward(self, points: Tensor, visible: Tensor | None = None) -> Tensor:
        """Targets for points, at the σ of now."""
        return gaussian_heatmaps(
            points,
            size=self.size,
            sigma=self.sigma,
            scale=self.scale,  # pyright: ignore[reportArgumentType]
            visible=visible,
        )

    def extra_repr(self) -> str:
        """Size, σ and scale."""
        width = "meta" if self.sigma.is_meta else f"{float(self.sigma):.4g}"
        return f"size={self.size}, sigma={width}, scale={self.scale!r}"


# --- what σ does to the gradient ------------------------------------------------


def pull(offset: float, *, sigma: float, scale: Scale = "peak") -> float:
    """By how much a squared error changes with the centre of a predicted Gaussian.

    Of Σ (prediction − target)², both Gaussians of σ, centres d apart, in closed form:
    π d exp(−d²/4σ²) if the peak is 1, and d exp(−d²/4σ²)/(4πσ⁴) if the sum is. The
    first one has its maximum π√2 σ e^(−1/2), the second √2 e^(−1/2)/(4πσ³), at √2 σ.

    Raises:
        HeatmapError: a σ that is not positive, or an unknown scale.

    >>> [round(pull(6.0, sigma=sigma), 4) for sigma in (1, 2, 4, 8)]
    [0.0023, 1.9867, 10.7402, 16.3768]
    """
    _check_sigma(sigma)
    _check(torch.zeros(2), (1, 1), scale)
    slope = math.pi * offset * math.exp(-((offset / sigma) ** 2) / 4)
    return slope if scale == "peak" else slope * _top(sigma, scale) ** 2


@dataclass(frozen=True, slots=True)
class HeatmapReport:
    """What a σ means: the map's top and steepest slope a pixel, and pulls on a centre.

    `pull` is that at the offset asked for, `largest_pull` the largest at any offset,
    `reach` the offset where that is: beyond it the pull fades.
    """

    sigma: float
    scale: Scale
    peak: float
    steepest: float
    pull: float
    largest_pull: float
    reach: float

    def __str__(self) -> str:
        """One line, for a table."""
        return (
            f"σ {self.sigma:<5.3g} peak {self.peak:<8.4g} slope {self.steepest:<8.4g} "
            f"pull {self.pull:<8.4g} at most {self.largest_pull:<8.4g} "
            f"at {self.reach:.3g} px"
        )


def heatmap_report(
    sigmas: Sequence[float], *, offset: float = 6.0, scale: Scale = "peak"
) -> list[HeatmapReport]:
    """What each σ of a plan means for the gradient, with one scale for all.

    Args:
        sigmas: such as the values of a schedule, `schedule.values([0, 500, 1_000])`.
        offset: how far from the point a prediction is, in pixels.
        scale: of the maps.

    Raises:
        HeatmapError: a σ that is not positive, or an unknown scale.

    >>> for line in heatmap_report([1, 2, 4]):
    ...     print(line)
    σ 1     peak 1        slope 0.6065   pull 0.002326 at most 2.695    at 1.41 px
    σ 2     peak 1        slope 0.3033   pull 1.987    at most 5.389    at 2.83 px
    σ 4     peak 1        slope 0.1516   pull 10.74    at most 10.78    at 5.66 px
    """
    return [_report(float(sigma), offset, scale) for sigma in sigmas]


def _report(sigma: float, offset: float, scale: Scale) -> HeatmapReport:
    here = pull(offset, sigma=sigma, scale=scale)
    reach, top = math.sqrt(2) * sigma, _top(sigma, scale)
    return HeatmapReport(
        sigma=sigma,
        scale=scale,
        peak=top,
        steepest=top * math.exp(-0.5) / sigma,
        pull=here,
        largest_pull=pull(reach, sigma=sigma, scale=scale),
        reach=reach,
    )


def _top(sigma: float, scale: Scale) -> float:
    """The highest value of a map."""
    return 1.0 if scale == "peak" else 1 / (2 * math.pi * sigma**2)


def _check_sigma(sigma: float | Tensor) -> None:
    """Tensors are not read, which would make a device wait."""
    if not isinstance(sigma, Tensor) and not (sigma > 0 and math.isfinite(sigma)):
        raise HeatmapError(f"sigma={sigma!r} came; expected a positive width in pixels")


def _check(points: Tensor, size: tuple[int, int], scale: Scale) -> None:
    if not points.ndim or points.shape[-1] != 2:
        raise HeatmapError(
            f"points of shape {tuple(points.shape)} came; expected [..., 2] as (x, y)"
        )
    if len(size) != 2 or min(size) < 1:
        raise HeatmapError(f"size={size!r} came; expected (height, width), 1 or more")
    if scale not in ("peak", "sum"):
        raise HeatmapError(f"scale={scale!r} came; expected 'peak' or 'sum'")
