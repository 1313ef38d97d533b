"""Questions come in, the values that `web/src/data.ts` describes go out.

Everything here blocks, on files only, and runs on the server's own threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from surefoot.dashboard.examiner import Examiner
from surefoot.dashboard.glances import ODD, UNREADABLE, Glance, Glances, trouble_of
from surefoot.dashboard.judging import Judge, Judgement, judgement
from surefoot.dashboard.library import Library, Mark, UnknownRunError, has_plain_name
from surefoot.dashboard.questions import (
    Answered,
    Comparing,
    FieldQuestion,
    QuestionError,
)
from surefoot.record.answers import AnswerError, put_answer
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.record.trials import trials_of
from surefoot.report.contents import FIRST, FORMAT, contents, panel_answer, told
from surefoot.report.packing import (
    Json,
    in_full,
    jsonable,
    numbers,
    packed_field,
    shortened,
    titled,
)
from surefoot.report.page import report_text
from surefoot.report.panels import Query, panel
from surefoot.report.pictures import Picture, named, offered
from surefoot.report.words import severity_of
from surefoot.types import Diagnosis

MOST_EVENTS = 2_000
"""In one answer, as on a page; a page asks for the rest from there on."""

MOST_BINS = 16_384
"""Of a line in one answer where a width was asked for: 200 kB of JSON."""

MOST_COLUMNS = 4_096
"""Of a map likewise: 200 layers make 1.6 MB of it."""

MOST_LINES = 20
"""Of one run in a comparison: more cannot be told apart."""


class Answers:
    """All that a dashboard can be asked about one folder; safe in several threads."""

    def __init__(self, library: Library, examiner: Examiner) -> None:
        self._library = library
        self._glances = Glances(library)
        self._judge = Judge(examiner)

    # --- the folder ---------------------------------------------------------------

    @property
    def home(self) -> dict[str, Json]:
        """What the page is told of its server: ServerData."""
        folder = shortened(shown_folder(self._library.folder))
        return {"format": FORMAT, "server": True, "folder": folder}

    def lines(self) -> list[dict[str, Json]]:
        """All runs, the newest first: RunLine of the page.

        Raises:
            RecordError: the folder cannot be listed.
        """
        paths = self._library.paths()
        self._glances.forget(paths)
        found: list[dict[str, Json]] = []
        for name, path in paths.items():
            if not has_plain_name(name):
                found.append(_unnamed(name))
                continue
            try:
                mark, seen = self._glances.at(path)
            except UnknownRunError:
                continue
            found.append(run_line(name, seen, self._judge.of(path, mark, seen)))
        return sorted(found, key=lambda one: one["created"], reverse=True)

    def lines_now(self) -> list[dict[str, Json]]:
        """All runs, and none while the folder cannot be listed: news go on."""
        try:
            return self.lines()
        except RecordError:
            return []

    def runs(self) -> dict[str, Json]:
        """RunList of the page."""
        return {"folder": self.home["folder"], "runs": self.lines()}

    # --- one run ------------------------------------------------------------------

    def page(self, name: str) -> dict[str, Json]:
        """PageData of a run, with what is seen first."""
        path, _, known = self._judged(name)
        with self._library.reading(path) as reader:
            return contents(
                reader,
                known.found,
                trials_of(path),
                judged=known.judged,
                carried=FIRST,
            )

    def answer(self, name: str, told: Answered) -> None:
        """Leave an answer where the run looks for it.

        Raises:
            KeyError: the run asks no such question.
            RecordError: it cannot be left there.
        """
        path = self._library.path(name)
        with self._library.reading(path) as reader:
            asked = [e.body for e in reader.events() if e.kind == "question"]
        if all(body.get("question") != told.question for body in asked):
            raise KeyError(
                f"the run {name[:100]!r} asked no question {told.question}; expected "
                "one of its events of the kind question"
            )
        try:
            put_answer(path, told.question, told.answer)
        except (OSError, AnswerError) as error:
            raise RecordError(f"the answer cannot be left: {error}") from error

    def panel(self, name: str, query: Query) -> dict[str, Json]:
        """PanelAnswer: one map or line of a run.

        Raises:
            KeyError: there is no such stream, panel or layer.
            QuestionError: so narrow bins make too many of them.
        """
        path, _, known = self._judged(name)
        with self._library.reading(path) as reader:
            _check_stream(reader, query.stream)
            _check_bins(reader, query)
            return panel_answer(reader, _in_full(reader, query), known.found)

    def field(self, name: str, asked: FieldQuestion) -> Json:
        """FieldData, or None where no such field was recorded.

        Raises:
            KeyError: there is no such stream.
        """
        with self._library.reading(self._library.path(name)) as reader:
            _check_stream(reader, asked.stream)
            there = reader.field_titles(asked.kind, asked.stream)
            if asked.title is not None:
                there = [
                    one for one in there if titled(asked.kind, one[1]) == asked.title
                ]
                if not there:
                    return None
            title = None if asked.title is None else there[0][1]
            first = min((step for step, _ in there), default=0)
            step = None if asked.step is None else max(asked.step, first)
            found = reader.field(asked.kind, asked.stream, step=step, title=title)
        return None if found is None else packed_field(found, layer=asked.layer)

    def verdict(self, name: str, events_from: int) -> dict[str, Json]:
        """VerdictAnswer: all that is told in words, and the events from a number on.

        All events again where there are fewer than that: the record was made anew.
        """
        path, _, known = self._judged(name)
        with self._library.reading(path) as reader:
            start = events_from if events_from <= len(reader.events()) else 0
            said = told(
                reader,
                known.found,
                trials_of(path),
                judged=known.judged,
                events_from=start,
            )
        events = said["events"][:MOST_EVENTS]
        return {**said, "events": events, "events_from": start}

    def report(self, name: str) -> str:
        """The report of a run as it is now: a page of its own."""
        path, _, known = self._judged(name)
        with self._library.reading(path) as reader:
            return report_text(
                reader, known.found, trials_of(path), judged=known.judged
            )

    def news(self, path: Path) -> dict[str, Json]:
        """RunNews of the page; of status "gone" where the record is."""
        try:
            mark, seen = self._glances.at(path)
        except UnknownRunError:
            nothing = Glance(ended="gone")
            return _news(nothing, Judgement(self._judge.lost), "")
        known = self._judge.of(path, mark, seen, urgent=True)
        return _news(seen, known, known.token(mark))

    def path(self, name: str) -> Path:
        """The record of that name.

        Raises:
            UnknownRunError: there is none.
        """
        return self._library.path(name)

    def _judged(self, name: str) -> tuple[Path, Mark, Judgement]:
        path = self._library.path(name)
        mark, seen = self._glances.at(path)
        return path, mark, self._judge.of(path, mark, seen, urgent=True)

    # --- several ------------------------------------------------------------------

    def compare(self, asked: Comparing) -> dict[str, Json]:
        """Comparison of the page: one quantity of several runs.

        Raises:
            QuestionError: the quantity is none of a whole run.
        """
        picture = _whole_run(asked.quantity)
        lines: list[dict[str, Json]] = []
        troubles: list[dict[str, Json]] = []
        there: dict[str, None] = {}
        for name in asked.runs:
            try:
                with self._library.reading(self._library.path(name)) as reader:
                    there.update(dict.fromkeys(_lines_offered(reader)))
                    lines += _lines_of(name, reader, picture, asked.points)
            except ODD as error:
                text = shortened(trouble_of(error))
                troubles.append({"run": shortened(name), "text": text})
        return {
            "quantity": picture.name,
            "title": picture.title,
            "unit": picture.unit,
            "quantities": list(there),
            "lines": lines,
            "troubles": troubles,
        }


def shown_folder(folder: Path) -> str:
    """A folder as one would type it here: a page that is shown around tells no more.

    >>> shown_folder(Path.cwd() / "surefoot-runs")
    'surefoot-runs'
    """
    with contextlib.suppress(OSError, RuntimeError):
        for place, start in ((Path.cwd(), ""), (Path.home(), "~/")):
            if folder != place and folder.is_relative_to(place):
                return f"{start}{folder.relative_to(place)}"
    return str(folder)


def run_line(name: str, seen: Glance, known: Judgement) -> dict[str, Json]:
    """One run of a list: RunLine of the page."""
    return {
        "name": name,
        "created": seen.created,
        "status": seen.status(),
        "steps": seen.steps,
        "last_loss": jsonable(seen.last_loss),
        "spark": seen.spark,
        "judged": jsonable(asdict(known.judged)),
        "verdict": _headline(known.found),
        "trouble": seen.trouble,
    }


def _unnamed(name: str) -> dict[str, Json]:
    """The line of a file whose name no request can hold."""
    shown = name.encode("utf-8", "replace").decode()
    trouble = (
        f"the file's name {shown!r} cannot stand in an address; expected a name in "
        "UTF-8 that is more than dots; rename the file"
    )
    seen = Glance(ended=UNREADABLE, trouble=trouble)
    return run_line(shown, seen, judgement(seen, UNREADABLE, None))


def _headline(found: tuple[Diagnosis, ...]) -> dict[str, Json] | None:
    if not found:
        return None
    first = found[0]
    return {
        "cause": shortened(first.cause),
        "layer": shortened(first.layer),
        "onset": first.onset,
        "severity": severity_of(first),
        "confidence": jsonable(first.confidence),
        "more": len(found) - 1,
    }


def _news(seen: Glance, known: Judgement, token: str) -> dict[str, Json]:
    return {
        "status": seen.status(),
        "steps": seen.steps,
        "events": seen.events,
        "judged": jsonable(asdict(known.judged)),
        "verdict": token,
    }


def _check_stream(reader: RecordReader, stream: str) -> None:
    there = reader.streams()
    if stream not in there:
        raise KeyError(
            f"the run has no stream {stream[:100]!r}; expected one of "
            f"{', '.join(there)[:300] or 'none'}"
        )


def _in_full(reader: RecordReader, query: Query) -> Query:
    """The question with its layer's whole name: a page holds long ones shortened."""
    quantity = named(query.name).needs[0]
    if query.layer is None or not reader.has(quantity, query.stream):
        return query
    if shortened(query.layer) != query.layer or " … " not in query.layer:
        return query
    layers = reader.overview(quantity, query.stream, points=2).layers
    return replace(query, layer=in_full(query.layer, layers))


