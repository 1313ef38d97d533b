"""From a record to diagnoses: a reader comes in, ranked causes go out."""

from __future__ import annotations

from surefoot.diagnosis.diagnose import diagnose
from surefoot.record.reader import RecordReader
from surefoot.signatures.detect import detect
from surefoot.types import Diagnosis, Facts


def examine(reader: RecordReader) -> list[Diagnosis]:
    """All that is wrong in a run, over all its streams, most confident first.

    Works on a finished record and on one that is still being written.

    Raises:
        RecordError: the record cannot be read.
    """
    found: list[Diagnosis] = []
    facts = reader.facts()
    for stream in reader.streams():
        own = facts.get(stream, Facts(stream=stream))
        events = reader.events(stream=stream)
        series = {
            name: reader.series(name, stream) for name in reader.quantities(stream)
        }
        found += diagnose(detect(series, own, events), own, events)
    return sorted(found, key=lambda one: -one.confidence)
