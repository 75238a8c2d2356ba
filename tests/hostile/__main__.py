"""`python -m tests.hostile`: every forgery, judged, as a table. Exit 1 when a false value would be read."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from lxml import etree

from gateway.trust import throwaway_pki
from gateway.xml import canonicalize
from tests.exchange.world import NOW, Keys, trust
from tests.hostile.corpus import CLASSES, genuine_messages, judged
from tests.hostile.judges import signature_holds
from tests.hostile.wrapping import SOAP


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--without-judges", action="store_true", help="do not ask other implementations: much quicker")
    chosen = parser.parse_args()
    made: Counter[str] = Counter()
    verdicts: dict[str, Counter[str]] = {name: Counter() for name in CLASSES}
    holds: Counter[str] = Counter()
    per_message: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        keys = Keys(throwaway_pki.init(Path(folder) / "pki", now=NOW))
        policy = trust(keys.pki)
        accepted = 0
        for genuine in genuine_messages(keys):
            body = canonicalize(etree.fromstring(genuine.data).find(f"{{{SOAP}}}Body"))
            accepted += judged(genuine.data, body, policy) == "genuine"
            for name, forge in CLASSES.items():
                for forgery in forge(genuine):
                    made[name] += 1
                    per_message[f"{genuine.kind}, {genuine.form}"] += 1
                    verdict = judged(forgery.data, body, policy)
                    verdicts[name][verdict] += 1
                    if verdict == "FALSE":
                        print(f"A FALSE VALUE WOULD BE READ: {genuine.kind}, {genuine.form}: {name}: {forgery.name}")
                    if not chosen.without_judges:
                        holds[name] += signature_holds(forgery.data, genuine.signer) > 0
    print("forgeries of each message: " + "; ".join(f"{name}: {count:,}" for name, count in per_message.items()))
    print(f"genuine messages accepted: {accepted} of {len(per_message)}\n")
    heading = ("forgeries", 10), ("its signature holds", 21), ("refused", 9), ("genuine read", 14), ("FALSE READ", 12)
    print(f"{'class':<42}" + "".join(f"{text:>{width}}" for text, width in heading))
    for name in CLASSES:
        row = verdicts[name]
        held = "not asked" if chosen.without_judges else f"{holds[name]:,}"
        print(f"{name:<42}{made[name]:>10,}{held:>21}{row['refused']:>9,}{row['genuine']:>14,}{row['FALSE']:>12,}")
    whole = sum(verdicts.values(), Counter())
    held = "not asked" if chosen.without_judges else f"{holds.total():,}"
    print(f"{'all':<42}{made.total():>10,}{held:>21}{whole['refused']:>9,}{whole['genuine']:>14,}{whole['FALSE']:>12,}")
    return int(whole["FALSE"] > 0 or accepted < len(per_message))


if __name__ == "__main__":
    sys.exit(main())
