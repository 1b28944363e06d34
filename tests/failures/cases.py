"""The jobs of this corpus: what they run, and the cause that a reader of their sources would name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CASES = HERE / "cases"
RECORDED = HERE / "recorded"


@dataclass(frozen=True)
class Case:
    """One job. `expect` is None where nothing failed; `stop` is the text in its log at which it is stopped."""

    family: str
    name: str
    run: str
    expect: dict[str, Any] | None
    files: dict[str, str] = field(default_factory=dict)
    status: str = "FAILED"
    stop: str = ""
    shell: str = ""
    extras: dict[str, Any] = field(default_factory=dict)
    runtime_env: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of its files and of its test."""
        return f"{self.family}-{self.name}"

    @property
    def row(self) -> dict[str, Any]:
        """Ray's row of the job, as it was recorded."""
        row: dict[str, Any] = json.loads((RECORDED / f"{self.id}.json").read_text())
        return row

    @property
    def log(self) -> bytes:
        """The job's log, as it was recorded."""
        path = RECORDED / f"{self.id}.log"
        return path.read_bytes() if path.exists() else b""


def all_cases() -> list[Case]:
    """Return every case, in the order of the files."""
    return [
        Case(path.stem, name, **fields)
        for path in sorted(CASES.glob("*.yaml"))
        if path.stem != "fakes"
        for name, fields in yaml.safe_load(path.read_text()).items()
    ]


def fakes() -> dict[str, dict[str, str]]:
    """Return the files of each fake package."""
    packages: dict[str, dict[str, str]] = yaml.safe_load((CASES / "fakes.yaml").read_text())
    return packages


def formats() -> dict[str, dict[str, Any]]:
    """Return logs of tools that no recorded job runs: `log`, `cause`; `exit` code and entrypoint `run` if unusual."""
    logs: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "formats.yaml").read_text())
    return logs
