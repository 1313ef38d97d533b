"""From a record to diagnoses: a reader comes in, ranked causes go out."""

from __future__ import annotations

from collections.abc import Mapping

from surefoot.diagnosis.diagnose import diagnose
from surefoot.diagnosis.extent import MOST_VALUES, extent, read
from surefoot.diagnosis.in_use import with_techniques
from surefoot.record.reader import RecordReader
from surefoot.signatures.across import across
from surefoot.signatures.detect import detect
from surefoot.signatures.streams import Stream
from surefoot.signatures.traits import traits
from surefoot.types import Diagnosis, Facts, Finding


def examine(reader: RecordReader) -> list[Diagnosis]:
    """All that is wrong in a run, over all its streams, most confident first.

    Works on a finished record and on one that is still being written. Of one that is
    too long to be held in memory its beginning and end are looked at, see
    `diagnosis.extent`.

    Raises:
        RecordError: the record cannot be read.
    """
    return judge(streams(reader))[1]


def streams(
    reader: RecordReader, *, most_values: int = MOST_VALUES
) -> dict[str, Stream]:
    """What was recorded, stream by stream, at most so many readings of each.

    Raises:
        RecordError: the record cannot be read.
    """
    known = reader.facts()
    found: dict[str, Stream] = {}
    for stream in reader.streams():
        facts = known.get(stream, Facts(stream=stream))
        series = read(reader, stream, extent(reader, stream, most_values=most_values))
        events = reader.events(stream=stream)
        found[stream] = Stream(with_techniques(facts, series), series, events)
    return found


def judge(
    recorded: Mapping[str, Stream],
) -> tuple[list[Finding], list[Diagnosis]]:
    """Findings and diagnoses of all streams, each in order of weight."""
    between = across(recorded)
    findings: list[Finding] = []
    diagnoses: list[Diagnosis] = []
    for name, one in recorded.items():
        own = [found for found in between if found.stream == name]
        own += detect(one.series, one.facts, one.events)
        findings += own
        diagnoses += diagnose(own, one.facts, one.events, traits=traits(one.series))
    return findings, sorted(diagnoses, key=lambda one: -one.confidence)
