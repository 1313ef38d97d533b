"""Whatever a file holds, it is read whole or refused; nothing of it runs."""

from __future__ import annotations

import copy
import json
import math
import resource
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxed import incident
from surefoot.blackbox.checks import IncidentError
from surefoot.blackbox.errors import StateError
from surefoot.blackbox.incident import Incident, read_incident, write_incident
from surefoot.blackbox.state import Trained, restore
from surefoot.restore.random_streams import RandomStreams

FUZZED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@lru_cache
def whole(folder: Path) -> bytes:
    return write_incident(incident()[0], folder / "whole").read_bytes()


def parts(raw: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header of the file, our JSON in it, and the rest."""
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["surefoot"]), raw[8 + size :]


def joined(header: dict[str, Any], told: Any, data: bytes) -> bytes:
    text = told if isinstance(told, str) else json.dumps(told)
    header = {**header, "__metadata__": {"surefoot": text}}
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def refused_or_whole(raw: bytes, path: Path) -> Incident | None:
    """Read bytes; if they pass for an incident, it can be put back or does not fit."""
    path.write_bytes(raw)
    said = ""
    try:
        found = read_incident(path)
    except IncidentError as error:
        said = str(error)
    if said:
        assert str(path) in said
        assert len(said) < 600
        return None
    _, net, optimizer = incident()
    streams = RandomStreams()
    try:
        restore(found.state, Trained({"net": net}, {"main": optimizer}))
    except StateError:
        pass
    finally:
        streams.restore()
    return found


@FUZZED
@given(data=st.data())
def test_flipped_bits_are_refused_or_harmless(tmp_path: Path, data: Any) -> None:
    raw = bytearray(whole(tmp_path))
    header = int.from_bytes(raw[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of the file is numbers, where any bit is as good as another.
        place = data.draw(st.integers(0, header + 2000))
        raw[place] ^= 1 << data.draw(st.integers(0, 7))
    refused_or_whole(bytes(raw), tmp_path / "x")


@FUZZED
@given(share=st.floats(0, 1))
def test_a_file_that_was_cut_is_refused(tmp_path: Path, share: float) -> None:
    raw = whole(tmp_path)
    cut = raw[: int(share * (len(raw) - 1))]
    assert refused_or_whole(cut, tmp_path / "x") is None


STRANGE: tuple[Any, ...] = (
    None, True, -1, 10**30, 1.5, "", "x", "../../etc/passwd", [], {}, [[]],
    {"is": "tensor", "of": "nowhere"}, {"is": "exec", "of": "1"},
    {"is": "range", "of": [0, 10**18, 1]}, {"is": "deque", "of": [[], -3]},
    {"is": "size", "of": [10**18]}, {"is": "device", "of": "moon"},
    {"is": "packed_sequence", "of": [1]}, {"is": "dict", "of": [[[], 1]]},
    {"is": "tuple", "of": [{"is": "float", "of": "nan"}]},
)  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in JSON."""
    found = [path] if path else []
    if isinstance(tree, dict):
        return found + [p for k, v in tree.items() for p in places(v, (*path, k))]
    if isinstance(tree, list):
        return found + [p for i, v in enumerate(tree) for p in places(v, (*path, i))]
    return found


@FUZZED
@given(data=st.data())
def test_changed_json_is_refused_or_harmless(tmp_path: Path, data: Any) -> None:
    header, told, rest = parts(whole(tmp_path))
    told = copy.deepcopy(told)
    where = data.draw(st.sampled_from(places(told)))
    holder = told
    for key in where[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[where[-1]] = data.draw(st.sampled_from(STRANGE))
    else:
        del holder[where[-1]]
    refused_or_whole(joined(header, told, rest), tmp_path / "x")


DEEP = "[" * 100_000 + "]" * 100_000
TOLD: dict[str, tuple[Any, str]] = {
    "deep": (DEEP, "damaged JSON"),
    "half deep": (f'{{"about": {"[" * 900 + "]" * 900}, "views": {{}}}}', "not write"),
    "NaN": ('{"about": {"x": NaN}, "views": {}}', "NaN is no JSON"),
    "twice": ('{"about": {"a": 1, "a": 2}, "views": {}}', "stands twice"),
    "no JSON": ("hello", "damaged JSON"),
    "a list": ("[]", "did not write"),
    "a huge number": ('{"about": {"kind": 1' + "0" * 6000 + '}, "views": {}}', "JSON"),
    "another kind": ('{"about": {"kind": "song"}, "views": {}}', "kind is 'song'"),
    "the future": (
        '{"about": {"kind": "incident", "version": 99}, "views": {}}',
        "version 99; this Surefoot reads version 1",
    ),
    "a view of nothing": (
        '{"about": {}, "views": {"../x": ["float8_e4m3fn", [1]]}}',
        r"holds \.\./x",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_json_that_is_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    told, message = TOLD[name]
    header, _, rest = parts(whole(tmp_path))
    (tmp_path / "x").write_bytes(joined(header, told, rest))
    with pytest.raises(IncidentError, match=message):
        read_incident(tmp_path / "x")


HEADERS: dict[str, dict[str, Any]] = {
    "unknown format": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]},
    "beyond the end": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "a huge shape": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]},
    "a terabyte": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]},
    "backwards": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
    "negative": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
    "no shape": {"dtype": "F32", "data_offsets": [0, 4]},
}


