"""Lines into the order of their bytes, however many: buckets by the first four digits, each sorted by itself."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gateway.errors import MalformedMessage

#: of one bucket; the births of one month in a country of twenty million are a hundredth of it
_MAX_BUCKET_BYTES: Final = 64 << 20
#: an IIN begins with the year and the month of birth
_PREFIX_BYTES: Final = 4


def sort_lines(batches: Iterable[list[bytes]], header: bytes, folder: Path, target: Path) -> Iterator[bytes]:
    """Write the header and all lines, sorted, to `target`; yields those that do not begin with four digits.

    Those are no records: they are not written. Raises MalformedMessage when too many lines begin alike.
    """
    folder.mkdir()
    buckets: dict[bytes, int] = {}
    for batch in batches:
        batch.sort()
        at = 0
        while at < len(batch):
            prefix = batch[at][:_PREFIX_BYTES]
            end = bisect_left(batch, prefix + b"\xff", at + 1)
            if len(prefix) == _PREFIX_BYTES and prefix.isdigit():
                _append(folder, prefix, batch[at:end], buckets)
            else:
                yield from batch[at:end]
            at = end
    with target.open("wb") as out:
        out.write(header)
        for prefix in sorted(buckets):
            file = folder / prefix.decode()
            lines = file.read_bytes().split(b"\n")
            lines.pop()
            lines.sort()
            out.write(b"\n".join(lines) + b"\n")
            file.unlink()
    folder.rmdir()


def _append(folder: Path, prefix: bytes, lines: list[bytes], buckets: dict[bytes, int]) -> None:
    data = b"\n".join(lines) + b"\n"
    buckets[prefix] = buckets.get(prefix, 0) + len(data)
    if buckets[prefix] > _MAX_BUCKET_BYTES:
        raise MalformedMessage(
            "too many records begin with the same four digits: this is not a list of people", code="not_spread"
        )
    with (folder / prefix.decode()).open("ab") as file:
        file.write(data)
