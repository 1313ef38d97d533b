from __future__ import annotations

import numpy as np
import pytest

from surefoot.record.ranks import merged, rank_files
from surefoot.record.reader import UnknownQuantityError
from surefoot.record.schema import RecordError, rank_path
from surefoot.record.writer import RecordWriter


@pytest.fixture
def run(tmp_path, block):
    """Three ranks; rank 2 is one block behind and did not record the loss."""
    path = tmp_path / "net.surefoot"
    for rank in (0, 1, 2, 10):
        writer = RecordWriter(rank_path(path, rank), {})
        for first in range(0, 100 if rank == 2 else 150, 50):
            writer.append(block("grad_norm", first, layers=2))
        if rank < 2:
            writer.append(block("loss", 0, layers=1))
        writer.close()
    for other in ("net2.surefoot", "net.rank1.old.surefoot", "anet.rank1.surefoot"):
        RecordWriter(tmp_path / other, {}).close()
    return path


def test_files_of_a_run_from_any_of_them(run) -> None:
    expected = {rank: rank_path(run, rank) for rank in (0, 1, 2, 10)}
    for rank in (0, 1, 10):
        assert rank_files(rank_path(run, rank)) == expected
    assert list(rank_files(run)) == [0, 1, 2, 10]
    assert rank_files(run.with_name("net2.surefoot")) == {
        0: run.with_name("net2.surefoot")
    }


def test_layers_are_named_by_rank(run, block) -> None:
    series = merged(run, "grad_norm")
    assert series.layers[:3] == (
        "net.0.weight@rank0",
        "net.1.weight@rank0",
        "net.0.weight@rank1",
    )
    assert series.values.shape == (150, 8)
    truth = block("grad_norm", 0, 150, layers=2).values
    np.testing.assert_array_equal(series.values[:, 2:4], truth)
    np.testing.assert_array_equal(series.values[:100, 4:6], truth[:100])
    assert np.isnan(series.values[100:, 4:6]).all()


def test_ranks_without_the_quantity_are_left_out(run) -> None:
    assert merged(run, "loss").layers == ("net.0.weight@rank0", "net.0.weight@rank1")


def test_one_rank_keeps_its_names(tmp_path, block) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    writer.append(block())
    writer.close()
    assert merged(tmp_path / "a.surefoot", "grad_norm").layers == block().layers


def test_missing_quantity_or_run_is_a_clear_error(run, tmp_path) -> None:
    with pytest.raises(UnknownQuantityError, match="grad_norm"):
        merged(run, "nonesuch")
    with pytest.raises(RecordError, match="no record at"):
        merged(tmp_path / "none.surefoot", "loss")
