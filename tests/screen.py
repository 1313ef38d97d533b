"""A terminal: bytes come in, what a person sees goes out. Written apart from the
package's own model, with the screen's edges: wrapping, scrolling, resizing."""

from __future__ import annotations

import codecs
import re

SEQUENCE = re.compile(r"\x1b\[(\?)?([0-9;]*)([A-Za-z])")


class Screen:
    """`lines` are all rows ever shown, those that scrolled away included."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows
        self.cells: list[list[str]] = [[]]
        self.y = self.x = 0
        self.colours = 0
        self.unknown: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    def feed(self, data: bytes) -> None:
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                self._character(text[at])
                at += 1
                continue
            found = SEQUENCE.match(text, at)
            if found is None:
                if len(text) - at < 12:
                    self._rest = text[at:]
                    return
                self.unknown.append(text[at : at + 12])
                at += 1
                continue
            self._sequence(found[2], found[3])
            at = found.end()

    def _character(self, one: str) -> None:
        if one == "\n":
            self._down()
        elif one == "\r":
            self.x = 0
        elif one == "\b":
            self.x = max(self.x - 1, 0)
        elif one == "\t":
            self.x = min(self.x // 8 * 8 + 8, self.columns - 1)
        elif one >= " ":
            if self.x == self.columns:
                self.x = 0
                self._down()
            row = self.cells[self.y]
            row.extend(" " * (self.x + 1 - len(row)))
            row[self.x] = one
            self.x += 1

    def _down(self) -> None:
        self.y += 1
        if self.y == len(self.cells):
            self.cells.append([])

    def _sequence(self, numbers: str, letter: str) -> None:
        count = int(numbers) if numbers.isdigit() else 1
        if letter == "A":  # not above the screen's first row
            top = max(len(self.cells) - self.rows, 0)
            self.y = max(self.y - count, top)
        elif letter == "B":
            self.y = min(self.y + count, len(self.cells) - 1)
        elif letter == "C":
            self.x = min(self.x + count, self.columns - 1)
        elif letter == "K":
            del self.cells[self.y][0 if numbers == "2" else self.x :]
        elif letter == "J" and numbers in ("", "0"):
            del self.cells[self.y][self.x :]
            del self.cells[self.y + 1 :]
        elif letter == "m":
            self.colours += 1
        else:
            self.unknown.append(numbers + letter)
