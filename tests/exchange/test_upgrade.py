"""A database of before: its rows are kept, and none of them begins to be sent by itself."""

from __future__ import annotations

from alembic import command
from sqlalchemy import text

from gateway import database
from gateway.database import engine_for, reading, upgrade, writing
from gateway.exchange import outbox
from gateway.exchange.outbox import State
from tests.exchange.fleet import HOUR
from tests.exchange.world import NOW, PERSON

#: state before → state and code afterwards
BEFORE = {
    "answered": (State.ANSWERED, "c"),
    "refused": (State.REFUSED, "c"),
    "unknown": (State.UNKNOWN, "c"),
    "asked": (State.UNKNOWN, "lease_ended"),
    "unreachable": (State.DROPPED, "c"),
}


def test_rows_of_the_first_revision_are_kept_and_nothing_of_them_is_due(database_url: str) -> None:
    engine = engine_for(database_url)
    configuration = database._configuration()
    with writing(engine) as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        connection.execute(
            text(
                "INSERT INTO journal (id, at, direction, step, kind, channel, system, service_id, message_id,"
                " correlation_id, peer, body_bytes, body_sha256, signer_subject, signer_serial, verdict,"
                " revocation_status, revocation_source, note)"
                " VALUES (1, :at, 'out', 8, 'request', 'sync', 'cbdi', 'S', 'm', '', '', 0, '', '', '', 'signed',"
                " '', '', '')"
            ),
            {"at": NOW},
        )
        for state in BEFORE:
            connection.execute(
                text(
                    "INSERT INTO exchange (message_id, system, service_id, subject, state, outcome, code, asked_at,"
                    " answered_at, request_journal_id)"
                    " VALUES (:id, 'cbdi', 'S', :iin, :id, 'unknown', 'c', :at, :at, 1)"
                ),
                {"id": state, "iin": PERSON.value, "at": NOW},
            )
        connection.execute(
            text("INSERT INTO due (iin, system, due_at, reason, failures) VALUES (:iin, 'cbdi', :at, 'retry', 2)"),
            {"iin": PERSON.value, "at": NOW},
        )
    upgrade(engine)
    with writing(engine) as connection:
        rows = {row.message_id: row for row in outbox.find(connection)}
        assert outbox.find_due(connection, NOW + 1_000 * HOUR, 10) == ()
        assert outbox.find_expired(connection, NOW + 1_000 * HOUR, 10) == ()
    assert {before: (row.state, row.code) for before, row in rows.items()} == BEFORE
    assert {(row.asked_at, row.answered_at, row.subject, row.request_journal_id) for row in rows.values()} == {
        (NOW, NOW, PERSON, 1)
    }
    with reading(engine) as connection:
        due = connection.execute(text("SELECT failures, message_id, lease_holder FROM due")).one()
    assert tuple(due) == (2, None, "")
    engine.dispose()
