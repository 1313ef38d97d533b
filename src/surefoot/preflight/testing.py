"""For pytest: what `surefoot.check` takes comes in; nothing, or a failure, goes out."""

from __future__ import annotations

from typing import Any

from torch import nn

from surefoot.preflight.check import check
from surefoot.preflight.report import NotReadyError, Report


def assert_ready(
    model: nn.Module, batch: Any, *, accept: tuple[str, ...] = (), **settings: Any
) -> Report:
    """Fail if anything is wrong that is not accepted; the report goes out.

    `accept` lists ids such as "SF402", or fingerprints such as "SF402:run";
    `settings` are those of `surefoot.check`.

    Raises:
        NotReadyError: an AssertionError with the report as its message.
    """
    report = check(model, batch, **settings)
    known = {one.fingerprint for one in report.findings if one.id in accept}
    left = report.without(frozenset({*known, *accept}))
    if not left.ok:
        raise NotReadyError(str(left))
    return report
