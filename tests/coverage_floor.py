"""Fails when branch coverage of a room falls under its floor: `python tests/coverage_floor.py .coverage.json`."""

import json
import sys
from pathlib import Path

FLOOR_PERCENT = {
    "gateway/shep/": 95.0,
    "gateway/signing/": 95.0,
    "gateway/trust/": 95.0,
    "gateway/regulation/": 95.0,
    "gateway/registry/": 95.0,
    "gateway/exchange/": 95.0,
    "mappers/": 95.0,
}


def measured(report: dict, room: str) -> float:
    covered = total = 0
    for name, file in report["files"].items():
        if name.startswith(room):
            summary = file["summary"]
            covered += summary["covered_lines"] + summary["covered_branches"]
            total += summary["num_statements"] + summary["num_branches"]
    if not total:
        raise SystemExit(f"{room}: nothing was measured; was the report made from the checkout?")
    return 100 * covered / total


def main(report_file: str) -> int:
    report = json.loads(Path(report_file).read_text(encoding="utf-8"))
    too_low = False
    for room, floor in FLOOR_PERCENT.items():
        percent = measured(report, room)
        verdict = "ok" if percent >= floor else "TOO LOW"
        too_low |= percent < floor
        print(f"branch coverage of {room} {percent:.1f} % (floor {floor:.0f} %) {verdict}")
    return int(too_low)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
