"""A folder comes in, the application that answers for it goes out.

Routes only: what is asked is read by `questions`, answered by `answers` on a few
threads of our own, and guarded by `guard`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from surefoot.dashboard import news, questions
from surefoot.dashboard.answers import Answers
from surefoot.dashboard.examiner import Examiner
from surefoot.dashboard.glances import ODD, trouble_of
from surefoot.dashboard.guard import Guard
from surefoot.dashboard.library import Library, UnknownRunError
from surefoot.record.reader import UnknownQuantityError
from surefoot.record.schema import RecordError
from surefoot.report.packing import Json
from surefoot.report.page import AssetsError, page, served_policy

THREADS = 4
"""That read files: one person looks at a few things at a time."""

MOST_ANSWER = 1_000
"""Bytes of an answer: a number and a word."""

_log = logging.getLogger("surefoot")

Given = ParamSpec("Given")
Value = TypeVar("Value")


def application(
    folder: Path,
    allowed: frozenset[str],
    *,
    ended: Callable[[], bool] = lambda: False,
) -> ASGIApp:
    """The whole dashboard of a folder as an ASGI application.

    Args:
        folder: Where the records are; it may come to exist later.
        allowed: The hosts that requests may name, see `guard.hosts`.
        ended: Whether the server is about to end: streams of news stop then.

    Raises:
        AssetsError: the page's script and style were not built.
    """
    library, examiner = Library(folder), Examiner()
    dashboard = Dashboard(Answers(library, examiner), ended)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        examiner.close()
        dashboard.close()
        library.close()

    routes = [
        Route("/", dashboard.home),
        Route("/api/runs", dashboard.runs),
        Route("/api/run/{name}", dashboard.run),
        Route("/api/run/{name}/panel", dashboard.panel),
        Route("/api/run/{name}/field", dashboard.field),
        Route("/api/run/{name}/verdict", dashboard.verdict),
        Route("/api/run/{name}/report", dashboard.report),
        Route("/api/run/{name}/answer", dashboard.answer, methods=["POST"]),
        Route("/api/compare", dashboard.compare),
        Route("/api/news", dashboard.news),
    ]
    handlers: Mapping[Any, Any] = {
        HTTPException: refused,
        questions.QuestionError: misunderstood,
        UnknownRunError: not_there,
        UnknownQuantityError: not_there,
        KeyError: not_there,
        AssetsError: failed,
        Exception: failed,
        **dict.fromkeys(ODD, unreadable),
    }
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    inner.router.redirect_slashes = False  # a name that ends so is another name
    return Guard(inner, allowed)


class Dashboard:
    """The endpoints, and the threads on which they are answered."""

    def __init__(self, answers: Answers, ended: Callable[[], bool]) -> None:
        self._answers = answers
        self._ended = ended
        self._page = page(answers.home, served=True)
        self._policy = f"{served_policy()}; frame-ancestors 'none'"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="surefoot ui")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def home(self, request: Request) -> Response:
        """The page."""
        questions.nothing(request.query_params.multi_items())
        return HTMLResponse(
            self._page, headers={"content-security-policy": self._policy}
        )

    async def runs(self, request: Request) -> Response:
        """RunList."""
        questions.nothing(request.query_params.multi_items())
        return answered(await self._asked(self._answers.runs))

    async def run(self, request: Request) -> Response:
        """PageData of one run."""
        questions.nothing(request.query_params.multi_items())
        return answered(await self._asked(self._answers.page, named(request)))

    async def panel(self, request: Request) -> Response:
        """PanelAnswer."""
        query = questions.panel_query(request.query_params.multi_items())
        found = await self._asked(self._answers.panel, named(request), query)
        return answered(found)

    async def field(self, request: Request) -> Response:
        """FieldData or null."""
        query = questions.field_question(request.query_params.multi_items())
        found = await self._asked(self._answers.field, named(request), query)
        return answered(found)

    async def verdict(self, request: Request) -> Response:
        """VerdictAnswer."""
        start = questions.events_from(request.query_params.multi_items())
        found = await self._asked(self._answers.verdict, named(request), start)
        return answered(found)

    async def report(self, request: Request) -> Response:
        """The report as a file to keep."""
        questions.nothing(request.query_params.multi_items())
        text = await self._asked(self._answers.report, named(request))
        file = quote(f"{named(request)}.html")
        kept = {"content-disposition": f"attachment; filename*=utf-8''{file}"}
        return HTMLResponse(text, headers=kept)

    async def answer(self, request: Request) -> Response:
        """A person's answer to a question of a run; it is left beside the record."""
        questions.nothing(request.query_params.multi_items())
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_ANSWER:
                return answered({"error": "an answer came that is too long"}, 413)
        told = questions.answered(body)
        await self._asked(self._answers.answer, named(request), told)
        return answered({"question": told.question, "answer": told.answer})

    async def compare(self, request: Request) -> Response:
        """Comparison."""
        query = questions.comparing(request.query_params.multi_items())
        return answered(await self._asked(self._answers.compare, query))

    async def news(self, request: Request) -> Response:
        """Server-sent events: of one run, or of the list of runs."""
        name = questions.followed(request.query_params.multi_items())
        path = None if name is None else await self._asked(self._answers.path, name)

        async def over() -> bool:
            return self._ended() or await request.is_disconnected()

        look, changes = (
            (partial(self._asked, self._answers.lines_now), news.list_changes)
            if path is None
            else (partial(self._asked, self._answers.news, path), news.whole)
        )
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        feed = news.Feed("runs" if path is None else "run", look, changes, over)
        return StreamingResponse(news.messages(feed), media_type="text/event-stream")

    def _asked(
        self,
        question: Callable[Given, Value],
        *given: Given.args,
        **named: Given.kwargs,
    ) -> Awaitable[Value]:
        """An answer, from a thread of our own."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, lambda: question(*given, **named))


def named(request: Request) -> str:
    """The name of the run that a request is about."""
    return str(request.path_params["name"])


def answered(body: Json, status: int = 200) -> Response:
    """JSON of a value that holds no NaN."""
    text = json.dumps(body, allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


# --- errors -----------------------------------------------------------------------


async def refused(request: Request, error: Exception) -> Response:
    """No such address."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    reason = (
        f"there is nothing at {request.url.path[:200]!r}; expected an address of the "
        "dashboard, such as / or /api/runs"
    )
    return answered({"error": reason}, status)


async def misunderstood(_: Request, error: Exception) -> Response:
    """A query that is not understood."""
    return answered({"error": str(error)}, 400)


async def not_there(_: Request, error: Exception) -> Response:
    """A run, stream, panel or layer that there is not."""
    reason = error.args[0] if isinstance(error, KeyError) and error.args else error
    return answered({"error": str(reason)}, 404)


async def unreadable(_: Request, error: Exception) -> Response:
    """A record that cannot be read as it is now."""
    if not isinstance(error, RecordError):
        _log.warning("an odd record: %s", error, exc_info=error)
    return answered({"error": trouble_of(error)}, 409)


async def failed(_: Request, error: Exception) -> Response:
    """A fault of our own."""
    reason = (
        f"the dashboard failed ({type(error).__name__}: {error}); expected an answer; "
        "please report it with what the terminal shows"
    )
    return answered({"error": reason}, 500)
