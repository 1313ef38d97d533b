"""A drawing that was interrupted goes on; one that is another is refused."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape.surface import Options, surface


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(16) % 3


def cross_entropy(model: nn.Module, given: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(given[0]), given[1])


class Counted:
    """A loss that counts its calls, and is interrupted at one of them."""

    def __init__(self, stop: int = 0) -> None:
        self.calls, self.stop = 0, stop

    def __call__(self, model: nn.Module, given: tuple[Tensor, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return cross_entropy(model, given)


@pytest.mark.parametrize("exact", [True, False])
def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, exact: bool) -> None:
    kept = tmp_path / "half.npz"
    options = Options(exact=exact, resume=kept)
    whole = Counted()
    expected = surface(
        net(), batch(), loss_fn=whole, points=9, options=Options(exact=exact)
    )
    first = Counted(stop=14)
    with pytest.raises(KeyboardInterrupt):
        surface(net(), batch(), loss_fn=first, points=9, options=options)
    second = Counted()
    drawn = surface(net(), batch(), loss_fn=second, points=9, options=options)
    np.testing.assert_array_equal(drawn.losses, expected.losses)
    np.testing.assert_array_equal(drawn.evaluated, expected.evaluated)
    assert second.calls == whole.calls - 13 + 1  # one is computed anew, to compare
    assert [one.name for one in tmp_path.iterdir()] == ["half.npz"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": net(1)},
        {"data": (batch()[0] + 1, batch()[1])},
        {"options": {"seed": 1}},
        {"options": {"training": False}},
        {"options": {"extent": 2.0}},
    ],
)
def test_losses_of_another_drawing_are_refused(tmp_path: Path, change: dict) -> None:
    kept = tmp_path / "half.npz"
    surface(
        net(), batch(), loss_fn=cross_entropy, points=3, options=Options(resume=kept)
    )
    options = Options(resume=kept, **change.get("options", {}))
    with pytest.raises(ValueError, match="losses of another drawing"):
        surface(
            change.get("model", net()),
            change.get("data", batch()),
            loss_fn=cross_entropy,
            points=3,
            options=options,
        )


def test_another_loss_is_noticed(tmp_path: Path) -> None:
    options = Options(resume=tmp_path / "half.npz")
    surface(net(), batch(), loss_fn=cross_entropy, points=3, options=options)
    with pytest.raises(ValueError, match="with another loss function"):
        surface(
            net(),
            batch(),
            loss_fn=lambda m, b: 2 * cross_entropy(m, b),
            points=3,
            options=options,
        )


@pytest.mark.parametrize("content", [b"", b"not a file of ours", b"PK\x03\x04broken"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    kept = tmp_path / "other.npz"
    kept.write_bytes(content)
    with pytest.raises(ValueError, match="no file that Surefoot wrote"):
        surface(
            net(),
            batch(),
            loss_fn=cross_entropy,
            points=3,
            options=Options(resume=kept),
        )
    assert kept.read_bytes() == content


def test_nothing_in_a_file_is_unpickled(tmp_path: Path) -> None:
    kept = tmp_path / "evil.npz"
    np.savez(kept, digest=np.array([object()]), losses=np.zeros(1), known=np.zeros(1))
    with pytest.raises(ValueError, match="no file that Surefoot wrote"):
        surface(
            net(),
            batch(),
            loss_fn=cross_entropy,
            points=3,
            options=Options(resume=kept),
        )


def test_progress_counts_up_to_its_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    options = Options(progress=lambda *one: told.append(one), resume=tmp_path / "kept")
    drawn = surface(net(), batch(), loss_fn=cross_entropy, points=9, options=options)
    assert told[-1] == (drawn.evaluations, drawn.evaluations)
    assert [done for done, _ in told[:-1]] == list(range(1, drawn.evaluations + 1))
    assert all(done <= total for done, total in told)


def test_processes_draw_the_same_surface() -> None:
    alone = surface(net(), batch(), loss_fn=cross_entropy, points=9)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        drawn = surface(
            net(),
            batch(),
            loss_fn=cross_entropy,
            points=9,
            options=Options(executor=executor),
        )
        np.testing.assert_allclose(drawn.losses, alone.losses, rtol=1e-6)
        with pytest.raises(ValueError, match="sent to other processes"):
            surface(
                net(),
                batch(),
                loss_fn=lambda m, b: cross_entropy(m, b),
                points=3,
                options=Options(executor=executor),
            )


def test_threads_are_refused() -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match="executor of processes"),
    ):
        surface(
            net(),
            batch(),
            loss_fn=cross_entropy,
            options=Options(executor=executor),
        )
