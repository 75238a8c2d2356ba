"""Every bad day that can be ordered, met by our own asking: the right refusal, no fact kept, life goes on."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, func, select

from gateway import resources
from gateway.database import engine_for, reading, upgrade
from gateway.exchange.ask import Asker
from gateway.exchange.http_transport import HttpTransport
from gateway.exchange.journal import JournalWriter
from gateway.exchange.outbox import State
from gateway.exchange.question import AskPolicy
from gateway.exchange.verification import TrustPolicy
from gateway.model import Outcome
from gateway.registry.tables import FACT
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from gateway.sandbox.misbehaviour import Misbehaviour, Order, Point, points_of
from gateway.sandbox.server import RunningSandbox
from gateway.shep.messages import Sender
from gateway.signing.keys import SigningKey
from gateway.trust.store import TrustStore
from gateway.trust.verdict import RevocationMode
from tests.sandbox.integrator import NOW, now

#: what was ordered → (how the row ends, the code of the error)
EXPECTED: dict[Misbehaviour, tuple[State, str]] = {
    Misbehaviour.SLOW: (State.UNKNOWN, "reply_timeout"),
    Misbehaviour.FAULT: (State.REFUSED, "peer_fault"),
    Misbehaviour.UNSIGNED_FAULT: (State.REFUSED, "unsigned_fault"),
    # the Body that was moved into the Header brings its business signature there
    Misbehaviour.WRAPPED_FORGERY: (State.REFUSED, "signature_count"),
    Misbehaviour.WRONG_SIGNATURE: (State.REFUSED, "digest"),
    Misbehaviour.STRANGER_SIGNER: (State.REFUSED, "untrusted_issuer"),
    Misbehaviour.EXPIRED_SIGNER: (State.REFUSED, "expired"),
    Misbehaviour.REVOKED_SIGNER: (State.REFUSED, "revoked"),
    Misbehaviour.WRONG_CORRELATION: (State.REFUSED, "wrong_correlation"),
    Misbehaviour.OTHER_PERSON: (State.REFUSED, "wrong_subject"),
    Misbehaviour.CUT_BODY: (State.UNKNOWN, "reply_cut"),
    Misbehaviour.NOT_XML: (State.REFUSED, "not_xml"),
    Misbehaviour.TOO_LARGE: (State.UNKNOWN, "reply_too_large"),
    Misbehaviour.UNSIGNED_REPLY: (State.REFUSED, "unsigned"),
    Misbehaviour.HTTP_500_HTML: (State.REFUSED, "doctype"),
    Misbehaviour.LOSE_REPLY: (State.UNKNOWN, "reply_cut"),
    Misbehaviour.LOSE_REQUEST: (State.UNKNOWN, "reply_cut"),
}
#: an answer that is only strange, or nothing that happens to the answer of a question
HARMLESS = frozenset({Misbehaviour.DRIP, Misbehaviour.SKEW, Misbehaviour.CHANGED_IDS, Misbehaviour.OUTAGE})


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    with HttpTransport() as transport:
        yield transport


@pytest.fixture(scope="module")
def law() -> Law:
    return load_law(resources.path("config/regulation"))


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Engine]:
    engine = engine_for(sqlite_url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def make_asker(
    store: Engine,
    sandbox: RunningSandbox,
    transport: HttpTransport,
    load_key: Callable[[str], SigningKey],
    trust: TrustStore,
    law: Law,
) -> Callable[[float], Asker]:
    """An asker that waits so many seconds for a reply."""
    numbers = itertools.count(1)

    def make(reply_timeout_s: float) -> Asker:
        key = load_key("gateway")
        return Asker(
            engine=store,
            journal=JournalWriter(),
            transport=transport,
            systems=sandbox.simulator.systems,
            key=lambda: key,
            trust=TrustPolicy(trust, RevocationMode.REQUIRE),
            law=law,
            policy=AskPolicy(
                url=sandbox.sync_url,
                sender=Sender("fund-gateway-test"),
                requester="FUND",
                reply_timeout_s=reply_timeout_s,
                max_reply_bytes=2_000_000,
            ),
            clock=now,
            new_message_id=lambda: f"message-{next(numbers)}",
        )

    return make


def _facts_kept(store: Engine) -> int:
    with reading(store) as connection:
        return connection.execute(select(func.count()).select_from(FACT)).scalar_one()


def test_the_table_of_expectations_is_complete() -> None:
    of_a_question = {kind for kind in Misbehaviour if points_of(kind) != (Point.DELIVERY,)}
    assert set(EXPECTED) == of_a_question - HARMLESS


@pytest.mark.parametrize("kind", [kind for kind in EXPECTED if kind is not Misbehaviour.SLOW], ids=str)
def test_a_misbehaving_gateway_is_refused_for_the_right_reason(
    kind: Misbehaviour, sandbox: RunningSandbox, make_asker: Callable[[float], Asker], store: Engine
) -> None:
    _check_misbehaviour(Order(kind), sandbox, make_asker(30.0), store)


def test_a_slow_gateway_leaves_the_outcome_unknown(
    sandbox: RunningSandbox, make_asker: Callable[[float], Asker], store: Engine
) -> None:
    _check_misbehaviour(Order(Misbehaviour.SLOW, seconds=600), sandbox, make_asker(0.3), store, after=make_asker(30.0))


def _check_misbehaviour(
    order: Order, sandbox: RunningSandbox, asker: Asker, store: Engine, *, after: Asker | None = None
) -> None:
    subject = sandbox.population.exhibit("disabled_for_a_period")
    sandbox.orders.place(order)
    result = asker.ask("gbdfl", subject)

    state, code = EXPECTED[order.kind]
    assert result.error is not None
    assert (result.state, result.error.code) == (state, code)
    assert result.outcome is Outcome.UNKNOWN
    assert result.facts == ()
    assert subject.value not in result.error.message
    assert _facts_kept(store) == 0

    # an order is used up, and the next question is answered as if nothing had been
    good = (after or asker).ask("cbdi", subject)
    assert (good.state, good.outcome) == (State.ANSWERED, Outcome.FOUND)
    assert _facts_kept(store) == len(good.facts) > 0


@pytest.mark.parametrize("slug", ["cbdi", "eguardianship", "gbdfl", "zags"])
def test_a_forged_body_never_becomes_a_fact_in_any_system(
    slug: str, sandbox: RunningSandbox, make_asker: Callable[[float], Asker], store: Engine
) -> None:
    for kind in (Misbehaviour.WRAPPED_FORGERY, Misbehaviour.WRONG_SIGNATURE, Misbehaviour.OTHER_PERSON):
        sandbox.orders.place(Order(kind, slug))
        result = make_asker(30.0).ask(slug, sandbox.population.exhibit("unmarried_mother"))
        assert result.state is State.REFUSED
        assert result.error is not None
    assert _facts_kept(store) == 0


def test_a_slow_answer_that_is_waited_for_is_a_good_answer(
    sandbox: RunningSandbox, make_asker: Callable[[float], Asker]
) -> None:
    sandbox.orders.place(Order(Misbehaviour.SLOW, seconds=0.05))
    result = make_asker(30.0).ask("gbdfl", sandbox.population.exhibit("wife"))
    assert (result.state, result.outcome) == (State.ANSWERED, Outcome.FOUND)
    assert result.finished_at - NOW == dt.timedelta(0)
