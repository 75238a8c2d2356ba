"""`make crash`: kills the daemon at every numbered step, breaks what it stands on, and prints what became of it all.

`python -m tests.crash --case out.sync:9:after:sqlite` runs one case alone. Ends with 1 when anything was lost, applied
twice, sent with different bytes or left in a state that nobody can read, and when a daemon did not die where it had to.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway import logs
from gateway.trust import throwaway_pki
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cluster import Cluster
from tests.crash.disasters import DISASTERS, NotRun, run_disaster
from tests.crash.flows import FLOWS
from tests.crash.judge import Judgement, Wrong
from tests.crash.lane import Lane, Stores
from tests.crash.matrix import STORES, Case, Outcome, case_of, cases, check_steps, passed_steps, run_case

#: what a quick run kills after
QUICK_STEPS = (8, 9, 10, 13)
_HEAD = ("cases", "killed", "answered", "operator", *(wrong.value for wrong in Wrong))


def main() -> int:
    options = _options()
    logs.configure("error")
    # what is open is closed then, as after Ctrl-C: databases, daemons, folders
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # others than root run PostgreSQL in there
    with tempfile.TemporaryDirectory(prefix="gateway-crash-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        return _run(options, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--store", choices=STORES, action="append", help="only this store")
    parser.add_argument("--flow", choices=FLOWS, action="append", help="only this flow; no disasters")
    parser.add_argument("--quick", action="store_true", help="only after steps 8, 9, 10 and 13; no disasters")
    parser.add_argument("--case", type=case_of, action="append", help="only this case, as a violation names it")
    parser.add_argument("--disaster", choices=DISASTERS, action="append", help="only this disaster")
    parser.add_argument("--lanes", type=int, default=2, help="cases side by side")
    return parser.parse_args()


def _run(options: argparse.Namespace, folder: Path) -> int:
    started_s = time.monotonic()
    pki = throwaway_pki.init(folder / "pki", now=dt.datetime.now(dt.UTC))
    stores = tuple(options.store or STORES)
    disasters = options.disaster or ([] if options.flow or options.case or options.quick else list(DISASTERS))
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(folder / "cluster"))
        made = Stores(folder, cluster)
        wanted = list(options.case or ()) or ([] if options.disaster else list(_cases(options, stores)))
        outcomes = _matrix(wanted, folder, pki, made, options.lanes) if wanted else []
        bad = _table(wanted, outcomes)
        made.close()
        if not wanted or not options.case:
            bad = _disasters(disasters, stores, folder, pki) or bad
    print(f"{time.monotonic() - started_s:.0f} s")
    return int(bad)


def _cases(options: argparse.Namespace, stores: Sequence[str]) -> Iterator[Case]:
    for name in options.flow or FLOWS:
        for store in stores:
            yield from cases(FLOWS[name], store, steps=QUICK_STEPS if options.quick else ())


def _matrix(wanted: Sequence[Case], folder: Path, pki: ThrowawayPki, stores: Stores, count: int) -> list[Outcome]:
    """Every case, `count` at a time; first each flow without a crash, whose steps must be those that are written."""
    work: queue.SimpleQueue[Case | str] = queue.SimpleQueue()
    for name in dict.fromkeys(case.flow.name for case in wanted):
        work.put(name)
    for case in wanted:
        work.put(case)
    outcomes: list[Outcome] = []

    def run(number: int) -> None:
        with Lane(folder / f"lane-{number}", pki, stores) as lane:
            while True:
                try:
                    one = work.get_nowait()
                except queue.Empty:
                    return
                outcomes.append(_one(lane, one))
                if sys.stderr.isatty():
                    print(f"\r{len(outcomes)} of {len(wanted)}", end="", file=sys.stderr, flush=True)

    lanes = [threading.Thread(target=run, args=(number,)) for number in range(min(count, len(wanted)))]
    for lane in lanes:
        lane.start()
    try:
        for lane in lanes:
            lane.join()
    finally:  # told to end: what is in hand is finished, the rest is not begun
        with contextlib.suppress(queue.Empty):
            while True:
                work.get_nowait()
        for lane in lanes:
            lane.join()
    return outcomes


def _one(lane: Lane, one: Case | str) -> Outcome:
    name = one if isinstance(one, str) else one.name
    try:
        if isinstance(one, Case):
            return run_case(lane, one)
        why = check_steps(FLOWS[one], passed_steps(lane, FLOWS[one], "sqlite"))
    except Exception as error:  # the others still run, and this one is a violation
        why = f"{type(error).__name__}: {error}"
    return Outcome(name, True, Judgement(False, ((Wrong.UNREADABLE, why),) if why else ()))


# ---------------------------------------------------------------- what is printed


def _table(wanted: Sequence[Case], outcomes: Sequence[Outcome]) -> bool:
    """Flow by flow and store by store; whether anything is wrong."""
    if not wanted:
        return False
    names = {case.name: (case.flow.name, case.store) for case in wanted}
    print(f"{'flow':22} {'store':11}" + "".join(f"{text:>16}" for text in _HEAD))
    total: list[Outcome] = []
    for flow, store in dict.fromkeys(names.values()):
        these = [one for one in outcomes if names.get(one.name) == (flow, store)]
        total += these
        print(f"{flow:22} {store:11}" + _counts(these))
    print(f"{'all':34}" + _counts(total))
    return _violations(outcomes)


def _counts(outcomes: Sequence[Outcome]) -> str:
    waits = sum(one.judgement.waits for one in outcomes)
    numbers = [len(outcomes), sum(one.happened for one in outcomes), len(outcomes) - waits, waits]
    numbers += [sum(kind is wrong for one in outcomes for kind, _ in one.judgement.found) for wrong in Wrong]
    return "".join(f"{number:16}" for number in numbers)


def _violations(outcomes: Sequence[Outcome]) -> bool:
    bad = [one for one in outcomes if not (one.happened and one.judgement.is_clean)]
    for one in bad:
        print(f"\n{one.name}" + ("" if one.happened else ": the daemon did not die, or did not meet it"))
        for kind, text in one.judgement.found:
            print(f"  {kind}: {text}")
        if one.said:
            print("    " + one.said.replace("\n", "\n    "))
    if bad:
        print("\nOne alone: python -m tests.crash --case 'NAME', or --disaster NAME")
    return bool(bad)


def _disasters(names: Sequence[str], stores: Sequence[str], folder: Path, pki: ThrowawayPki) -> bool:
    if not names:
        return False
    print(f"\n{'disaster':46} {'store':11}{'ended':>10}" + "".join(f"{wrong.value:>16}" for wrong in Wrong))
    outcomes = []
    with Lane(folder / "disasters", pki, Stores(folder, None)) as lane:
        for name in names:
            for store in stores:
                if store not in DISASTERS[name].stores:
                    continue
                try:
                    one = run_disaster(lane, name, store)
                except NotRun as error:
                    print(f"{name:46} {store:11}   not run: {error}")
                    continue
                except Exception as error:  # the others still run, and this one is a violation
                    why = f"{type(error).__name__}: {error}"
                    one = Outcome(name, True, Judgement(False, ((Wrong.UNREADABLE, why),)))
                outcomes.append(one)
                ended = "operator" if one.judgement.waits else "answered"
                counts = [sum(kind is wrong for kind, _ in one.judgement.found) for wrong in Wrong]
                print(f"{name:46} {store:11}{ended:>10}" + "".join(f"{number:16}" for number in counts), flush=True)
    return _violations(outcomes)


if __name__ == "__main__":
    sys.exit(main())
