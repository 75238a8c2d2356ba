"""A folder's own code is loaded, each folder's apart from the others'."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.model import Iin, Query
from gateway.systems.reading import load_system
from tests.systems.folders import SHIPPED, replace

SOMEONE = Iin("900517300405")
QUERY = Query(SOMEONE, "m-1", dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC), requester="TESTER")


def test_two_folders_of_one_name_share_no_module(folder: Path) -> None:
    replace("mapper.py", "return request", "request.tail = 'mine'\n    return request")(folder)
    shipped, own = load_system(SHIPPED / "cbdi"), load_system(folder)
    assert own.mapper.build_request(QUERY).tail == "mine"
    assert shipped.mapper.build_request(QUERY).tail is None


def test_a_simulator_may_import_its_mapper(folder: Path) -> None:
    replace("simulate.py", 'NAMESPACE = "urn:shep-gateway:draft:disability:1"', "from .mapper import NAMESPACE")(folder)
    system = load_system(folder)
    answer = system.simulator.answer_request(system.mapper.build_request(QUERY), None, now=QUERY.created_at)
    assert answer.tag == system.root_response


def test_a_changed_folder_is_loaded_anew(folder: Path) -> None:
    load_system(folder)
    replace("mapper.py", "return request", "request.tail = 'a new longer one'\n    return request")(folder)
    assert load_system(folder).mapper.build_request(QUERY).tail == "a new longer one"


def test_threads_that_load_one_folder_at_once_do_not_take_it_from_each_other(folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        systems = list(threads.map(lambda _: load_system(folder), range(64)))
    assert len({id(system.mapper) for system in systems}) == 64
