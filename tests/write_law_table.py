"""Puts the table of readings into docs/reference/law.md: `python tests/write_law_table.py`."""

from collections.abc import Iterator
from pathlib import Path

from gateway.regulation.law import Law, Reading
from gateway.regulation.reading import load_law

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "law.md"
DECISIONS = ROOT / "docs" / "decisions"
BEGIN, END = "<!-- readings -->\n", "<!-- /readings -->"


def as_written(value: str | bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def what_it_does(reading: Reading, value: str | bool | int) -> str:
    """What `why` says of another value: the words after its name and a colon. Raises ValueError."""
    _, found, rest = reading.why.partition(f"{as_written(value)}: ")
    if not found:
        raise ValueError(f"`why` of {reading.name} does not say what {as_written(value)} does")
    for other in reading.allowed:
        rest = rest.partition(f" {as_written(other)}: ")[0]
    return rest


def rows(law: Law) -> Iterator[str]:
    yield "| setting | chosen | otherwise | place | why |"
    yield "|---|---|---|---|---|"
    for reading in law.readings.values():
        others = [value for value in reading.allowed if value != reading.value]
        told = "<br>".join(f"`{as_written(value)}`: {what_it_does(reading, value)}" for value in others)
        (record,) = DECISIONS.glob(f"{reading.decision}-*.md")
        cites = ", ".join(str(citation) for citation in reading.cites)
        why = f"[{reading.decision}](../decisions/{record.name})"
        yield f"| `{reading.name}` | `{as_written(reading.value)}` | {told} | {cites} | {reading.ambiguity}, {why} |"


def table(law: Law) -> str:
    return "".join(f"{row}\n" for row in rows(law))


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    written = table(load_law(ROOT / "config" / "regulation"))
    PAGE.write_text(f"{before}{BEGIN}{written}{END}{after}", encoding="utf-8")