def _check_bins(reader: RecordReader, query: Query) -> None:
    """Refuse bins so narrow that an answer could not be drawn."""
    if query.width is None:
        return
    line = query.layer is not None or named(query.name).kind == "line"
    most = MOST_BINS if line else MOST_COLUMNS
    end = (reader.last_step(query.stream) or 0) + 1
    stop = end if query.stop is None else min(query.stop, end)
    bins = -(-(stop - (query.start or 0)) // query.width)
    if bins > most:
        raise QuestionError(
            f"width is {query.width}, which makes {bins} bins; expected at most "
            f"{most}; ask for wider bins or fewer steps"
        )


def _whole_run(quantity: str) -> Picture:
    """The line of that name."""
    try:
        picture = named(quantity)
    except KeyError as error:
        raise QuestionError(str(error.args[0])) from error
    if picture.kind != "line":
        raise QuestionError(
            f"{quantity} is recorded layer by layer; expected a quantity of the whole "
            "run, such as loss; look at it on the page of one run"
        )
    return picture


def _lines_offered(reader: RecordReader) -> list[str]:
    names: dict[str, None] = {}
    for stream in reader.streams():
        offers = offered(reader.quantities(stream))
        names.update({one.name: None for one in offers if one.kind == "line"})
    return list(names)


def _lines_of(
    name: str, reader: RecordReader, picture: Picture, points: int
) -> list[dict[str, Json]]:
    """The lines that a run adds to a comparison: of each stream and each layer."""
    streams = [
        one
        for one in reader.streams()
        if set(picture.needs) <= set(reader.quantities(one))
    ]
    lines: list[dict[str, Json]] = []
    for stream in streams:
        made = panel(reader, Query(picture.name, stream, points=points))
        if made is None:
            continue
        for row, layer in enumerate(made.y[:MOST_LINES]):
            parts = [name, *([stream] if len(streams) > 1 else [])]
            parts += [layer] if len(made.y) > 1 else []
            line: Mapping[str, Any] = {
                "run": name,
                "stream": shortened(stream),
                "label": shortened(" · ".join(parts)),
                "x": made.x.tolist(),
                "low": numbers(made.low[row]),
                "high": numbers(made.high[row]),
            }
            lines.append(dict(line))
    return lines[:MOST_LINES]
