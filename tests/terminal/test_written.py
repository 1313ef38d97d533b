"""What stands on a terminal is known from what was written to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from screen import Screen
from surefoot.terminal.written import KEPT_ROWS, Written, after_text


def after(*texts: str) -> Written:
    written = Written()
    for text in texts:
        written = after_text(written, text)
    return written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a line\n",
        "\ra bar 10%\ra bar 20%\n",
        "a bar\r     \r",
        "a bar\r\x1b[K",
        "a bar\x1b[2K\r",
        "outer\ninner\x1b[A\r\x1b[J",
        "\x1b[31mcoloured\x1b[0m\n",
        "\x1b]0;a title\x07",
        "\x1b[?1049hpager\x1b[?1049l",
        "\x1b[?25l\x1b[?25h",
        "mistake\x1b[12;40H" + "and then whole lines\n" * KEPT_ROWS,
        "text\x1b[H\x1b[2J\x1b[3J",
    ],
)
def test_there_is_room_at_the_start_of_an_empty_line(text: str) -> None:
    assert after(text).free


@pytest.mark.parametrize(
    "text",
    [
        "no end",
        "\ra bar 10%",
        "a bar that stays\r",
        "outer\ninner\x1b[A\r",
        "\n\nbelow\x1b[2A\r",
        "a tab\t",
        "\x1b[?1049h",
        "\x1b[H",
        "\x1b[5A",
        "text\x1b[2J",
        "mistake\x1b[12;40H\n\n",
        "\x1b[3;1H",
        "\x1bM",
    ],
)
def test_there_is_none_elsewhere(text: str) -> None:
    assert not after(text).free


def test_rows_far_above_are_forgotten() -> None:
    written = after("line\n" * 1000)
    assert len(written.rows) <= KEPT_ROWS + 1
    assert written.free


def test_of_a_very_long_text_the_end_counts() -> None:
    assert after("x" * 10_000_000 + "\n").free
    assert not after("\n" * 10_000_000 + "x").free


PIECES = some.lists(
    some.sampled_from(
        ["a", "bar 10%", " ", "\r", "\n", "\b", "\t", "\x1b[A", "\x1b[2A", "\x1b[B",
         "\x1b[K", "\x1b[2K", "\x1b[J", "\x1b[C", "\x1b[7m"]
    ),
    max_size=30,
)  # fmt: skip


@given(PIECES)
def test_what_is_known_is_what_a_terminal_shows(pieces: list[str]) -> None:
    """Against a terminal that was written apart, for all that we know of."""
    text = "".join(pieces)
    written, screen = after(*pieces), Screen(columns=500, rows=100)
    screen.feed(text.replace("\n", "\r\n").encode())
    if not written.restorable:
        return
    below = [one.rstrip() for one in written.rows[written.row :]]
    shown = screen.lines[screen.y :]
    assert "\n".join(below).rstrip() == "\n".join(shown).rstrip()
    assert written.column == screen.x


@given(PIECES)
def test_what_is_restored_is_as_it_was(pieces: list[str]) -> None:
    written, screen = after(*pieces), Screen(columns=500, rows=100)
    if not written.restorable:
        return
    screen.feed("".join(pieces).replace("\n", "\r\n").encode())
    before, above = screen.lines[screen.y :], screen.lines[: screen.y]
    screen.feed(f"\r\x1b[Jalarm\r\n{written.restored()}".encode())
    assert screen.lines[: len(above)] == above
    assert screen.lines[len(above)] == "alarm"
    after_it = "\n".join(screen.lines[len(above) + 1 :]).rstrip()
    assert after_it == "\n".join(before).rstrip()
    assert (screen.y, screen.x) == (len(above) + 1, written.column)
