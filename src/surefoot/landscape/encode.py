"""Pictures come in, one after the other; a GIF or an MP4 goes out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

Pixels = NDArray[np.uint8]

COLOURS = 192
"""Of a GIF: a map of 24 levels with its light, seven lines and their soft edges."""

MP4_RATE = 25
"""Frames a second: what every player shows. Slower films repeat their frames."""


def write_gif(
    pictures: Iterator[Pixels],
    seconds: Sequence[float],
    *,
    to: Path,
    exact: Sequence[str] = (),
) -> None:
    """Write an endless GIF.

    All frames share one palette, without dithering, so that what does not move costs
    nothing.

    Args:
        pictures: uint8, shape [height, width, 3] each.
        seconds: that each stays.
        to: the file; it is there when all of it is.
        exact: colours that stay as they are, as in "#D55E00".
    """
    images = [Image.fromarray(one) for one in pictures]
    shared = palette(images, exact)
    flat = [one.quantize(palette=shared, dither=Image.Dither.NONE) for one in images]
    part = to.with_name(to.name + ".part")
    flat[0].save(
        part, format="GIF", save_all=True, append_images=flat[1:], loop=0,
        duration=[round(1000 * one) for one in seconds], optimize=True,
    )  # fmt: skip
    part.replace(to)


def palette(images: Sequence[Image.Image], exact: Sequence[str]) -> Image.Image:
    """Colours for all pictures, some of them given.

    Taken from the first, a middle and the last: between them all colours are there.

    Args:
        images: of one size, at least one.
        exact: colours that must be among them, as in "#D55E00".

    Returns:
        What `Image.quantize(palette=...)` takes, of at most `COLOURS` colours.
    """
    chosen = [images[0], images[len(images) // 2], images[-1]]
    width, height = chosen[0].size
    sheet = Image.new("RGB", (width, height * len(chosen)))
    for index, one in enumerate(chosen):
        sheet.paste(one, (0, index * height))
    found = sheet.quantize(COLOURS - len(exact), method=Image.Quantize.MEDIANCUT)
    kept = [level for one in exact for level in ImageColor.getrgb(one)]
    made = Image.new("P", (1, 1))
    made.putpalette(kept + list(found.getpalette() or ()))
    return made


def write_mp4(
    pictures: Iterator[Pixels],
    seconds: Sequence[float],
    *,
    to: Path,
    exact: Sequence[str] = (),
) -> None:
    """Write an MP4 (H.264) by ffmpeg.

    Args:
        pictures: uint8, shape [height, width, 3] each.
        seconds: that each stays.
        to: the file; it is there when all of it is.
        exact: of no use here: an MP4 has all colours.

    Raises:
        FileNotFoundError: there is no ffmpeg; the message says what to install.
        OSError: ffmpeg failed; the message is its own.
    """
    program = ffmpeg()
    part = to.with_name(to.name + ".part")
    first = next(pictures)
    with TemporaryFile() as said:
        command = _command(program, first, part)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as writing:
            for picture, stay in zip(_all(first, pictures), seconds, strict=True):
                if writing.stdin and writing.poll() is None:
                    for _ in range(max(round(stay * MP4_RATE), 1)):
                        writing.stdin.write(_even(picture).tobytes())
        if writing.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()[-500:]
            raise OSError(f"ffmpeg could not write {to}: {text}")
    part.replace(to)


def _all(first: Pixels, rest: Iterator[Pixels]) -> Iterator[Pixels]:
    yield first
    yield from rest


def _even(picture: Pixels) -> Pixels:
    """H.264 needs even sides."""
    height, width = picture.shape[:2]
    return picture[: height // 2 * 2, : width // 2 * 2]


def _command(program: str, first: Pixels, to: Path) -> list[str]:
    height, width = _even(first).shape[:2]
    size, rate = f"{width}x{height}", str(MP4_RATE)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "-"]
    # One thread, and no date or version in the file: the same film, the same bytes.
    same = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    video = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p"]
    quiet = ["-loglevel", "error", "-y"]
    fast = ["-movflags", "+faststart", "-f", "mp4"]
    return [program, *quiet, *source, *video, *same, *fast, str(to)]


def ffmpeg() -> str:
    """The program that writes MP4: on the path, or of the package imageio-ffmpeg.

    Raises:
        FileNotFoundError: there is neither.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    asked = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return done.stdout.strip()
    raise FileNotFoundError(
        "an MP4 needs ffmpeg, and there is none on the path; install it, or "
        '`pip install "surefoot[film]"`, or give a name that ends in .gif'
    )
