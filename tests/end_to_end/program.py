"""The real program in processes of its own, as an operator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.trust.throwaway_pki import ThrowawayPki

#: long enough for the slowest machine; reaching it is a failure and not a measurement
PATIENCE_S = 120.0

CONFIG = """\
environment = "sandbox"
[identity]
sender_id = "fund-test"
requester = "FUND"
[signing]
key_file = "pki/keys/gateway.key"
certificate_file = "pki/keys/gateway.pem"
[trust]
folder = "pki/anchors"
revocation = "require"
[database]
url = "{database_url}"
[shep]
sync_url = "{sync_url}"
reply_timeout_s = 20
[server]
port = 0
max_request_bytes = 200000
"""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of the tests without any setting of the gateway in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return {**kept, "NO_COLOR": "1", **(extra or {})}


@dataclass
class Run:
    """What one command said."""

    code: int
    stdout: str
    stderr: str


def gateway(*arguments: str, folder: Path | None = None, extra: Mapping[str, str] | None = None) -> Run:
    """One command of the program, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=folder,
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@dataclass
class Process:
    """A command that stays up. `url` is the address that it announced."""

    command: Sequence[str]
    announces: str
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    url: str = field(init=False)

    def __enter__(self) -> Process:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", *self.command], stderr=log, stdout=log, env=environment()
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.said().splitlines():
                if line.startswith(self.announces):
                    self.url = line.removeprefix(self.announces).split(" ")[0]
                    return self
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"{self.command[0]} did not come up:\n{self.said()}")

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE_S)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


@dataclass
class World:
    """A sandbox and a daemon on real sockets, and where their files are."""

    folder: Path
    pki: ThrowawayPki
    config: Path
    sandbox: Process
    daemon: Process

    @property
    def sandbox_root(self) -> str:
        return self.sandbox.url.removesuffix("/bip-sync-wss/")

    @property
    def daemon_root(self) -> str:
        return self.daemon.url.removesuffix("/shep/sync")

    def run(self, *arguments: str) -> Run:
        return gateway(*arguments, "--config", str(self.config))
