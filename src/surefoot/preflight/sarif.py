"""Notices as rows come in, a SARIF log goes out; and the baseline of what is accepted.

The format is SARIF 2.1.0 (OASIS standard). Runs without torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.preflight.catalogue import RULES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "info": "note"}
BASELINE_VERSION = 1


def sarif_log(rows: Sequence[Mapping[str, Any]], script: str) -> dict[str, Any]:
    """A log with one run: the rules, and one result a row."""
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "surefoot", "rules": _rules()}},
                "results": [_result(row, script) for row in rows],
            }
        ],
    }


def _rules() -> list[dict[str, Any]]:
    return [
        {
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.about},
            "help": {"text": rule.advice},
        }
        for rule in RULES
    ]


def _result(row: Mapping[str, Any], script: str) -> dict[str, Any]:
    place: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": row["layer"]}]}
    if script:
        place["physicalLocation"] = {"artifactLocation": {"uri": script}}
    return {
        "ruleId": row["id"],
        "level": LEVELS[row["severity"]],
        "message": {"text": f"{row['title']}: {row['detail']} {row['advice']}"},
        "locations": [place],
        "partialFingerprints": {"surefoot/v1": row["fingerprint"]},
    }


def read_baseline(path: Path) -> frozenset[str]:
    """Fingerprints of the findings that a file accepts.

    Raises:
        ValueError: the file is no baseline of ours.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"the baseline {path} came as text that is no JSON ({error}); expected a "
            "file written with --write-baseline; write it again"
        ) from error
    known = body.get("accepted") if isinstance(body, dict) else None
    if not isinstance(known, list) or body.get("version") != BASELINE_VERSION:
        raise ValueError(
            f"the baseline {path} came without a list of accepted findings of version "
            f"{BASELINE_VERSION}; expected one written with --write-baseline; write it "
            "again"
        )
    return frozenset(str(one) for one in known)


def baseline_text(fingerprints: Sequence[str]) -> str:
    """A baseline file that accepts these findings.

    >>> print(baseline_text(["SF402:run"]), end="")
    {
      "version": 1,
      "accepted": [
        "SF402:run"
      ]
    }
    """
    accepted = sorted(set(fingerprints))
    body = {"version": BASELINE_VERSION, "accepted": accepted}
    return json.dumps(body, indent=2) + "\n"
