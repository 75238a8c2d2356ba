"""Requests that are answered together: each as if alone, each message once, nobody harmed by another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import DataError
from structlog.testing import capture_logs

from gateway.database import reading, writing
from gateway.exchange import quota
from gateway.exchange.inbox import Arrived, body_digest, register_many, registering
from gateway.exchange.journal import Journal
from gateway.exchange.quota import Limits, Quotas
from gateway.exchange.serve import ServedReply, Server, ServicePolicy
from gateway.exchange.tables import INBOX, QUOTA
from gateway.shep.faults import FaultCode
from gateway.shep.messages import Sender, SyncRequest, SyncResponse
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from tests.exchange.test_serve import SERVICE, Echo, fault_of, handle, question, reply_of, request_body, server
from tests.exchange.world import NOW, Keys

HOUR = dt.timedelta(hours=1)


def together(target: Server, *requests: bytes) -> list[ServedReply]:
    return list(target.answer_many([target.open(data, received_at=NOW, peer="192.0.2.7") for data in requests]))


def verdicts(engine: Engine) -> list[str]:
    """Of everything that came, oldest first."""
    return [one.verdict for one in reversed(Journal(engine).list_entries()) if one.direction == "in"]


def test_each_of_a_group_gets_its_own_answer_in_its_own_place(engine: Engine, keys: Keys) -> None:
    requests = [question(keys, message_id="a"), b"hello", question(keys, message_id="b", service_id="NOBODY")]
    requests.append(question(keys, message_id="c"))
    replies = together(server(engine, keys), *requests)
    assert [reply.status for reply in replies] == [200, 500, 500, 200]
    assert [reply.message_id for reply in replies] == ["a", "", "b", "c"]
    for reply, chain in ((replies[0], "a"), (replies[3], "c")):
        answer = reply_of(keys, reply)
        assert isinstance(answer, SyncResponse)
        assert answer.info.correlation_id == chain
    assert verdicts(engine) == ["accepted", "not_xml", "no_service", "accepted"]
    kept = [Journal(engine).get(number) for number in range(1, 9)]
    assert [one.body for one in kept if one is not None and one.direction == "in"] == requests
    assert [one.body for one in kept if one is not None and one.direction == "out"] == [one.body for one in replies]


def test_nobody_is_a_group_too(store: Engine, keys: Keys) -> None:
    assert server(store, keys).answer_many([]) == ()


# ---------------------------------------------------------------- each message once


def test_the_same_request_again_gets_the_same_bytes_and_is_not_asked_about(engine: Engine, keys: Keys) -> None:
    echo, data = Echo(), question(keys)
    target = server(engine, keys, echo)
    first = handle(target, data)
    again = handle(target, data)
    assert (again.status, again.body, again.message_id) == (200, first.body, "req-1")
    assert len(echo.asked) == 1
    assert verdicts(engine) == ["accepted", "duplicate"]
    repeated = Journal(engine).get(4)
    assert repeated is not None
    assert (repeated.body, repeated.note) == (first.body, "the bytes of journal entry 2")


def test_the_same_message_signed_once_more_is_a_duplicate(engine: Engine, keys: Keys) -> None:
    target = server(engine, keys)
    first, other = question(keys), question(keys)
    assert first != other
    assert handle(target, first).body == handle(target, other).body


def test_the_same_request_twice_at_once_is_answered_once(engine: Engine, keys: Keys) -> None:
    echo, data = Echo(), question(keys)
    replies = together(server(engine, keys, echo), data, question(keys, message_id="other"), data)
    assert replies[0] == replies[2]
    assert len(echo.asked) == 2


def test_another_text_under_the_same_id_is_refused_and_told_loudly(engine: Engine, keys: Keys) -> None:
    echo = Echo()
    target = server(engine, keys, echo)
    handle(target, question(keys))
    with capture_logs() as logs:
        fault = fault_of(keys, handle(target, question(keys, correlation_id="another")))
    assert fault.code == FaultCode.MESSAGE_FORMAT
    assert "messageId was used before" in fault.message
    assert len(echo.asked) == 1
    assert [(line["log_level"], line["verdict"]) for line in logs] == [("error", "id_reused")]
    came = Journal(engine).get(3)
    assert came is not None
    assert (came.verdict, came.note) == ("id_reused", "first came as journal entry 1")


def test_a_sender_known_to_use_ids_again_is_answered_by_what_it_says(engine: Engine, keys: Keys) -> None:
    policies = {SERVICE: ServicePolicy(reusing_ids=frozenset({"clinic-test"}))}
    target = server(engine, keys, policies=policies)
    first, other = handle(target, question(keys)), handle(target, question(keys, correlation_id="another"))
    assert (first.status, other.status) == (200, 200)
    assert first.body != other.body
    assert handle(target, question(keys)).body == first.body


def test_what_got_a_fault_may_be_sent_again_under_its_id(engine: Engine, keys: Keys) -> None:
    echo = Echo(KeyError("broken for a moment"))
    target = server(engine, keys, echo)
    assert handle(target, question(keys)).status == 500
    echo.error = None
    assert handle(target, question(keys)).status == 200


def test_an_answer_that_is_no_longer_kept_is_not_given_anew(engine: Engine, keys: Keys) -> None:
    target = server(engine, keys)
    handle(target, question(keys))
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM journal_body"))
    fault = fault_of(keys, handle(target, question(keys)))
    assert "new messageId" in fault.message
    assert verdicts(engine) == ["accepted", "answer_gone"]


def test_who_loses_the_race_for_an_id_gives_the_winners_answer(engine: Engine, keys: Keys) -> None:
    winner = server(engine, keys)

    class Racing(Echo):
        """While it answers, another process accepts the same message."""

        def load(self, connection: Connection, questions: Sequence[SyncRequest]) -> Sequence[int]:
            found = super().load(connection, questions)
            if not self.asked:
                self.reply = handle(winner, data)
            return found

    data, racing = question(keys), Racing()
    lost = handle(server(engine, keys, racing), data)
    assert (lost.status, lost.body) == (200, racing.reply.body)
    assert verdicts(engine) == ["accepted", "duplicate"]


def test_a_race_that_never_ends_is_a_fault(store: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    target = server(store, keys)
    canonical = verify_envelope(question(keys)).canonical
    sender, service_id = "clinic-test", SERVICE
    with writing(store) as connection:
        register_many(connection, [Arrived(sender, service_id, "req-1", body_digest(canonical), NOW, "sync", 1)])
    monkeypatch.setattr("gateway.exchange.serve.find_many", lambda connection, keys: {})
    assert fault_of(keys, handle(target, question(keys))).code == FaultCode.INTERNAL


@pytest.mark.parametrize(("age", "verdict"), [(80 * HOUR, "too_old"), (-2 * HOUR, "from_the_future")])
def test_a_date_outside_the_replay_window_is_refused(
    store: Engine, keys: Keys, age: dt.timedelta, verdict: str
) -> None:
    echo = Echo()
    fault = fault_of(keys, handle(server(store, keys, echo), question(keys, message_date=NOW - age)))
    assert fault.code == FaultCode.MESSAGE_FORMAT
    assert "messageDate" in fault.message
    assert echo.asked == []
    assert verdicts(store) == [verdict]


# ---------------------------------------------------------------- nobody is harmed by another


class Choosy(Echo):
    """Fails as a whole whenever a certain message is among what it is asked."""

    def load(self, connection: Connection, questions: Sequence[SyncRequest]) -> Sequence[int]:
        if any(question.info.message_id == "poison" for question in questions):
            connection.execute(text("SELECT 1 / 0" if connection.dialect.name == "postgresql" else "SELECT nothing"))
        return super().load(connection, questions)


def test_one_request_that_the_database_refuses_fails_alone(postgresql_url: str, keys: Keys) -> None:
    from gateway.database import engine_for, upgrade

    engine = engine_for(postgresql_url)
    upgrade(engine)
    requests = [question(keys, message_id=name) for name in ("a", "poison", "b")]
    replies = together(server(engine, keys, Choosy()), *requests)
    assert [reply.status for reply in replies] == [200, 500, 200]
    assert fault_of(keys, replies[1]).code == FaultCode.INTERNAL
    assert verdicts(engine) == ["accepted", "store", "accepted"]
    engine.dispose()


def test_one_request_that_cannot_be_stored_fails_alone(engine: Engine, keys: Keys, monkeypatch: Any) -> None:
    def poisoned(genuine: Callable[..., Any]) -> Callable[..., Any]:
        def register(*arguments: Any) -> Any:
            arrivals: Sequence[Arrived] = arguments[-1]
            if any(one.message_id == "poison" for one in arrivals):
                raise DataError("statement", {}, ValueError("refused"))
            return genuine(*arguments)

        return register

    # each store has its own way
    monkeypatch.setattr("gateway.exchange.serve.register_many", poisoned(register_many))
    monkeypatch.setattr("gateway.exchange.serve.registering", poisoned(registering))
    requests = [question(keys, message_id=name) for name in ("a", "poison", "b")]
    assert [reply.status for reply in together(server(engine, keys), *requests)] == [200, 500, 200]
    with reading(engine) as connection:
        assert set(connection.execute(select(INBOX.c.message_id)).scalars()) == {"a", "b"}


def test_when_the_database_is_gone_everybody_is_told_at_once(store: Engine, keys: Keys) -> None:
    from gateway.database import engine_for

    gone = engine_for("postgresql://nobody@127.0.0.1:1/none")
    requests = [question(keys, message_id=name) for name in "abc"]
    with capture_logs() as logs:
        replies = together(server(gone, keys), *requests)
    assert [fault_of(keys, reply).code for reply in replies] == [FaultCode.INTERNAL] * 3
    assert [line["action"] for line in logs] == ["refused", "journal_failed"] * 3
    gone.dispose()


# ---------------------------------------------------------------- quotas


def ask(target: Server, keys: Keys, *message_ids: str, sender: str = "clinic-test") -> list[int]:
    return [
        reply.status
        for reply in together(target, *(question(keys, message_id=name, sender=Sender(sender)) for name in message_ids))
    ]


def test_a_quota_is_shared_by_everybody_who_serves(engine: Engine, keys: Keys) -> None:
    quotas = Quotas(Limits(per_minute=3))
    one, other = server(engine, keys, quotas=quotas), server(engine, keys, quotas=quotas)
    assert ask(one, keys, "a", "b") == [200, 200]
    assert ask(other, keys, "c", "d") == [200, 500]
    assert ask(one, keys, "e") == [500]
    assert ask(one, keys, "f", sender="another") == [200]
    with reading(engine) as connection:
        counts = {row.sender: row[1] for row in connection.execute(select(QUOTA.c.sender, QUOTA.c.count))}
    assert counts == {"clinic-test": 3, "another": 1}


def test_a_used_up_quota_is_told_and_is_another_thing_than_no_service(store: Engine, keys: Keys) -> None:
    target = server(store, keys, quotas=Quotas(Limits(per_day=1)))
    ask(target, keys, "a")
    fault = fault_of(keys, handle(target, question(keys, message_id="b")))
    assert fault.code == FaultCode.SERVICE_UNAVAILABLE
    assert "quota of 1 requests a day" in fault.message
    assert verdicts(store) == ["accepted", "quota_used_up"]


def test_the_same_message_again_costs_no_quota(store: Engine, keys: Keys) -> None:
    target = server(store, keys, quotas=Quotas(Limits(per_minute=1)))
    assert ask(target, keys, "a") == [200]
    assert ask(target, keys, "a") == [200]


def test_the_operator_is_warned_once_before_a_caller_is_blocked(store: Engine, keys: Keys) -> None:
    target = server(store, keys, quotas=Quotas(Limits(per_minute=5), warn_at=0.6))
    with capture_logs() as logs:
        ask(target, keys, "a", "b", "c")
        assert [line for line in logs if line["event"] == "quota"] == []
        ask(target, keys, "d", "e", "f")
    (warning,) = [line for line in logs if line["event"] == "quota"]
    assert (warning["action"], warning["used"], warning["limit"]) == ("nearly_used", 4, 5)


def test_a_sender_may_have_limits_of_its_own(store: Engine, keys: Keys) -> None:
    quotas = Quotas(Limits(per_minute=1), {"hospital": Limits()})
    target = server(store, keys, quotas=quotas)
    assert ask(target, keys, "a", "b", sender="hospital") == [200, 200]
    assert ask(target, keys, "c", "d") == [200, 500]


def test_a_day_is_one_of_kazakhstan_and_old_counters_go(engine: Engine) -> None:
    quotas = Quotas(Limits(per_minute=9, per_day=9))
    late = dt.datetime(2026, 6, 1, 20, 30, 7, tzinfo=dt.UTC)  # the second of June there
    (minute, _), (day, _) = quotas.counters("clinic", late)
    assert (minute.starts_at.minute, minute.starts_at.second) == (30, 0)
    assert day.starts_at == dt.datetime(2026, 6, 1, 19, 0, tzinfo=dt.UTC)
    with writing(engine) as connection:
        quota.add(connection, {minute: 2, day: 1})
        quota.add(connection, {minute: 1})
        quota.add(connection, {})
        assert quota.read(connection, [minute, day, minute]) == {minute: 3, day: 1}
        assert quota.forget(connection, at=minute.starts_at + quota.KEPT) == 1
        assert quota.read(connection, [minute, day]) == {minute: 3, day: 0}


# ---------------------------------------------------------------- faults of one second


def test_whoever_is_told_the_same_in_one_second_gets_the_same_bytes(store: Engine, keys: Keys) -> None:
    target = server(store, keys)
    one, other = target.overloaded(at=NOW), target.overloaded(at=NOW + dt.timedelta(microseconds=5))
    assert one == other
    fault = fault_of(keys, one)
    assert (fault.code, fault.date) == (FaultCode.SERVICE_UNAVAILABLE, NOW)
    assert target.overloaded(at=NOW + dt.timedelta(seconds=1)).body != one.body
    assert verdicts(store) == []


def test_a_request_that_says_nothing_of_an_id_of_its_own_is_told_apart_by_form(store: Engine, keys: Keys) -> None:
    plain = sign_body(request_body(message_id="x"), keys["client"], form=KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE)
    target = server(store, keys)
    assert handle(target, plain).body == handle(target, question(keys, message_id="x")).body
