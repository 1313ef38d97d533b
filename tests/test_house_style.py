"""The limits and zeros of the house style, counted in the package's own source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

import source_code
import surefoot
from source_code import Function, Source

MOST_FUNCTION_LINES = 50
MOST_FILE_LINES = 400
MOST_ARGUMENTS = 6
MOST_POSITIONAL = 3
MOST_POSITIONAL_PUBLIC = 2

MORE_ARGUMENTS = {
    "curvature/operators.py:fisher": "those of its kin, and which Fisher matrix",
    "watching.py:watch": "what is watched, how densely, and where it goes",
    "record/reader.py:RecordReader.overview": "which readings, and on which bins",
    "report/panels.py:Record.overview": "the same, as a protocol",
    "nn/regularize/drop_connect.py:DropConnect.__init__": "a layer's, and torch's own",
    "cli.py:try_remedy": "one argument a command-line option",
    "curvature/lanczos.py:eigenpairs": "which, how exactly, at what cost, from where",
    "experiments/trial.py:try_prescription": "what a trial is, and how it is run",
    "replay/in_process.py:Recorded.replay": "what is trained, how, and what to try",
    "nn/norm/recurrent_cells.py:NormalisedCell.__init__": "those of nn.LSTMCell",
    "nn/norm/recurrent_layers.py:Recurrence.__init__": "those of nn.LSTM",
}
MORE_POSITIONAL = {
    "autopilot/apply.py:apply_changes": "what, to what, why, and whom to tell",
    "probes/activations.py:Tap.see": "the shape of torch's forward hooks",
    "record/rows.py:channel_row": "the columns of a table, in its order",
    "record/rows.py:event_row": "the columns of a table, in its order",
    "report/page.py:write_report": "all that a report is made of",
    "zoo/task.py:single": "the parts of a task, in its order",
    "cli.py": "typer's options, which are given by name",
}
"""Exceptions from the limits, and why each is one."""

BANNED_WORDS = {
    "util", "utils", "manager", "base", "engine", "handler", "handlers", "helper",
    "helpers",
}  # fmt: skip

SHIELDS = {
    "probes/shield.py": "the shield around probes and sinks",
    "record/feed.py": "the writer thread",
}
"""The only files that may catch every exception."""

SPEAKERS = (
    "cli.py", "script.py", "check_script.py", "landscape_script.py", "progress.py",
    "rescue_script.py",
    "replay_script.py", "zoo/__main__.py", "dashboard/__main__.py",
    "dashboard/examination.py",
)  # fmt: skip
"""The command line: the only files that write to the terminal."""

SOURCES = source_code.sources()
FUNCTIONS = [one for source in SOURCES for one in source_code.functions(source)]


# --- limits ---------------------------------------------------------------------


def test_functions_have_at_most_50_lines_of_code() -> None:
    long = {
        one.name: one.code_lines
        for one in FUNCTIONS
        if one.code_lines > MOST_FUNCTION_LINES
    }
    assert not long, long


def test_half_of_the_functions_have_at_most_ten_lines() -> None:
    sizes = sorted(one.code_lines for one in FUNCTIONS)
    assert sizes[len(sizes) // 2] <= 10
    assert sizes[9 * len(sizes) // 10] <= 25


def test_files_have_at_most_400_lines() -> None:
    long = {
        source.where: len(source.text.splitlines())
        for source in SOURCES
        if len(source.text.splitlines()) > MOST_FILE_LINES
    }
    assert not long, long


def test_folders_are_at_most_two_deep() -> None:
    deep = [source.where for source in SOURCES if source.where.count("/") > 2]
    assert not deep, deep


def test_functions_take_at_most_six_arguments() -> None:
    wide = {one.name for one in FUNCTIONS if len(one.arguments) > MOST_ARGUMENTS}
    assert wide == set(MORE_ARGUMENTS)


def test_few_arguments_may_be_given_by_position() -> None:
    wide = {
        one.name
        for one in FUNCTIONS
        if one.public
        and len(one.positional) > MOST_POSITIONAL
        and one.source.where not in MORE_POSITIONAL
    }
    assert wide == {name for name in MORE_POSITIONAL if ":" in name}


def test_public_names_take_at_most_two_arguments_by_position() -> None:
    wide = {
        one.name: one.positional
        for one in FUNCTIONS
        if _is_public_name(one) and len(one.positional) > MOST_POSITIONAL_PUBLIC
    }
    assert not wide, wide


def _is_public_name(function: Function) -> bool:
    """Whether it is a function that users call, or a method of a class they hold."""
    name = function.owner.name if function.owner else function.node.name
    home = surefoot._HOMES.get(name, "")
    return function.public and home == function.source.module


# --- zeros ----------------------------------------------------------------------


def test_nothing_is_printed_outside_the_command_line() -> None:
    found = [
        source.place(node)
        for source in SOURCES
        if source.where not in SPEAKERS
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in ("print", "sys.stdout.write", "sys.stderr.write", "input")
    ]
    assert not found, found


def test_only_the_shields_catch_every_exception() -> None:
    found = {
        source.where
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
    }
    assert found == set(SHIELDS)


def test_each_shield_stands_in_one_place() -> None:
    for where in SHIELDS:
        source = next(one for one in SOURCES if one.where == where)
        handlers = [
            node
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
        ]
        assert len(handlers) == 1, where


def _is_broad(caught: ast.expr | None) -> bool:
    return caught is None or any(
        isinstance(node, ast.Name) and node.id in ("Exception", "BaseException")
        for node in ast.walk(caught)
    )


def test_no_exception_is_suppressed_unnamed() -> None:
    found = [
        source.place(node)
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("suppress")
        and any(_is_broad(argument) for argument in node.args)
    ]
    assert not found, found


def test_no_module_has_state() -> None:
    found = [
        f"{source.place(node)} {name}"
        for source in SOURCES
        for node in source.tree.body
        for name in _mutable_names(node)
    ]
    assert not found, found


def test_no_function_writes_to_its_module() -> None:
    found = [
        source.place(node)
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]
    assert not found, found


def test_no_class_holds_a_value_that_its_objects_share() -> None:
    found = [
        f"{source.place(node)} {name}"
        for source in SOURCES
        for owner in source_code.classes(source)
        for node in owner.body
        for name in _mutable_names(node)
    ]
    assert not found, found


def _mutable_names(node: ast.stmt) -> Iterator[str]:
    """Names that are bound to something mutable and not declared as read-only."""
    if isinstance(node, ast.Assign):
        names = [one.id for one in node.targets if isinstance(one, ast.Name)]
        if _is_mutable(node.value):
            yield from (name for name in names if name != "__all__")
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        read_only = re.match(
            r"(Mapping|Sequence|Collection|Final)\b", ast.unparse(node.annotation)
        )
        if _is_mutable(node.value) and not read_only:
            yield ast.unparse(node.target)


def _is_mutable(value: ast.expr) -> bool:
    displays = (
        ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp
    )  # fmt: skip
    makers = ("list", "dict", "set", "deque", "defaultdict", "Counter", "OrderedDict")
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in makers
    return isinstance(value, displays)


def test_names_say_what_a_thing_is() -> None:
    named = [(source.where, source.path.stem) for source in SOURCES]
    named += [(one.name, one.node.name) for one in FUNCTIONS]
    named += [
        (source.place(node), node.name)
        for source in SOURCES
        for node in source_code.classes(source)
    ]
    found = [where for where, name in named if _words(name) & BANNED_WORDS]
    assert not found, found


def _words(name: str) -> set[str]:
    """Words of a name: "RecordReader" and "record_reader" are record and reader."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


# --- hundreds -------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.where)
def test_every_module_and_public_name_says_what_it_is(source: Source) -> None:
    bare = [] if ast.get_docstring(source.tree) else [source.where]
    bare += [
        one.name
        for one in source_code.functions(source)
        if one.public
        and not _is_protocol(one.owner)
        and not ast.get_docstring(one.node)
    ]
    bare += [
        source.place(node)
        for node in source_code.classes(source)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not bare, bare


def _is_protocol(owner: ast.ClassDef | None) -> bool:
    """Whether a class only lists what others must have."""
    return owner is not None and any(
        ast.unparse(one).rpartition(".")[2] == "Protocol" for one in owner.bases
    )
