"""Where things are put together: settings in, a running program out. Here, and in cli/, the clock is read."""

from gateway.daemon.alarm import AlarmClock
from gateway.daemon.assembly import (
    Gateway,
    assemble,
    is_test_authority,
    load_fetching,
    load_keys,
    load_regulation,
    load_stamper,
    load_systems,
    load_trust,
    new_message_id,
    now,
    open_store,
    refuse_mixed_anchors,
    refuse_mixed_key,
    watch,
    xml_bounds,
)
from gateway.daemon.endpoints import App
from gateway.daemon.job_runner import JobRunner
from gateway.daemon.journalling import (
    load_seal,
    load_writer,
    open_journal,
    prune_journal,
    retention_policy,
    signature_check,
    token_check,
)
from gateway.daemon.process import serve
from gateway.daemon.readiness import BACKEND_NAMES, Check, echo_check, readiness, stamp_check
from gateway.daemon.sync_endpoint import SYNC_PATH

__all__ = [
    "BACKEND_NAMES",
    "SYNC_PATH",
    "AlarmClock",
    "App",
    "Check",
    "Gateway",
    "JobRunner",
    "assemble",
    "echo_check",
    "is_test_authority",
    "load_fetching",
    "load_keys",
    "load_regulation",
    "load_seal",
    "load_stamper",
    "load_systems",
    "load_trust",
    "load_writer",
    "new_message_id",
    "now",
    "open_journal",
    "open_store",
    "prune_journal",
    "readiness",
    "refuse_mixed_anchors",
    "refuse_mixed_key",
    "retention_policy",
    "serve",
    "signature_check",
    "stamp_check",
    "token_check",
    "watch",
    "xml_bounds",
]
