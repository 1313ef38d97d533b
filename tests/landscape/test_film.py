"""Films: a frame shows what the optimizers wrote; files hold all frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from landscape.pictured import along_one_direction, field, settings
from surefoot.landscape import encode
from surefoot.landscape.descent import OPTIMIZERS, Descent, race
from surefoot.landscape.encode import write_gif, write_mp4
from surefoot.landscape.film import FilmOptions, Stage, film, frame_steps, frames, still
from surefoot.landscape.functions import DOUBLE_WELL
from surefoot.landscape.land import land
from surefoot.landscape.path import trajectory
from surefoot.landscape.surface import Options, surface

SMALL = FilmOptions(frames=4, seconds=1, dpi=40)


def _race(steps: int = 12) -> tuple[Descent, ...]:
    chosen = {name: OPTIMIZERS[name] for name in ("SGD", "Adam")}
    return race(DOUBLE_WELL, chosen, starts=[(-1.5, 1.0), (1.5, 1.0)], steps=steps)


def _lines(axes: Any) -> list[np.ndarray[Any, Any]]:
    found = [one for one in axes.get_lines() if one.get_animated()]
    return [
        np.column_stack(
            one.get_data_3d() if hasattr(one, "get_data_3d") else one.get_data()
        )
        for one in found
    ]


def test_a_frame_shows_the_points_of_the_optimizers_log() -> None:
    descents = _race()
    stage = Stage(land(field()), descents, SMALL)
    stage.show(7)
    above, below, space = (stage.figure.axes[index] for index in (0, 2, 1))
    for one in descents:
        assert any(np.array_equal(line, one.points[:8]) for line in _lines(above))
        assert any(np.array_equal(line, one.points[7:8]) for line in _lines(above))
        curve = np.column_stack([np.arange(8), one.losses[:8]])
        assert any(np.array_equal(line, curve) for line in _lines(below))
        deep = [line for line in _lines(space) if line.shape == (8, 3)]
        assert any(np.array_equal(line[:, :2], one.points[:8]) for line in deep)


def test_an_optimizer_that_stopped_stays_where_it_is() -> None:
    short, long = _race(3)[0], _race(9)[1]
    stage = Stage(land(field()), (short, long), SMALL)
    stage.show(9)
    assert any(
        np.array_equal(line, short.points) for line in _lines(stage.figure.axes[0])
    )


def test_frames_differ_only_where_something_moves() -> None:
    first, *_, last = frames(field(), _race(), options=SMALL)
    moved = (first != last).any(axis=-1).mean()
    assert 0 < moved < 0.2
    assert first.dtype == np.uint8


def test_a_camera_that_turns_changes_what_is_seen() -> None:
    still_one = list(frames(field(), _race(), options=SMALL))
    turning = FilmOptions(frames=4, seconds=1, dpi=40, turn=60)
    turned = list(frames(field(), _race(), options=turning))
    np.testing.assert_array_equal(still_one[0], turned[0])
    assert (still_one[-1] != turned[-1]).any(axis=-1).mean() > 0.1


def test_a_gif_holds_all_frames_and_is_the_same_twice(tmp_path: Path) -> None:
    before = settings()
    one, other = (
        film(field(), _race(), to=tmp_path / name, options=SMALL)
        for name in ("a.gif", "b.gif")
    )
    assert one.read_bytes() == other.read_bytes()
    with Image.open(one) as read:
        assert read.n_frames == 5  # type: ignore[attr-defined]
        assert read.info["loop"] == 0
        shown = [np.asarray(_frame(read, index)).astype(int) for index in (0, 4)]
    drawn = list(frames(field(), _race(), options=SMALL))
    for index, picture in zip((0, 4), shown, strict=True):
        assert np.abs(picture - drawn[index]).mean() < 3
    assert settings() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "b.gif"]


def _frame(read: Any, index: int) -> Any:
    read.seek(index)
    return read.convert("RGB")


def test_colours_that_must_stay_stay(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    noise[:4] = (0xD5, 0x5E, 0x00)
    write_gif(iter([noise] * 2), [0.1, 0.1], to=tmp_path / "a.gif", exact=("#D55E00",))
    with Image.open(tmp_path / "a.gif") as read:
        assert read.convert("RGB").getpixel((3, 1)) == (0xD5, 0x5E, 0x00)


def test_the_path_of_a_training_is_filmed_from_its_field() -> None:
    path = [[1.5, 1.2], [1.2, 0.6], [0.95, 0.0]]
    assert len(list(frames(field(path=path), options=SMALL))) == 3
    made = still(field(path=path), step=1)
    assert any(
        np.allclose(one.get_data(), np.array(path[:2]).T)  # type: ignore[arg-type]
        for one in made.axes[0].get_lines()
    )


def test_a_real_surface_is_filmed_and_drawn_with_its_path() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    batch = torch.randn(16, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    checkpoints: list[dict[str, torch.Tensor]] = []
    for _ in range(5):
        checkpoints.append({n: v.clone() for n, v in net.state_dict().items()})
        optimizer.zero_grad()
        _loss(net, batch).backward()
        optimizer.step()
    around = surface(
        net,
        batch,
        loss_fn=_loss,
        directions=trajectory(net, checkpoints),
        points=9,
        options=Options(exact=True),
    )
    made = still(around)
    path = around.field().about["path"]
    assert len(path) == 5
    above, _, below = made.axes
    assert any(
        np.allclose(np.transpose(one.get_data()), path)
        for one in above.get_lines()
        if len(one.get_xdata()) == 5
    )
    assert below.get_xlabel() == "checkpoint"
    assert "of the path" in above.get_xlabel()


def _loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return (model(batch) - 1).square().mean()


def test_a_path_that_leaves_the_picture_is_filmed() -> None:
    path = [[1.5, 1.2], [1.2, 0.6], [9.0, 0.0]]
    assert len(list(frames(field(path=path), options=SMALL))) == 3


def test_frames_are_spread_evenly_from_start_to_end() -> None:
    steps = frame_steps(_race(97), 10)
    assert (steps[0], steps[-1], len(steps)) == (0, 97, 11)
    assert {round(gap, -1) for gap in np.diff(steps)} == {10}
    assert frame_steps(_race(3), 10) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("given", "name", "said"),
    [
        ((field(), ()), "a.gif", "no path came"),
        ((along_one_direction([1.0, 2.0]), _race()), "a.gif", "a film needs two"),
        ((field(), _race()), "a.webm", r'"a.webm" came; expected'),
    ],
)
def test_what_cannot_be_filmed_is_refused(
    given: Any, name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        film(*given, to=tmp_path / name, options=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_lengths_that_make_no_film_are_refused() -> None:
    with pytest.raises(ValueError, match="0 frames in 8"):
        FilmOptions(frames=0)


# --- MP4 ------------------------------------------------------------------------


def test_without_ffmpeg_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "none"))
    monkeypatch.setattr(encode.sys, "executable", shutil.which("false") or "/bin/false")
    with pytest.raises(FileNotFoundError, match=r'pip install "surefoot\[film\]"'):
        film(field(), _race(), to=tmp_path / "a.mp4", options=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_is_written_whole_and_the_same_twice(tmp_path: Path) -> None:
    one, other = (
        film(field(), _race(), to=tmp_path / name, options=SMALL)
        for name in ("a.mp4", "b.mp4")
    )
    assert one.read_bytes()[4:8] == b"ftyp"
    assert b"moov" in one.read_bytes()
    assert one.read_bytes() == other.read_bytes()


def test_what_ffmpeg_complains_of_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho no codec >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(OSError, match=r"could not write .*no codec"):
        write_mp4(iter([picture] * 2), [0.1, 0.1], to=tmp_path / "a.mp4")
