"""Commands run in this process, as the console script runs them."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import daemon, logs
from gateway.cli.main import main
from gateway.trust import throwaway_pki
from gateway.trust.throwaway_pki import ThrowawayPki

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)


@dataclass
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command line without a terminal, at NOW."""

    def command(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, arguments)])
        monkeypatch.setattr(daemon, "now", lambda: NOW)
        # the whole process would keep the configuration of one command
        monkeypatch.setattr(logs, "configure", lambda level: None)
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return command


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("cli") / "pki", now=NOW)
