"""The chain finds every change, in the database and in an export, and the verifier that shares no code agrees."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
import io
import itertools
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, LargeBinary, Table, delete, insert, select, text, update

from gateway.database import UtcDateTime, engine_for, reading, upgrade, writing
from gateway.errors import OperatorError, SignatureRefused, StoreError, Undecided
from gateway.exchange.journal import BodySeal, EntryKind, JournalWriter, Verdict
from gateway.exchange.journal.chain import Removal, canonical
from gateway.exchange.journal.exporting import export_lines
from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.retention import RetentionPolicy, prune
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_BODY, JOURNAL_CUT, JOURNAL_EVIDENCE, JOURNAL_HEAD
from gateway.trust.verdict import DecidingEvidence
from tests.exchange.test_journal import KEY, WRITER, entry, stored
from tests.exchange.world import NOW

ROWS = 12
TABLES = (JOURNAL, JOURNAL_BODY, JOURNAL_HEAD, JOURNAL_CUT, JOURNAL_EVIDENCE, EVIDENCE)


@pytest.fixture(scope="session")
def tool() -> Any:
    file = Path(__file__).parents[2] / "tools" / "verify_journal.py"
    spec = importlib.util.spec_from_file_location("verify_journal", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def judged(tool: Any, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """What the independent verifier says of an export: its exit code and its words."""

    def judge(export: bytes, *options: str) -> tuple[int, str]:
        file = tmp_path / "export.jsonl"
        file.write_bytes(export)
        said = io.StringIO()
        with redirect_stdout(said):
            code = tool.main([str(file), *options])
        return code, said.getvalue()

    return judge


def answer(content: bytes = b"an OCSP answer") -> DecidingEvidence:
    return DecidingEvidence("ocsp", hashlib.sha256(content).hexdigest(), NOW, "http://ocsp.example.invalid/", content)


def fill(engine: Engine, writer: JournalWriter = WRITER) -> None:
    """Messages of three days, a verdict with evidence, a note; then a cut of the first rows and of some bodies."""
    day = dt.timedelta(days=1)
    stored(engine, *(entry(at=NOW - 3 * day, message_id=f"cut-{number}") for number in range(3)), writer=writer)
    stored(engine, *(entry(at=NOW - 2 * day, message_id=f"old-{number}") for number in range(2)), writer=writer)
    message = entry(at=NOW, system="cbdi", message_id="m", note="Қазақ «сөз»\n\u2028")
    with writing(engine) as connection:
        number = writer.append(connection, message)
        writer.append_verdict(connection, number, message, at=NOW, step=11, verdict="digest", deciding=(answer(),))
    policy = RetentionPolicy(bodies_before=NOW - 1.5 * day, rows_before=NOW - 2.5 * day)
    pruned = prune(engine, writer, policy, at=NOW)
    assert (pruned.rows, pruned.bodies) == (3, 5)
    stored(engine, entry(kind=EntryKind.NOTE, body=None, verdict="settle", note="a reason"), writer=writer)
    stored(engine, entry(at=NOW, body=b"<last/>", deciding=(answer(), answer(b"other"))), writer=writer)


def export(engine: Engine, **options: Any) -> bytes:
    return b"".join(export_lines(engine, **options))


def test_an_untouched_journal_holds(engine: Engine, judged: Callable[..., tuple[int, str]]) -> None:
    assert verify_journal(engine).broken is None
    fill(engine)
    report = verify_journal(engine)
    assert report.broken is None
    assert (report.before_id, report.bodies, report.bodies_removed, report.evidence) == (3, 2, 2, 2)
    code, said = judged(export(engine), "--head", report.head_sha256)
    assert (code, said.splitlines()[-1]) == (0, f"head {report.head_sha256}")
    assert f"rows 4 to {report.last_id}, 2 bodies, 2 removed" in said


def test_a_sealed_journal_holds_and_its_export_is_open(store: Engine, judged: Callable[..., tuple[int, str]]) -> None:
    seal = BodySeal.of(KEY)
    fill(store, JournalWriter(seal))
    assert verify_journal(store, seal).broken is None
    assert judged(export(store, seal=seal))[0] == 0
    assert judged(export(store, with_bodies=False))[0] == 0
    with pytest.raises(StoreError) as caught:
        verify_journal(store)
    assert caught.value.code == "journal_key_missing"


# ---------------------------------------------------------------- changed by hand, in the database


def _changed(value: Any, position: int) -> Any:
    """The value with one byte of it changed; None where it has none."""
    if isinstance(value, bytes):
        if not value:
            return None
        place = position % len(value)
        return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
    if isinstance(value, str):
        if not value:
            return None
        place = position % len(value)
        return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
    if isinstance(value, dt.datetime):
        return value + dt.timedelta(microseconds=1)
    return None if value is None else value + 1_000


def _places(connection: Connection) -> Iterator[tuple[Table, Any, Any, Any]]:
    for table in TABLES:
        keys = list(table.primary_key.columns)
        for row in connection.execute(select(table)).mappings():
            for column in table.columns:
                yield table, [key == row[key.name] for key in keys], column, row[column.name]


def test_any_one_value_changed_in_the_database_is_found(store: Engine) -> None:
    fill(store)
    with reading(store) as connection:
        places = list(_places(connection))
    seen = 0
    for number, (table, where, column, value) in enumerate(places):
        changed = _changed(value, number * 7)
        if changed is None or column is JOURNAL_HEAD.c.one:  # the key of the only row means nothing
            continue
        with _without_constraints(store) as connection:
            connection.execute(update(table).where(*where).values({column.name: changed}))
        seen += 1
        assert verify_journal(store).broken is not None, (table.name, column.name, value)
        again = [column == changed if key.left is column else key for key in where]
        with _without_constraints(store) as connection:
            connection.execute(update(table).where(*again).values({column.name: value}))
    assert seen > 100
    assert verify_journal(store).broken is None


@contextmanager
def _without_constraints(engine: Engine) -> Iterator[Connection]:
    """As somebody writes who has the file and an editor."""
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA ignore_check_constraints=ON")
        driver.execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            yield connection
        driver.execute("PRAGMA ignore_check_constraints=OFF")
        driver.execute("PRAGMA foreign_keys=ON")


def test_any_byte_of_any_body_changed_is_found(store: Engine) -> None:
    for seal in (BodySeal(), BodySeal.of(KEY)):
        (number,) = stored(store, entry(body=b"<a>1</a>"), writer=JournalWriter(seal))
        of_row = JOURNAL_BODY.c.journal_id == number
        with reading(store) as connection:
            content = connection.execute(select(JOURNAL_BODY.c.content).where(of_row)).scalar_one()
        for place, flipped in itertools.product(range(len(content)), (0x01, 0x10, 0xFF)):
            damaged = content[:place] + bytes([content[place] ^ flipped]) + content[place + 1 :]
            with writing(store) as connection:
                connection.execute(update(JOURNAL_BODY).where(of_row).values(content=damaged))
            broken = verify_journal(store, BodySeal.of(KEY)).broken
            assert broken is not None, (seal.active, place)
            assert (broken.id, broken.what) == (number, "body")
        with writing(store) as connection:
            connection.execute(update(JOURNAL_BODY).where(of_row).values(content=content))
        assert verify_journal(store, BodySeal.of(KEY)).broken is None


def _remove(number: int) -> Callable[[Connection], None]:
    def act(connection: Connection) -> None:
        for table, key in (
            (JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.journal_id),
            (JOURNAL_BODY, JOURNAL_BODY.c.journal_id),
            (JOURNAL, JOURNAL.c.id),
        ):
            connection.execute(delete(table).where(key == number))

    return act


@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_any_row_removed_is_found(engine: Engine, which: str) -> None:
    fill(engine)
    report = verify_journal(engine)
    number = {"first": report.before_id + 1, "middle": 7, "last": report.last_id}[which]
    with writing(engine) as connection:
        _remove(number)(connection)
    broken = verify_journal(engine).broken
    assert broken is not None
    assert (broken.id, broken.what) == (number, "chain") if which != "last" else (broken.what == "head")


def test_a_row_inserted_or_moved_is_found(engine: Engine) -> None:
    fill(engine)
    with reading(engine) as connection:
        rows = [dict(row) for row in connection.execute(select(JOURNAL).order_by(JOURNAL.c.id)).mappings()]

    def broken_by(act: Callable[[Connection], None]) -> Any:
        with writing(engine) as connection:
            act(connection)
        found = verify_journal(engine).broken
        with writing(engine) as connection:
            connection.execute(delete(JOURNAL))
            connection.execute(insert(JOURNAL), rows)
        return found

    def behind_the_end(connection: Connection) -> None:
        connection.execute(insert(JOURNAL), {**rows[-1], "id": rows[-1]["id"] + 1, "about_id": None})

    def before_the_cut(connection: Connection) -> None:
        connection.execute(insert(JOURNAL), {**rows[0], "id": 1, "about_id": None})

    def two_changed_places(connection: Connection) -> None:
        connection.execute(delete(JOURNAL).where(JOURNAL.c.id.in_([rows[0]["id"], rows[1]["id"]])))
        connection.execute(insert(JOURNAL), [{**rows[0], "id": rows[1]["id"]}, {**rows[1], "id": rows[0]["id"]}])

    for act in (behind_the_end, before_the_cut, two_changed_places):
        assert broken_by(act) is not None, act.__name__
    assert verify_journal(engine).broken is None


def test_a_cut_that_no_note_speaks_of_is_found(engine: Engine, judged: Callable[..., tuple[int, str]]) -> None:
    fill(engine)
    with writing(engine) as connection:
        fourth = connection.execute(select(JOURNAL).where(JOURNAL.c.id == 4)).mappings().one()
        _remove(4)(connection)
        connection.execute(update(JOURNAL_CUT).values(last_id=4, row_sha256=fourth["row_sha256"]))
    broken = verify_journal(engine).broken
    assert broken is not None
    assert broken.what == "cut"
    assert judged(export(engine))[0] == 1


def test_a_body_taken_away_without_a_note_is_found(engine: Engine, judged: Callable[..., tuple[int, str]]) -> None:
    fill(engine)
    last_id = verify_journal(engine).last_id
    with writing(engine) as connection:
        connection.execute(delete(JOURNAL_BODY).where(JOURNAL_BODY.c.journal_id == last_id))
    broken = verify_journal(engine).broken
    assert broken is not None
    assert (broken.id, broken.what) == (last_id, "body")
    code, said = judged(export(engine))
    assert (code, f"row {last_id}" in said) == (1, True)
    part = export(engine, first_id=last_id)
    assert judged(part)[0] == 3


def test_two_heads_or_none_are_found(store: Engine) -> None:
    fill(store)
    with writing(store) as connection:
        connection.execute(delete(JOURNAL_HEAD))
    broken = verify_journal(store).broken
    assert broken is not None
    assert broken.what == "head"


def test_what_lies_beside_the_chain_is_found(store: Engine) -> None:
    fill(store)
    with writing(store) as connection:
        connection.execute(insert(JOURNAL_BODY), {"journal_id": 999, "sealed_with": "", "content": b""})
    broken = verify_journal(store).broken
    assert broken is not None
    assert "journal_body has 999" in broken.message


def test_a_row_that_cannot_even_be_read_is_a_break(store: Engine) -> None:
    fill(store)
    with writing(store) as connection:
        connection.execute(text("UPDATE journal SET at = 'no moment' WHERE id = 6"))
    broken = verify_journal(store).broken
    assert broken is not None
    assert "cannot be read" in broken.message


# ---------------------------------------------------------------- changed by hand, in an export


def test_any_one_byte_changed_in_an_export_is_found(
    empty_sqlite: Path, tool: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("export")
    file = folder / "store.sqlite"
    file.write_bytes(empty_sqlite.read_bytes())
    engine = engine_for(f"sqlite:///{file}")
    fill(engine)
    whole = export(engine)
    engine.dispose()
    target = folder / "changed.jsonl"

    @settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    @given(place=st.integers(0, len(whole) - 2), flip=st.integers(1, 255))
    def check(place: int, flip: int) -> None:
        target.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        with redirect_stdout(io.StringIO()):
            assert tool.main([str(target)]) == 1

    check()


def test_any_line_of_an_export_removed_inserted_or_moved_is_found(
    store: Engine, judged: Callable[..., tuple[int, str]]
) -> None:
    fill(store)
    lines = export(store).splitlines(keepends=True)
    assert judged(b"".join(lines))[0] == 0
    for number in range(len(lines)):
        without = lines[:number] + lines[number + 1 :]
        twice = [*lines[: number + 1], *lines[number:]]
        moved = lines[:number] + lines[number + 1 : number + 2] + lines[number : number + 1] + lines[number + 2 :]
        assert judged(b"".join(without))[0] == 1
        assert judged(b"".join(twice))[0] == 1
        assert number == len(lines) - 1 or judged(b"".join(moved))[0] == 1


def test_an_export_whose_own_digest_was_made_anew_still_shows_a_changed_row(
    store: Engine, judged: Callable[..., tuple[int, str]]
) -> None:
    fill(store)
    lines = export(store).splitlines(keepends=True)
    row = json.loads(lines[3])
    row["row"][9] = "another"
    lines[3] = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
    end = json.loads(lines[-1])
    end["file_sha256"] = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    lines[-1] = (json.dumps(end, separators=(",", ":")) + "\n").encode()
    code, said = judged(b"".join(lines))
    assert (code, f"row {row['row'][0]}," in said) == (1, True)


def test_a_part_of_the_chain_is_verified_as_a_part(store: Engine, judged: Callable[..., tuple[int, str]]) -> None:
    stored(store, *(entry(message_id=f"m-{number}") for number in range(6)))
    code, said = judged(export(store, first_id=2, last_id=4))
    assert (code, "goes on behind this part" in said) == (0, True)
    assert judged(export(store), "--head", "00" * 32)[0] == 1
    with pytest.raises(OperatorError, match="1 to 6"):
        export(store, first_id=5, last_id=9)


def test_a_file_that_is_no_export_is_broken_and_one_that_is_missing_is_wrong_use(
    judged: Callable[..., tuple[int, str]], tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (b"", b"\x00\xff", b"[]\n", b'{"format":"other"}\n'):
        assert judged(content)[0] == 1
    assert tool.main([str(tmp_path / "missing")]) == 2
    assert "cannot be read" in capsys.readouterr().err


# ---------------------------------------------------------------- signatures and notes


def test_signatures_are_asked_about_for_what_was_accepted_or_signed_by_us(store: Engine) -> None:
    stored(store, entry(verdict=Verdict.SIGNED, body=b"ours"), entry(verdict="digest", body=b"refused"))
    message = entry(body=b"later")
    with writing(store) as connection:
        number = WRITER.append(connection, message)
        WRITER.append_verdict(connection, number, message, at=NOW, step=11, verdict=Verdict.ACCEPTED)
    stored(store, entry(body=b"no verdict yet"))
    asked: list[bytes] = []
    report = verify_journal(store, check_signature=lambda body, _serial: asked.append(body))
    assert (asked, report.signatures) == ([b"ours", b"later"], 2)

    def refuse(body: bytes, _serial: str) -> None:
        if body == b"later":
            raise SignatureRefused("digest", "the Body was changed", step="digest")
        raise Undecided("not at hand")

    report = verify_journal(store, check_signature=refuse)
    assert report.broken is not None
    assert (report.broken.id, report.broken.what, report.undecided) == (number, "signature", 1)
    assert report.as_dict()["valid"] is False


def test_a_note_that_does_not_say_what_was_removed_is_a_break(store: Engine) -> None:
    stored(store, entry(kind=EntryKind.NOTE, body=None, verdict="bodies_removed", note="everything"))
    broken = verify_journal(store).broken
    assert broken is not None
    assert broken.id == 1


@given(number=st.integers(0), before=st.text(), service=st.text())
def test_a_removal_is_read_as_it_was_written(number: int, before: str, service: str) -> None:
    removal = Removal(number, before, service)
    assert Removal.read(removal.note()) == removal


@given(values=st.lists(st.one_of(st.none(), st.integers(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_the_canonical_text_is_json_without_anything_to_choose(values: list[object]) -> None:
    written = canonical(values)
    assert json.loads(written) == values
    assert written == json.dumps(json.loads(written), ensure_ascii=False, separators=(",", ":"))


# ---------------------------------------------------------------- many at once


def _append(url: str, name: str, rows: int) -> None:
    engine = engine_for(url)
    for number in range(rows):
        if number % 3:
            stored(engine, entry(message_id=f"{name}-{number}", deciding=(answer(),)))
        else:
            stored(engine, entry(message_id=f"{name}-{number}"), entry(message_id=f"{name}-{number}-b"))
    engine.dispose()


def test_several_processes_and_threads_leave_one_chain_without_gaps(postgresql_url: str) -> None:
    engine = engine_for(postgresql_url)
    upgrade(engine)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_append, args=(postgresql_url, f"p{number}", ROWS)) for number in range(2)]
    threads = [threading.Thread(target=_append, args=(postgresql_url, f"t{number}", ROWS)) for number in range(4)]
    for worker in (*others, *threads):
        worker.start()
    for worker in (*others, *threads):
        worker.join()
    assert [process.exitcode for process in others] == [0, 0]
    report = verify_journal(engine)
    assert (report.broken, report.rows) == (None, 6 * (ROWS + ROWS // 3))
    engine.dispose()


def test_time_columns_are_moments(engine: Engine) -> None:
    """What goes to PostgreSQL as text arrives as what the column is."""
    assert isinstance(JOURNAL.c.at.type, UtcDateTime)
    assert isinstance(JOURNAL.c.row_sha256.type, LargeBinary)
    stored(engine, entry(at=NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))))
    with reading(engine) as connection:
        assert connection.execute(select(JOURNAL.c.at)).scalar_one() == NOW
