"""What the journal says of lists: records that contradict each other (docs/decisions/0066)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection
from gateway.registry.imports.run import Contradicted, Contradiction

#: name of the incident, as the journal has it
RECORDS_CONTRADICT: Final = "records_contradict"
#: numbers of lines that are named; table `refused_line` has them all
_NAMED_LINES: Final = 20


def noting(journal: JournalWriter) -> Contradicted:
    """For `import_file`: a note in the transaction of the import, of lines that contradict each other."""

    def contradicted(connection: Connection, contradiction: Contradiction) -> None:
        journal.append(
            connection,
            JournalEntry(
                at=contradiction.received_at,
                direction=MessageDirection.IN,
                step=0,
                kind=EntryKind.NOTE,
                verdict=RECORDS_CONTRADICT,
                note=_told(contradiction),
            ),
        )

    return contradicted


def _told(contradiction: Contradiction) -> str:
    """Numbers, and nothing that a list says: its records are about people."""
    lines = contradiction.lines
    named = ", ".join(str(line) for line in lines[:_NAMED_LINES])
    more = ", …" if len(lines) > _NAMED_LINES else ""
    which = f"import {contradiction.import_id} of {contradiction.feed}"
    return f"{which}: {len(lines)} lines contradict each other: {named}{more}"
