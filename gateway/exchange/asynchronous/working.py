"""Works on the inbox: one message at a time, each leased; what cannot be worked on waits for the operator."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import Engine

from gateway.database import reading, writing
from gateway.errors import GatewayError, InvalidIdentifier, PeerError, RequestRefused, StoreError
from gateway.exchange import inbox_work
from gateway.exchange.asynchronous.admitting import Door
from gateway.exchange.asynchronous.answers import UNMATCHED, AnswerDesk
from gateway.exchange.asynchronous.reopening import BYTES_GONE, reopen
from gateway.exchange.asynchronous.serving import ServiceDesk
from gateway.exchange.inbox import InboxRow, InboxState
from gateway.exchange.journal import Journal
from gateway.exchange.refusals import failure_of, shown_id
from gateway.shep.async_messages import MessageType
from gateway.telemetry import Flow, step
from gateway.trust.store import TrustStore
from gateway.xml import XmlBounds

_LOG: Final = structlog.get_logger()
#: longer than any one message can take: no post is waited for here
LEASE: Final = dt.timedelta(minutes=2)
_FLOWS: Final[dict[str, Flow]] = {"push": "in.push", "poll": "in.poll"}


class InboxWorker:
    """One worker. `holder` is its own in the whole fleet. Not to be shared between threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        journal: Journal,
        door: Door,
        certificates: TrustStore,
        bounds: XmlBounds,
        answers: AnswerDesk,
        services: ServiceDesk,
        clock: Callable[[], dt.datetime],
        holder: str,
        lease: dt.timedelta = LEASE,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._door = door
        self._certificates = certificates
        self._bounds = bounds
        self._answers = answers
        self._services = services
        self._clock = clock
        self._holder = holder
        self._lease = lease

    def work_once(self) -> bool:
        """Work on the message that is longest due. False: there was none. Raises StoreError."""
        with reading(self._engine) as connection:
            if not inbox_work.is_due(connection, self._clock()):
                return False
        with writing(self._engine) as connection:
            leased = inbox_work.lease(connection, now=self._clock(), limit=1, length=self._lease, holder=self._holder)
        if not leased:
            return False
        (row,) = leased
        code = ""
        try:
            if row.attempts > inbox_work.MAX_ATTEMPTS:
                code = "attempts_used_up"  # it never came to an end of its own: whoever took it died of it
            else:
                self._work(row, _FLOWS[row.flow])
        except StoreError as error:
            if error.code == BYTES_GONE or error.code.startswith("journal_"):
                code = error.code
            elif error.code == "lease_lost":
                _LOG.warning("exchange", action="lease_lost", message_id=shown_id(row.message_id))
            else:
                raise  # the lease ends by itself
        except RequestRefused as error:
            code = getattr(error, "verdict", error.code)
        except (PeerError, InvalidIdentifier) as error:
            code = error.code
        except Exception as error:  # Undecided, a folder's own mistake, ours: time or an operator may mend it
            self._put_off(row, error)
        if code:
            self._quarantine(row, code)
        return True

    def _work(self, row: InboxRow, flow: Flow) -> None:
        with step(12, flow):
            opened = reopen(row, self._journal, self._certificates, self._bounds)
        definition = self._door.system_of(row.service_id)
        if definition is not None:
            self._answers.take(row, opened, definition, flow)
        elif opened.message.info.message_type is MessageType.REQUEST and row.service_id in self._door.services:
            self._services.serve(row, opened, flow)
        else:
            # an UPDATE or NOTIFICATION about a request to us, or a service that is gone: kept, for the operator
            self._quarantine(row, UNMATCHED)

    def _put_off(self, row: InboxRow, error: Exception) -> None:
        code = error.code if isinstance(error, GatewayError) else "internal"
        with writing(self._engine) as connection:
            state = inbox_work.put_off(connection, row, now=self._clock(), code=code)
        _LOG.warning(
            "exchange",
            action="work_failed",
            message_id=shown_id(row.message_id),
            code=code,
            note=failure_of(error),
            quarantined=state is InboxState.QUARANTINED,
        )

    def _quarantine(self, row: InboxRow, code: str) -> None:
        with writing(self._engine) as connection:
            inbox_work.quarantine(connection, row, code=code)
        _LOG.warning("exchange", action="quarantined", message_id=shown_id(row.message_id), code=code)