@pytest.mark.parametrize("name", HEADERS)
def test_tensors_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    raw = joined({"x": HEADERS[name]}, {"about": {}, "views": {}}, b"\0" * 4)
    assert refused_or_whole(raw, tmp_path / "x") is None


def test_tensors_that_overlap_are_refused(tmp_path: Path) -> None:
    row = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    raw = joined({"x": row, "y": row}, {"about": {}, "views": {}}, b"\0" * 4)
    assert refused_or_whole(raw, tmp_path / "x") is None


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(IncidentError, match="cannot be read"):
            read_incident(path)
    (tmp_path / "empty").write_bytes(b"")
    assert refused_or_whole(b"", tmp_path / "empty") is None
    assert refused_or_whole(b"\xff" * 8, tmp_path / "x") is None


FULL = """
import sys, resource
from pathlib import Path
sys.path[:0] = {paths!r}
from boxed import incident
from surefoot.blackbox.incident import write_incident
made = incident()[0]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_incident(made, Path({target!r}))
except OSError as error:
    print("refused", error.errno)
"""


def test_a_full_disk_leaves_nothing_of_the_file(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "x.incident.safetensors"
    code = FULL.format(paths=[str(Path(__file__).parents[1])], target=str(target))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("refused"), done.stderr
    assert list(target.parent.iterdir()) == []


TRAINS_ON = """
import sys, resource, logging
logging.basicConfig()
sys.path[:0] = {paths!r}
import surefoot
from surefoot.blackbox.dispatch import Alarm
from boxed import made, train
net, optimizer, schedule = made()
run = surefoot.watch(net, optimizer, folder={folder!r}, blackbox="1MB")
train(run, net, optimizer, schedule, steps=12)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
run.box.alarm(Alarm("asked for", 5))
train(run, net, optimizer, schedule, steps=12)
run.close()
print("trained on", len(run.box.incidents))
"""


def test_a_full_disk_during_a_run_costs_the_incident_only(tmp_path: Path) -> None:
    tests = [str(Path(__file__).parents[1])]
    code = TRAINS_ON.format(paths=tests, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "trained on 0", done.stderr
    assert "incident 1 failed" in done.stderr
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob("*incident*"))


def test_a_hostile_file_takes_no_memory(tmp_path: Path) -> None:
    """Told to be a terabyte, a file of a kilobyte is refused before it is allocated."""
    raw = joined({"x": HEADERS["a terabyte"]}, {"about": {}, "views": {}}, b"\0" * 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused_or_whole(raw, tmp_path / "x") is None
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50_000
    assert math.isfinite(after)
