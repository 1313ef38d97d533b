"""The layout is the import order, and the reading half runs without torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

import source_code
import surefoot
from source_code import ROOT, Source

ORDER = (
    "wording",
    "types",
    # the reading half: numpy and the standard library
    "record",
    "signatures",
    "remedies",
    "diagnosis",
    "report",
    "terminal",
    "dashboard",
    # the training half: torch
    "restore",
    "schedules",
    "nn",
    "gradients",
    "tasks",
    "curvature",
    "probes",
    "blackbox",
    "autopilot",
    "lookout",
    "preflight",
    "sinks",
    "run",
    "watching",
    "landscape",
    "experiments",
    "replay",
    "rescue",
    "zoo",
    "attach",
    "directed",
    "progress",
    "script",
    "check_script",
    "landscape_script",
    "replay_script",
    "rescue_script",
    "testing",
    "cli",
    "__main__",
    "__init__",
)
"""Each line imports only from the lines above it. docs/architecture.md shows the same
list and says why each line stands where it does."""

TORCH_FREE = (
    "wording",
    "types",
    "record",
    "signatures",
    "diagnosis",
    "remedies",
    "report",
    "terminal",
    "dashboard",
)
WEB = {"starlette", "uvicorn"}
"""What the dashboard is served with; nothing else of the reading half imports it."""

OPTIONAL = {
    "record/export_parquet.py": {"pyarrow"},
    "record/event_files.py": {"tensorboard"},
    "record/export_tensorboard.py": set[str](),
}
"""Files that need a package that not everybody has; loaded only when asked for."""

DYNAMIC = {
    "__init__.py": "the table of public names",
    "landscape/written.py": "pictures, which need an optional package",
    "record/export.py": "the optional exporters",
    "sinks/named.py": "the optional sinks",
}
"""The only files that import by name while they run, and what for."""

SOURCES = source_code.sources()
KNOWN = {source.module for source in SOURCES}


def test_the_order_lists_exactly_the_folders_and_files_there_are() -> None:
    assert set(ORDER) == {source.unit for source in SOURCES}


def test_every_file_imports_only_from_lines_above_its_own() -> None:
    place = {unit: rank for rank, unit in enumerate(ORDER)}
    wrong = [
        f"{source.where} imports {name}"
        for source in SOURCES
        for name in source_code.imported(source, KNOWN)
        if place[_unit(name)] > place[source.unit]
    ]
    assert not wrong, wrong


def test_there_are_no_import_cycles_packages_counted() -> None:
    graph: dict[str, set[str]] = {}
    for source in SOURCES:
        found = source_code.imported(source, KNOWN)
        parents = {name.rpartition(".")[0] for name in (source.module, *found)}
        above = set(_above(source.module))  # a package may offer what its files hold
        graph[source.module] = found | (parents - above) & KNOWN - {source.module}
        graph[source.module] -= {source.module, "surefoot"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def _above(module: str) -> Iterator[str]:
    """The packages that a module lies in."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def test_the_documented_order_is_this_one() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.partition("```text\nsrc/surefoot/\n")[2].partition("```")[0]
    rows = [line.split()[0] for line in block.splitlines() if line.strip()]
    named = [row.rstrip("/").removesuffix(".py") for row in rows if row != "#"]
    assert tuple(named) == ORDER


# --- what the reading half may import -------------------------------------------


READING_HALF = [source for source in SOURCES if source.unit in TORCH_FREE]


@pytest.mark.parametrize("source", READING_HALF, ids=lambda source: source.where)
def test_the_reading_half_imports_numpy_and_the_standard_library(
    source: Source,
) -> None:
    found = source_code.packages_imported(source) - sys.stdlib_module_names
    annotations = {"torch"} if source.unit == "types" else set[str]()
    annotations |= WEB if source.unit == "dashboard" else set()
    allowed = {"numpy", "surefoot"} | annotations | OPTIONAL.get(source.where, set())
    assert found <= allowed


def test_the_reading_half_and_the_command_line_run_without_torch() -> None:
    names = [
        source.module
        for source in SOURCES
        if source.unit in (*TORCH_FREE, "cli") and source.where not in OPTIONAL
    ]
    names += ["surefoot", "surefoot.experiments.trial"]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from importlib import import_module\n"
        f"for name in {names!r}: import_module(name)\n"
        "import surefoot\n"
        "surefoot.RecordReader, surefoot.RecordError, surefoot.examine\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_costs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, surefoot; sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- how imports are written ----------------------------------------------------


