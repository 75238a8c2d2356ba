"""Statements that run for every group of messages, prepared once for each connection and sent by libpq itself.

What surrounds a statement in SQLAlchemy and in the driver's cursors (a context, a result and its columns, types looked
up anew) costs three times what sending it costs, and a group of few messages consists of little else
(docs/decisions/0073). Here a parameter is what goes over the wire, rows come back as the driver reads them, and several
statements go in one exchange with the server. For PostgreSQL, in the transaction of the SQLAlchemy connection given.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import abc, adapt
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

#: a text in PostgreSQL's notation of the type, or bytes in the type's binary notation
Parameter: TypeAlias = str | bytes | None
Row: TypeAlias = tuple[Any, ...]
Call: TypeAlias = tuple["Prepared", Sequence[Parameter]]

_DONE: Final = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
#: key of `Connection.info`, which lives as long as the connection to the server
_KEPT: Final = "gateway.prepared"
_BYTEA: Final = 17


@dataclass(frozen=True, slots=True)
class Prepared:
    """One statement with parameters $1, $2 and so on. No other of the program has its `name`."""

    name: str
    text: str

    def run(self, connection: Connection, *parameters: Parameter) -> list[Row]:
        """Its rows. Raises what `Connection.execute` raises."""
        return run_together(connection, ((self, parameters),))[0]


def run_together(connection: Connection, calls: Sequence[Call], *, commit: bool = False) -> list[list[Row]]:
    """The rows of each statement, in one exchange with the server; the first that fails ends it.

    With `commit` the transaction is committed at the end of the same exchange, unless one of them failed; what is left
    to the caller is then an empty one. Raises what `Connection.execute` raises.
    """
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.driver_connection
    kept: _Kept | None = connection.info.get(_KEPT)
    if kept is None:
        kept = connection.info[_KEPT] = _Kept(driver)
    try:
        return kept.run(calls, commit=commit)
    except psycopg.Error as error:
        kept.forget()
        unusable = driver.broken or driver.pgconn.pipeline_status != PipelineStatus.OFF
        if unusable:
            connection.invalidate(error)
        raise DBAPIError.instance(
            calls[0][0].text,
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            connection_invalidated=unusable,
            dialect=connection.dialect,
        ) from error
    except BaseException:
        # in the middle of an exchange: nobody else is to read what is still to come
        connection.invalidate()
        raise


def text_array(values: Iterable[str]) -> str:
    """Texts as one parameter of an array type."""
    # a quoted element is taken as it stands, but for these two
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join([f'"{value}"' for value in escaped]) + "}"


def bytea_array(values: Sequence[bytes]) -> bytes:
    """Bytes as one parameter of type bytea[]."""
    head = b"".join(
        number.to_bytes(4, "big") for number in ((1, 0, _BYTEA, len(values), 1) if values else (0, 0, _BYTEA))
    )
    return head + b"".join([part for value in values for part in (len(value).to_bytes(4, "big"), value)])


class _Kept:
    """One connection to the server: what was prepared on it, and how the rows of each statement are read."""

    __slots__ = ("_driver", "_either", "_input", "_pgconn", "_readers")

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._pgconn: PGconn = driver.pgconn
        # poll, because select takes no socket above the 1,024th, and a daemon holds that many
        self._input, self._either = select.poll(), select.poll()
        self._input.register(self._pgconn.socket, select.POLLIN)
        self._either.register(self._pgconn.socket, select.POLLIN | select.POLLOUT)
        #: by name: the statement that is prepared under it, and how its rows are read
        self._readers: dict[str, tuple[Prepared, abc.Transformer]] = {}

    def forget(self) -> None:
        self._readers.clear()

    def run(self, calls: Sequence[Call], *, commit: bool) -> list[list[Row]]:
        """Raises psycopg.Error."""
        self._pgconn.enter_pipeline_mode()
        answered = [(statement, self._result()) for statement in self._send(calls, commit=commit)]
        self._next()  # the end of what was sent
        self._pgconn.exit_pipeline_mode()
        for _, result in answered:
            if result.status not in _DONE:
                raise error_from_result(result)
        return [self._rows(statement, result) for statement, result in answered if statement is not None]

    def _send(self, calls: Sequence[Call], *, commit: bool) -> list[Prepared | None]:
        """For each result that will come, the statement whose rows it holds."""
        pgconn = self._pgconn
        sent: list[Prepared | None] = []
        if pgconn.transaction_status == TransactionStatus.IDLE and not self._driver.autocommit:
            # as the driver begins it: whoever only reads has said so
            pgconn.send_query_params(b"BEGIN READ ONLY" if self._driver.read_only else b"BEGIN", None)
            sent.append(None)
        for statement, parameters in calls:
            name = statement.name.encode()
            known = self._readers.get(statement.name)
            if known is not None and known[0] is not statement and known[0] != statement:
                raise ValueError(f"two statements have the name {statement.name}")
            if known is None:
                # after an error nobody knows whether it was prepared: closing what is not there is no error
                pgconn.send_close_prepared(name)
                pgconn.send_prepare(name, statement.text.encode())
                sent += (None, None)
            pgconn.send_query_prepared(
                name,
                [one.encode() if isinstance(one, str) else one for one in parameters],
                [isinstance(one, bytes) for one in parameters],
            )
            sent.append(statement)
        if commit:
            pgconn.send_query_params(b"COMMIT", None)
            sent.append(None)
        pgconn.pipeline_sync()
        return sent

    def _result(self) -> PGresult:
        result = self._next()
        if result is None or self._next() is not None:
            raise psycopg.OperationalError("the server did not answer what it was asked")
        return result

    def _next(self) -> PGresult | None:
        pgconn = self._pgconn
        while pgconn.is_busy():
            # libpq would wait with the interpreter held
            if pgconn.flush():
                self._either.poll()
            else:
                self._input.poll()
            pgconn.consume_input()
        return pgconn.get_result()

    def _rows(self, statement: Prepared, result: PGresult) -> list[Row]:
        known = self._readers.get(statement.name)
        if known is None:
            reader = adapt.Transformer(self._driver)
            self._readers[statement.name] = statement, reader
            reader.set_pgresult(result)
        else:
            # the types of its columns are known
            _, reader = known
            reader.set_pgresult(result, set_loaders=False)
        return reader.load_rows(0, result.ntuples, tuple)
