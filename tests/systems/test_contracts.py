"""The XSDs of a folder: what they let through, and that they reach nowhere."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pytest
from lxml import etree

from gateway.errors import MappingError, SystemFolderError
from gateway.model import Iin, Query
from gateway.systems.contracts import Contract
from gateway.systems.definition import SystemDefinition
from tests.systems.folders import SHIPPED

SOMEONE = Iin("900517300405")
QUERY = Query(SOMEONE, "m-1", dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC), requester="TESTER")


def test_a_request_that_does_not_fit_is_told_by_place_and_rule_and_not_by_value(zags: SystemDefinition) -> None:
    request = zags.mapper.build_request(QUERY)
    request.find("iin").text = SOMEONE.value + "0"
    with pytest.raises(MappingError, match=r"request\.xsd at /Request/iin \(SCHEMAV_CVC_PATTERN_VALID\)") as refused:
        zags.contract("request").validate(request)
    assert SOMEONE.value not in str(refused.value)
    assert refused.value.code == "contract"


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("<xs:import namespace='urn:x' schemaLocation='http://example.org/x.xsd'/>", "not a file of the same folder"),
        ("<xs:include schemaLocation='../mapper.xsd'/>", "not a file of the same folder"),
        ("<xs:include schemaLocation='/etc/x.xsd'/>", "not a file of the same folder"),
        ("<xs:import namespace='urn:x'/>", "not a file of the same folder"),
        ("<xs:include schemaLocation='gone.xsd'/>", r"contract/gone\.xsd is missing"),
        ("<xs:element name='a' type='b'/>", "is not a usable XSD"),
        ("<xs:element", "is not XML"),
    ],
)
def test_a_schema_that_reaches_out_or_is_broken_is_refused(folder: Path, schema: str, told: str) -> None:
    file = folder / "contract" / "broken.xsd"
    file.write_text(f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>{schema}</xs:schema>")
    with pytest.raises(SystemFolderError, match=told):
        Contract("cbdi", "request", file).compile()


def test_schemas_that_include_each_other_are_read_once(folder: Path) -> None:
    for here, there in (("one", "two"), ("two", "one")):
        (folder / "contract" / f"{here}.xsd").write_text(
            "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
            f"<xs:include schemaLocation='{there}.xsd'/><xs:element name='{here}'/></xs:schema>"
        )
    contract = Contract("cbdi", "request", folder / "contract" / "one.xsd")
    contract.compile()
    contract.validate(etree.Element("two"))


def test_one_contract_serves_many_threads(zags: SystemDefinition) -> None:
    good, bad = zags.mapper.build_request(QUERY), etree.Element("x")
    contract, wrong = Contract("zags", "request", SHIPPED / "zags/contract/request.xsd"), []

    def work() -> None:
        for _ in range(50):
            contract.validate(good)
            try:
                contract.validate(bad)
                wrong.append("accepted")
            except MappingError as refused:
                wrong.extend([refused.message] * ("at /x " not in refused.message))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
