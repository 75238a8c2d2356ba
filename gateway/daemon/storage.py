"""The temporary storage of files, put together from the settings."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway import settings
from gateway.errors import ConfigurationError
from gateway.exchange.calls import Caller
from gateway.exchange.journal import Journal
from gateway.exchange.temporary_storage import StoragePolicy, TemporaryStorage
from gateway.shep.temporary_storage import StorageCredentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.daemon.assembly import Gateway

#: what an envelope holds beside the file
_AROUND_BYTES: Final = 100_000


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
    # a file grows by a third on the wire
    largest = section.max_file_bytes * 4 // 3 + _AROUND_BYTES
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
        journal=Journal(gateway.engine, gateway.journal.seal),
        policy=StoragePolicy(
            StorageCredentials(section.sender_id, password),
            dt.timedelta(seconds=section.life_time_s),
            section.max_file_bytes,
        ),
        clock=clock,
        new_message_id=new_message_id,
    )
