"""An invented country: people in the order of their numbers, the list of their categories, and what a night changes."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from gateway.registry.days import add_months
from gateway.registry.imports.feeds import RecordKind
from gateway.registry.imports.lines import LAYOUTS

HEADER: Final = LAYOUTS[RecordKind.CATEGORIES].header
SERVER: Final = os.environ.get("GATEWAY_BENCH_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432")
_WEIGHTS: Final = ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2))
_DAYS: Final = 100 * 12 * 28
#: category of a person by century digit and a number
_CATEGORIES: Final = {
    "3": ("pension_recipient", "person_with_disability", "penitentiary_inmate"),
    "4": ("pension_recipient", "mother_many_children", "person_with_disability"),
    "5": ("children", "fulltime_student", "children"),
    "6": ("children", "fulltime_student", "pregnant_unemployed"),
}
#: of what a night changes: removals, new records, lines that are no longer there
_REMOVED, _NEW = 0.6, 0.3


def numbers(people: int) -> Iterator[str]:
    """Valid, invented numbers in their order, spread evenly over a hundred years."""
    each, more = divmod(people, _DAYS)
    day = 0
    for year in range(100):
        for month in range(1, 13):
            for day_of_month in range(1, 29):
                wanted = each + (day * more // _DAYS != (day + 1) * more // _DAYS)
                day += 1
                yield from _of_a_day(f"{year:02}{month:02}{day_of_month:02}", wanted)


def _of_a_day(date: str, wanted: int) -> Iterator[str]:
    for century in "3456":
        count = wanted // 4 + ("3456".index(century) < wanted % 4)
        prefix = date + century
        sums = [
            sum(int(digit) * weight for digit, weight in zip(prefix, weights, strict=False)) for weights in _WEIGHTS
        ]
        serial = 0
        while count:
            text = f"{serial:04}"
            serial += 1
            for start, weights in zip(sums, _WEIGHTS, strict=True):
                control = (
                    start + sum(int(digit) * weight for digit, weight in zip(text, weights[7:], strict=True))
                ) % 11
                if control < 10:
                    count -= 1
                    yield f"{prefix}{text}{control}"
                    break


def first_list(path: Path, people: int, nights: dict[dt.date, float]) -> None:
    """The list before any night. For each night as many people leave retention on it as leave their category."""
    lines = []
    with path.open("wb") as file:
        file.write(HEADER)
        for place, iin in enumerate(numbers(people)):
            lines.append(_line(iin, place, _removal_before(place, nights)))
            if len(lines) == 10_000:
                file.write("".join(lines).encode())
                lines.clear()
        file.write("".join(lines).encode())


def _line(iin: str, place: int, removal: str) -> str:
    category = _CATEGORIES[iin[6]][place % 3]
    return f"{iin},{category},20{10 + place % 15}-0{1 + place % 9}-1{place % 10},enbek_is,{removal}\n"


def _removal_before(place: int, nights: dict[dt.date, float]) -> str:
    position = _shuffled(place)
    edge = 0.5
    for night, share in nights.items():
        if edge <= position < edge + share * _REMOVED:
            # the last day of its three months is the day before the night
            left = night - dt.timedelta(days=1)
            removed = add_months(left, -3)
            return f"{removed.isoformat()},enbek_is,left"
        edge += share * _REMOVED
    return ",,"


def _shuffled(place: int) -> float:
    return (place * 2_654_435_761 % 4_294_967_296) / 4_294_967_296


def next_list(before: Path, path: Path, share: float, night: dt.date, salt: int) -> int:
    """The list of a night: `share` of the lines differ. Returns how many do."""
    changed = 0
    day = (night - dt.timedelta(days=1)).isoformat()
    lines: list[bytes] = []
    with before.open("rb") as old, path.open("wb") as new:
        new.write(old.readline())
        for place, line in enumerate(old):
            position = (_shuffled(place + 1) + salt * 0.137) % 1
            if position >= share:
                lines.append(line)
            else:
                changed += 1
                if position < share * _REMOVED:
                    fields = line.split(b",")
                    lines.append(b",".join(fields[:4]) + f",{day},enbek_is,left\n".encode())
                elif position < share * (_REMOVED + _NEW):
                    fields = line.split(b",")
                    added = b"%b,targeted_assistance_unemployed,%b,enbek_is,,,\n" % (fields[0], day.encode())
                    # the list stays in the order of its bytes
                    lines += sorted((line, added))
            if len(lines) >= 10_000:
                new.writelines(lines)
                lines.clear()
        new.writelines(lines)
    return changed


# ---------------------------------------------------------------- what is measured


@contextmanager
def database() -> Iterator[str]:
    """A PostgreSQL database of our own, dropped afterwards."""
    name = f"gateway_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(f"{SERVER}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')  # type: ignore[arg-type]
        try:
            yield f"{SERVER}/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


def postgresql_cpu_s() -> float:
    """CPU of every process called postgres on this machine, those that ended too. 0 where it cannot be read."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        if "(postgres" in name:
            fields = rest.split()
            own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
            # the one that started the others counts those that ended
            ticks += own + ended
    return ticks / os.sysconf("SC_CLK_TCK")


class Peak:
    """The most memory that this process and its children hold at once: MB of resident pages."""

    def __init__(self) -> None:
        self.mb = 0.0
        self._stop = threading.Event()

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
        while not self._stop.wait(0.2):
            total = 0.0
            for pid in _family(os.getpid()):
                try:
                    total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page_mb
                except (OSError, IndexError):
                    continue
            self.mb = max(self.mb, total)


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def cpu_s() -> float:
    """CPU of this process and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def machine() -> str:
    model = subprocess.run(
        ["sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"{os.cpu_count()} × {model or 'unknown processor'}"


class Phases:
    """Seconds of each phase, by the clock."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