def test_all_imports_stand_at_the_top_of_their_file() -> None:
    lazy = [
        function.source.place(node)
        for source in SOURCES
        for function in source_code.functions(source)
        for node in ast.walk(function.node)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not lazy, lazy


def test_only_the_public_names_and_the_exporters_import_by_name() -> None:
    found = {
        source.where
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and _called(node) in ("import_module", "__import__")
    }
    assert found == set(DYNAMIC)


def test_nothing_imports_torchvision() -> None:
    folders = ("src", "tests", "examples", "benchmarks", "tools")
    paths = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    assert paths
    found = [
        path.name
        for path in paths
        if "torchvision"
        in source_code.packages_imported(Source(path, path.read_text(encoding="utf-8")))
    ]
    assert not found, found


# --- public names ---------------------------------------------------------------


def test_the_package_has_at_most_25_public_names_and_each_can_be_had() -> None:
    assert len(surefoot.__all__) <= 25
    assert list(surefoot.__all__) == sorted(surefoot.__all__)
    assert set(surefoot.__all__) == set(surefoot._HOMES)
    for name in surefoot.__all__:
        assert getattr(surefoot, name).__module__ == surefoot._HOMES[name]


def test_an_unknown_public_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"it has KnobError, .*watch"):
        surefoot.observe  # noqa: B018


# --- the only arrow back --------------------------------------------------------

REACHES = re.compile(
    r"""
    (?!__)\w+[^_]_                                   # tensor methods in place
    | load_state_dict | add_param_group | zero_grad | backward
    | train | eval | requires_grad | register_(buffer|parameter|module) | add_module
    | (cuda_)?(manual_seed|seed|set_rng_state)(_all)? | setattr | delattr
    """,
    re.VERBOSE,
)
"""Names of calls by which a model, an optimizer or a random stream could be changed."""

LIVE = ("data", "grad", "training", "requires_grad")
"""Attributes of tensors and modules that training depends on."""

TABLES = ("param_groups", "state", "_buffers", "_parameters", "_modules")
"""Attributes of optimizers and modules that hold what training works on."""

TOUCHES = {
    ("attach.py", "setattr"): "torch's own functions, put back by detach()",
    ("blackbox/batches.py", "copy_"): "a host copy of its own",
    ("blackbox/in_models.py", "copy_"): "restore(), which the autopilot asks for",
    ("blackbox/in_optimizers.py", "copy_"): "restore(), likewise",
    ("blackbox/in_optimizers.py", "group[…]"): "restore(), likewise",
    ("blackbox/in_optimizers.py", "optimizer.state[…]"): "restore(), likewise",
    ("blackbox/shards.py", "copy_"): "a tensor of its own",
    ("blackbox/state.py", "_foreach_copy_"): "host copies of its own",
    ("blackbox/state.py", "load_state_dict"): "restore(), which the autopilot asks for",
    ("landscape/descent.py", ".grad"): "of a parameter of its own",
    ("landscape/descent.py", "manual_seed"): "a generator of its own",
    ("landscape/connect.py", ".grad"): "of a copy of the model",
    ("landscape/connect.py", "copy_"): "weights of a copy of the model",
    ("landscape/connect.py", "manual_seed"): "a generator of its own",
    ("landscape/connect.py", "requires_grad_"): "weights of a copy of the model",
    ("landscape/checkpoints.py", "load_state_dict"): "a script's model, never trained",
    ("landscape/evaluate.py", "_foreach_add_"): "weights, put back as they were",
    ("landscape/evaluate.py", "_foreach_copy_"): "weights, put back as they were",
    ("landscape/evaluate.py", "manual_seed"): "random streams, put back by restore/",
    ("landscape/evaluate.py", "manual_seed_all"): "random streams, likewise",
    ("landscape/evaluate.py", "seed"): "random streams, likewise",
    ("landscape/directions.py", "manual_seed"): "a generator of its own",
    ("curvature/observer.py", "requires_grad_"): "a leaf of its own",
    ("curvature/classify.py", "requires_grad_"): "a copy of a point",
    ("curvature/escape.py", "add_"): "an optimizer of the user's own, called by nobody",
    ("curvature/escape.py", "manual_seed"): "a generator of its own",
    ("curvature/escape.py", "sub_"): "an optimizer of the user's own, called by nobody",
    ("curvature/moves.py", "copy_"): "weights that are moved and copied back; `escape` "
    "leaves them moved, as its user asks for",
    ("curvature/penalties.py", "manual_seed"): "a generator of its own",
    ("curvature/rates.py", "manual_seed"): "a generator of its own",
    ("curvature/rates.py", "sub_"): "an optimizer of the user's own, called by nobody",
    ("curvature/updates.py", ".grad"): "a trial update, undone by restore/",
    ("curvature/wrappers.py", "requires_grad_"): "copies of its own",
    ("preflight/measure.py", "backward"): "into gradients that are put back",
    ("preflight/steps.py", ".grad"): "trial updates, undone by restore/",
    ("preflight/steps.py", "add_"): "trial updates, undone by restore/",
    ("preflight/steps.py", "backward"): "trial updates, undone by restore/",
    ("preflight/steps.py", "clip_grad_norm_"): "trial updates, undone by restore/",
    ("preflight/steps.py", "group[…]"): "trial updates, undone by restore/",
    ("probes/activations.py", "scatter_reduce_"): "a tensor of its own",
    ("probes/activations.py", "index_fill_"): "a tensor of its own",
    ("probes/attending.py", "setattr"): "torch's own functions, while a pass runs",
    ("probes/attending.py", "delattr"): "puts them back after the pass",
    ("probes/gradients.py", "nan_to_num_"): "a tensor of its own",
    ("probes/nonfinite.py", "module._buffers[…]"): "put back after the replay",
    ("probes/nonfinite.py", "set_rng_state"): "random streams, put back likewise",
    ("probes/nonfinite.py", "manual_seed"): "a generator of its own",
    ("probes/ring.py", "copy_"): "rows of its own buffer",
    ("probes/sampling.py", "copy_"): "rows of its own matrix",
    ("directed.py", ".grad"): "of a script that is run again for a replay",
    ("replay/quiet.py", ".grad"): "put back as it was",
    ("replay/stage.py", "backward"): "of a replay, whose model is put back",
    ("replay/stage.py", "clip_grad_norm_"): "of a replay, likewise",
    ("replay/stage.py", "fill_"): "the recorded rate, in a replay",
    ("replay/stage.py", "group[…]"): "the recorded rate, in a replay",
    ("replay/stage.py", "zero_grad"): "of a replay, likewise",
    ("restore/around.py", "setattr"): "a function of torch, put back by its undo",
    ("restore/random_streams.py", "manual_seed"): "put back as it was",
    ("restore/random_streams.py", "seed"): "put back as it was",
    ("restore/random_streams.py", "set_rng_state"): "put back as it was",
    ("restore/random_streams.py", "set_rng_state_all"): "put back as it was",
    ("restore/snapshot.py", ".grad"): "put back as it was",
    ("restore/snapshot.py", "copy_"): "put back as it was",
    ("restore/snapshot.py", "group[…]"): "put back as it was",
}
"""All that looks like a write to a live run outside autopilot/, and why it is none.
testing/ and zoo/ train models of their own."""


