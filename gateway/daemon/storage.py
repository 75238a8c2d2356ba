"""The temporary storage of files, put together from the settings; and the proof of a file that went through it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import settings
from gateway.apart import mark_in
from gateway.daemon.assembly import load_keys, open_store, xml_bounds
from gateway.daemon.journalling import load_seal
from gateway.database import check_revision
from gateway.errors import ConfigurationError, OperatorError, SignatureRefused
from gateway.exchange.calls import Caller
from gateway.exchange.journal import Journal
from gateway.exchange.journal.evidence_file import stored_message
from gateway.exchange.streaming import HttpStreaming
from gateway.exchange.temporary_storage import StoragePolicy, TemporaryStorage, text_of
from gateway.shep.temporary_storage import StorageCredentials
from gateway.signing.wss import verify_envelope
from gateway.trust.store import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.daemon.assembly import Gateway

#: of a message beside a long file: a short one stays in it (gateway.apart.SHORTEST_APART_BYTES)
_MESSAGE_BYTES: Final = 2_000_000


def load_storage(
    gateway: Gateway, *, clock: Callable[[], dt.datetime], new_message_id: Callable[[], str]
) -> TemporaryStorage:
    """The storage as [storage] says. Raises ConfigurationError (storage.sender_id, storage.password)."""
    section = gateway.loaded.settings.storage
    password = settings.secret(section.password, section.password_file, key="storage.password_file")
    if not section.sender_id or not password:
        raise ConfigurationError(
            "the temporary storage has a login of its own; set it and GATEWAY_STORAGE__PASSWORD",
            file=str(gateway.loaded.file),
            key="storage.sender_id",
        )
    largest = max(gateway.policy.max_reply_bytes, _MESSAGE_BYTES)
    policy = replace(gateway.policy, max_reply_bytes=largest, bounds=replace(gateway.policy.bounds, max_bytes=largest))
    caller = Caller(
        engine=gateway.engine,
        journal=gateway.journal,
        transport=gateway.transport,
        key=gateway.keys,
        trust=gateway.trust,
        policy=policy,
        clock=clock,
        channel="sync",
    )
    return TemporaryStorage(
        engine=gateway.engine,
        caller=caller,
        streams=HttpStreaming(),
        journal=Journal(gateway.engine, gateway.journal.seal),
        policy=StoragePolicy(
            StorageCredentials(section.sender_id, password),
            dt.timedelta(seconds=section.life_time_s),
            section.max_file_bytes,
            section.transfer_timeout_s,
            confirmed_statuses=frozenset(section.confirmed_statuses),
        ),
        clock=clock,
        new_message_id=new_message_id,
    )


def prove_file(loaded: settings.LoadedSettings, entry_id: int, file: Path) -> str:
    """Whether a message of the journal, which is kept without its file, carried this one. The signer's serial number.

    Raises SignatureRefused (`digest`: another file; or the signature does not hold), MalformedMessage, OperatorError
    (`no_such_entry`, `not_kept`, `file_unreadable`, `whole_message`), StoreError.
    """
    engine = open_store(loaded)
    check_revision(engine)
    body = stored_message(engine, entry_id, load_seal(loaded)).body
    signed = mark_in(body)
    if signed is None:
        raise OperatorError(
            f"entry {entry_id} has its file in it; write it with `gateway journal show {entry_id} --body` and use"
            " `gateway verify`",
            code="whole_message",
        )
    text = text_of(file)
    if (text.sha256, text.size_bytes) != signed:
        raise SignatureRefused("digest", "this is not the file that the message carried", step="digest")
    known = TrustStore.load(loaded.settings.trust.folder).material
    own = (load_keys(loaded)().certificate,)
    certificates = TrustStore.of((*known.anchors, *known.intermediates, *known.peers, *own))
    largest = max(loaded.settings.shep.max_reply_bytes, _MESSAGE_BYTES)
    verified = verify_envelope(body, certificates=certificates, bounds=xml_bounds(loaded, largest), apart=text)
    return str(verified.certificate.serial)
