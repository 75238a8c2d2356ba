"""FUND_CONSUMER_STATUS: is this person a consumer (R-15; 004 p.14), with the paragraphs and messages it rests on.

A negative answer is an answer. What is not known is neither yes nor no: it has a status code of its own and says
nothing about `consumer`. The contract is wsdl/fund/consumer_status.xsd.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from lxml import etree
from sqlalchemy import Connection

from gateway.errors import MalformedMessage
from gateway.exchange.serve import ServiceAnswer
from gateway.model import Citation, Iin
from gateway.registry.serving import Asked, Found, standings_of
from gateway.registry.standing import Standing
from gateway.regulation.law import Law
from gateway.shep.dates import write_datetime
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import StatusInfo, SyncRequest
from gateway.shep.payload import PayloadCodec, WrittenPayload, decode_in_place
from gateway.shep.writing import leaf
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, leaf_text, local_name

SERVICE_ID: Final = "FUND_CONSUMER_STATUS"
NAMESPACE: Final = "urn:shep-gateway:fund:consumer-status:v1"
REQUEST: Final = f"{{{NAMESPACE}}}consumerStatusRequest"
RESPONSE: Final = f"{{{NAMESPACE}}}consumerStatusResponse"
CODEC: Final = PayloadCodec.ELEMENT

#: `result` of the payload when `standing` is there; the status code is then SCSS001
ANSWERED: Final = "ANSWERED"
#: both are status code and `result`: clients that know only SCSS001 must not take them for an answer
NO_DATA: Final = StatusInfo(
    "NO_DATA", "No register has told the Fund's registry anything about this person: neither yes nor no"
)
EDITION_NOT_IN_FORCE: Final = StatusInfo(
    "EDITION_NOT_IN_FORCE", "The day lies outside of the rules that the Fund's registry judges by: neither yes nor no"
)

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class ConsumerQuery:
    """`as_of` None: today."""

    iin: Iin = field(repr=False)
    as_of: dt.date | None = None


class ConsumerStatusService:
    """The handler: reads the requests, asks the registry once for all of them, builds each answer."""

    def __init__(self, law: Law, *, bounds: XmlBounds = DEFAULT_BOUNDS) -> None:
        self._law = law
        self._bounds = bounds

    def read(self, request: SyncRequest, *, at: dt.datetime) -> Asked:
        """See gateway.exchange.serve.Service."""
        if request.data is None:
            raise MalformedMessage("<data> is missing", code="no_payload")
        query = read_request(decode_in_place(request.data, CODEC, root_name=REQUEST, bounds=self._bounds))
        return Asked(query.iin, query.as_of or self._law.local_day(at), at)

    def load(self, connection: Connection, questions: Sequence[Asked]) -> Sequence[Found]:
        """Everybody's standing, each as it was known when its question came."""
        return standings_of(connection, questions, self._law)

    def answer(self, question: Asked, found: Found) -> ServiceAnswer:
        """See gateway.exchange.serve.Service."""
        status, result = NO_DATA, NO_DATA.code
        if found.standing is not None:
            status, result = SUCCESS, ANSWERED
        elif found.heard_of:
            status, result = EDITION_NOT_IN_FORCE, EDITION_NOT_IN_FORCE.code
        payload = write_response(
            question.iin, as_of=question.as_of, known_at=question.known_at, result=result, standing=found.standing
        )
        return ServiceAnswer(status, payload, CODEC)


def read_request(payload: etree._Element) -> ConsumerQuery:
    """Read `consumerStatusRequest`, its fields by local name and in any order.

    An element that the contract does not know is refused, not passed over: a misspelt `asOf` would be answered for
    today. Raises MalformedMessage (`missing_field`, `repeated`, `unexpected_element`, `bad_date`, `not_a_leaf`) and
    InvalidIdentifier.
    """
    fields: dict[str, str] = {}
    for child in payload:
        name = local_name(child)
        if name not in ("iin", "asOf"):
            raise MalformedMessage(f"<{name[:80]}> is not part of the contract", code="unexpected_element")
        if name in fields:
            raise MalformedMessage(f"<{name}> occurs more than once", code="repeated")
        fields[name] = leaf_text(child)
    if "iin" not in fields:
        raise MalformedMessage("<iin> is missing", code="missing_field")
    return ConsumerQuery(Iin(fields["iin"]), _read_day(fields["asOf"]) if fields.get("asOf") else None)


def write_response(
    iin: Iin, *, as_of: dt.date, known_at: dt.datetime, result: str, standing: Standing | None
) -> WrittenPayload:
    """`consumerStatusResponse`; `standing` is there exactly when `result` is ANSWERED. Pure."""
    return WrittenPayload(
        f'<cs:consumerStatusResponse xmlns:cs="{NAMESPACE}">'
        + leaf("iin", iin.value)
        + leaf("asOf", as_of.isoformat())
        + leaf("knownAt", write_datetime(known_at))
        + leaf("result", result)
        + ("" if standing is None else f"<standing>{_standing(standing)}</standing>")
        + "</cs:consumerStatusResponse>"
    )


def _standing(standing: Standing) -> str:
    category, budget, until = standing.category, standing.budget, standing.valid_until
    return (
        leaf("consumer", "true" if standing.insured else "false")
        + leaf("basis", standing.basis)
        + ("" if category is None else leaf("category", category))
        + ("" if budget is None else leaf("budget", budget))
        + ("" if until is None else leaf("validUntil", until.isoformat()))
        + _because(standing.because)
        + _evidence(standing.evidence)
    )


@lru_cache(maxsize=10_000)
def _because(citations: tuple[Citation, ...]) -> str:
    """The clauses of many people are the same."""
    return f"<because>{''.join([leaf('citation', str(one)) for one in citations])}</because>"


def _evidence(message_ids: Sequence[str]) -> str:
    return f"<evidence>{''.join([leaf('messageId', one) for one in message_ids])}</evidence>"


def _read_day(text: str) -> dt.date:
    try:
        if _DAY.fullmatch(text):
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise MalformedMessage("<asOf> is not a day; write it as 2026-01-31, without a time zone", code="bad_date")
