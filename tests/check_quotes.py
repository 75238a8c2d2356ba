"""Compares every quotation of an act with a copy of the act: `python tests/check_quotes.py 004 FILE [--write]`.

FILE is the text of the act as it came out of its PDF. White space is ignored, because a line of the copy may break
anywhere; where `extraction` notes that words stand in another order there, that order is looked for, without
punctuation. Every quotation must be found. `--write` pins what was found in tests/regulation/quotes.yaml, with which
the suite compares the quotations when no copy is at hand.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from gateway.regulation.law import Clause, Law
from gateway.regulation.reading import load_law

ROOT = Path(__file__).resolve().parents[1]
PINNED = ROOT / "tests" / "regulation" / "quotes.yaml"


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def quoted(law: Law, act: str) -> list[Clause]:
    """Every clause of an act that is held, in every edition."""
    of_editions = [clause for one in law.editions if one.act == act for clause in one.clauses.values()]
    return [*of_editions, *law.acts[act].clauses.values()]


def stands_in(clause: Clause, copy: str) -> bool:
    """Whether the copy has these words, in the order that `extraction` gives where it notes one."""
    if not clause.extraction:
        return squeezed(clause.kk) in squeezed(copy)
    as_there = clause.kk
    for here, there in clause.extraction:
        # only the order differs: nothing is put in, nothing is left out
        if sorted(letters(here)) != sorted(letters(there)):
            return False
        as_there = as_there.replace(here, there)
    return letters(as_there) in letters(copy)


def missing(clauses: Iterable[Clause], copy: str) -> list[str]:
    return [str(clause.citation) for clause in clauses if not stands_in(clause, copy)]


def digest(clauses: Iterable[Clause]) -> str:
    told = "\n".join(f"{clause.citation}\t{squeezed(clause.kk)}" for clause in clauses)
    return hashlib.sha256(told.encode()).hexdigest()


def main() -> int:
    options = argparse.ArgumentParser(description="Compare the quotations of an act with a copy of it.")
    options.add_argument("act")
    options.add_argument("file", type=Path)
    options.add_argument("--write", action="store_true", help="pin the digest in tests/regulation/quotes.yaml")
    given = options.parse_args()
    clauses = quoted(load_law(ROOT / "config" / "regulation"), given.act)
    absent = missing(clauses, given.file.read_text(encoding="utf-8"))
    for citation in absent:
        print(f"not found: {citation}")
    print(f"{len(clauses) - len(absent)} of {len(clauses)} quotations of act {given.act} stand in the copy")
    if absent:
        return 1
    if given.write:
        pins = yaml.safe_load(PINNED.read_text(encoding="utf-8")) if PINNED.exists() else {}
        pins[given.act] = {"clauses": len(clauses), "sha256": digest(clauses)}
        PINNED.write_text(yaml.safe_dump(pins), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
