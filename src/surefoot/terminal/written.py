"""What a program writes to a terminal comes in, what stands there now goes out.

Just enough of a terminal to know two things: whether a few lines can be drawn at the
cursor without hurting anything, and how to put back what stands from the cursor's row
on (a progress bar, or several below each other).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce

KEPT_ROWS = 40
"""Rows above are settled: nothing goes back so far but programs that use the whole
screen, and those are left alone."""
KEPT_TEXT = 16_384
"""Characters of one write that can still matter: `KEPT_ROWS` rows of 400 columns."""

_PIECES = re.compile(
    r"\x1b\[(?P<numbers>[0-9;?]*)[ -/]*(?P<letter>[@-~])"  # control sequence
    r"|(?P<title>\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))"  # operating system command
    r"|(?P<escape>\x1b.?)"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)",
    re.DOTALL,
)
_HARMLESS = "mnhlqr"
"""Colours, reports, modes: they neither move the cursor nor write."""
_ALTERNATE = ("?1049", "?1047", "?47")


@dataclass(frozen=True, slots=True)
class Written:
    r"""The rows near the cursor.

    `doubt` counts the newlines until they are known again, after a sequence that took
    the cursor who knows where.

    >>> after_text(Written(), " 40%|###").free
    False
    >>> after_text(Written(), "epoch 1\n").free
    True
    """

    rows: tuple[str, ...] = ("",)
    row: int = 0
    column: int = 0
    doubt: int = 0
    away: bool = False
    """On the alternate screen, as editors and pagers are."""

    @property
    def free(self) -> bool:
        """Whether the cursor is at the start of an empty line, and nothing is below."""
        blank = not any(one.strip() for one in self.rows[self.row :])
        return self.restorable and self.column == 0 and blank

    @property
    def restorable(self) -> bool:
        """Whether it is known what stands from the cursor's row on."""
        return not self.doubt and not self.away

    def restored(self) -> str:
        """What writes the rows from the cursor's on again, and leaves the cursor.

        To be written where the cursor's row begins and nothing stands below.
        """
        below = [one.rstrip() for one in self.rows[self.row :]]
        while len(below) > 1 and not below[-1]:
            below.pop()
        up = f"\x1b[{len(below) - 1}A" if len(below) > 1 else ""
        right = f"\x1b[{self.column}C" if self.column else ""
        return "\r\n".join(below) + up + "\r" + right


def after_text(written: Written, text: str) -> Written:
    """What stands there after some more text."""
    matters = text[-KEPT_TEXT:]
    return _trimmed(reduce(_after_piece, _PIECES.finditer(matters), written))


def _after_piece(written: Written, piece: re.Match[str]) -> Written:
    """After one run of plain characters, one control character or one sequence."""
    if written.away and piece["letter"] != "l":
        return written
    if piece["text"]:
        return _over(written, piece["text"])
    if piece["control"]:
        return _controlled(written, piece["control"])
    if piece["letter"]:
        return _sequence(written, piece["numbers"], piece["letter"])
    return written if piece["title"] else _doubted(written)


def _over(written: Written, text: str) -> Written:
    """Characters over what stands in the cursor's row."""
    old = written.rows[written.row]
    end = written.column + len(text)
    new = old[: written.column].ljust(written.column) + text + old[end:]
    return replace(_with_row(written, new), column=end)


def _controlled(written: Written, control: str) -> Written:
    if control == "\r":
        return replace(written, column=0)
    if control == "\b":
        return replace(written, column=max(written.column - 1, 0))
    if control == "\t":
        return replace(written, column=written.column // 8 * 8 + 8)
    if control == "\n":
        rows = (
            written.rows if written.row + 1 < len(written.rows) else (*written.rows, "")
        )
        doubt = max(written.doubt - 1, 0)
        return Written(rows, written.row + 1, 0, doubt, written.away)
    return written if control in "\x00\x07" else _doubted(written)


def _sequence(written: Written, numbers: str, letter: str) -> Written:
    if letter in "hl" and numbers in _ALTERNATE:
        return replace(written, away=letter == "h")
    if letter in _HARMLESS:
        return written
    if not re.fullmatch(r"\d*", numbers):
        return _doubted(written)
    count = int(numbers or 1)
    if letter in "AB":
        return _moved(written, count if letter == "B" else -count)
    if letter in "CDG":
        column = {"C": written.column + count, "D": written.column - count}
        return replace(written, column=max(column.get(letter, count - 1), 0))
    if letter in "KJ":
        return _erased(written, letter, int(numbers or 0))
    return _doubted(written)


def _moved(written: Written, rows: int) -> Written:
    """The cursor some rows down or up; rows that were never seen are unknown."""
    row = written.row + rows
    seen = 0 <= row < len(written.rows)
    return replace(written, row=row) if seen else _doubted(written)


def _doubted(written: Written) -> Written:
    """After something that took the cursor who knows where."""
    return Written(doubt=KEPT_ROWS, away=written.away)


def _erased(written: Written, letter: str, mode: int) -> Written:
    """After K (this row) or J (this row and those below), from the cursor or whole."""
    if mode == 3:  # what scrolled away
        return written
    if letter == "J" and mode == 2:  # wherever the cursor is, all is empty
        return Written(column=written.column, away=written.away)
    if mode not in (0, 2):
        return _doubted(written)
    kept = written.rows[written.row][: written.column] if mode == 0 else ""
    erased = _with_row(written, kept)
    if letter == "J":
        return replace(erased, rows=erased.rows[: written.row + 1])
    return erased


def _with_row(written: Written, text: str) -> Written:
    rows = written.rows
    return replace(written, rows=(*rows[: written.row], text, *rows[written.row + 1 :]))


def _trimmed(written: Written) -> Written:
    """Without the rows that are settled."""
    spare = max(written.row - KEPT_ROWS, 0)
    return replace(written, rows=written.rows[spare:], row=written.row - spare)