BLOCKS = ("schedules", "nn", "gradients", "tasks")
"""What users build their training from, and call themselves: it writes where they ask
it to."""


def test_only_the_autopilot_writes_to_a_live_run() -> None:
    found = {
        (source.where, name)
        for source in SOURCES
        if source.unit not in (*TORCH_FREE, *BLOCKS, "autopilot", "testing", "zoo")
        for name in _reaches(source)
    }
    assert found == set(TOUCHES)


@pytest.mark.parametrize(
    "line",
    [
        "weight.data = new",
        "weight.add_(update)",
        "optimizer.param_groups[0]['lr'] = 0.1",
        "group['lr'] *= 0.5",
        "optimizer.state[weight]['step'] = 0",
        "module._buffers['mean'] = new",
        "setattr(module, name, other)",
        "model.load_state_dict(saved)",
        "torch.manual_seed(0)",
        "weight.grad = None",
        "del weight.grad",
        "module.training = False",
        "model.eval()",
    ],
)
def test_a_write_to_a_live_run_is_seen(line: str) -> None:
    assert list(_reaches(Source(ROOT / "planted.py", line)))


def test_reading_a_live_run_is_no_write() -> None:
    code = "rate = group['lr']; norm = weight.grad.norm(); self.grads[0] = norm"
    assert not list(_reaches(Source(ROOT / "planted.py", code)))


def _reaches(source: Source) -> Iterator[str]:
    """Names by which a file could change a model, an optimizer or a random stream."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and REACHES.fullmatch(_called(node)):
            yield _called(node)
        if not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            continue
        if isinstance(node, ast.Attribute) and node.attr in LIVE:
            yield f".{node.attr}"
        if isinstance(node, ast.Subscript) and _is_group(node.value):
            yield f"{ast.unparse(node.value)}[…]"


def _is_group(value: ast.expr) -> bool:
    """Whether an expression is a table that a model or an optimizer lives from."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in TABLES)
        or (isinstance(node, ast.Name) and node.id == "group")
        for node in ast.walk(value)
    )


def _unit(module: str) -> str:
    return module.removeprefix("surefoot").removeprefix(".").partition(".")[0] or (
        "__init__"
    )


def _called(node: ast.Call) -> str:
    function = node.func
    return (
        function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
    )
