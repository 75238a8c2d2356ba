import datetime as dt
import json
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from gateway import resources
from gateway.errors import ConfigurationError, MappingError, OperatorError, SystemFolderError
from gateway.model import Consent, Iin, Query
from gateway.systems import Contract, SystemDefinition, find_system, find_systems, load_system

SHIPPED = resources.mappers_path()
SOMEONE = Iin("900517300405")
QUERY = Query(SOMEONE, "m-1", dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC), requester="TESTER")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder of one's own, outside the package."""
    return shutil.copytree(SHIPPED / "cbdi", tmp_path / "own" / "cbdi")


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def remove(file: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


TOML = "system.toml"
BROKEN_FOLDERS = {
    "no system.toml": (remove(TOML), r"cbdi is not whole: system\.toml is missing"),
    "no mapper": (remove("mapper.py"), r"cbdi is not whole: mapper\.py is missing"),
    "no simulator": (remove("simulate.py"), r"cbdi is not whole: simulate\.py is missing"),
    "no contract": (remove("contract/request.xsd"), r"cbdi is not whole: contract/request\.xsd is missing"),
    "no samples": (remove("samples"), r"cbdi is not whole: samples/<case>/query\.toml is missing"),
    "half a sample": (remove("samples/none/facts.json"), r"samples/none/facts\.json is missing"),
    "not TOML": (replace(TOML, 'slug = "cbdi"', "slug = cbdi"), r"cbdi/system\.toml is not TOML"),
    "unknown key": (replace(TOML, "idempotent", "idempotence"), r"cbdi/system\.toml, key idempotent: is missing"),
    "one key too many": (replace(TOML, 'slug = "', 'colour = "red"\nslug = "'), r"key colour: is not a key"),
    "unknown key in a table": (
        replace(TOML, "[timeouts]", "[timeouts]\nread_s = 3"),
        r"key timeouts\.read_s: is not a key",
    ),
    "unknown key in a list": (replace(TOML, "[[fact]]", "[[fact]]\nkimd = 1"), r"key fact\[0\]\.kimd: is not a key"),
    "another slug": (replace(TOML, 'slug = "cbdi"', 'slug = "other"'), r"key slug: is the name of the folder, 'cbdi'"),
    "wrong type": (replace(TOML, "reply_s = 60", 'reply_s = "60"'), r"key timeouts\.reply_s: write a number"),
    "true is no number": (replace(TOML, "reply_s = 60", "reply_s = true"), r"key timeouts\.reply_s: write a number"),
    "no time at all": (replace(TOML, "reply_s = 60", "reply_s = 0"), r"key timeouts\.reply_s: is at least 0\.1"),
    "never asked again": (replace(TOML, "refresh_days = 30", "refresh_days = 0"), r"refresh_days: is at least 1"),
    "no such status": (replace(TOML, '"draft"', '"final"'), r"key status: is one of documented, draft"),
    "no such owner of ids": (replace(TOML, '"ours"', '"theirs"'), r"key message_id: is one of ours, gateway"),
    "not a name": (replace(TOML, '}Request"', '} Request"'), r"key root_request: is a qualified name"),
    "a contract elsewhere": (
        replace(TOML, '"response.xsd"', '"../../response.xsd"'),
        r"key response_contract: is the name of a file in contract/",
    ),
    "a list of numbers": (
        replace(TOML, 'slug = "', 'success_codes = [1]\nslug = "'),
        r"key success_codes: write a list of texts",
    ),
    "no service": (replace(TOML, "[[service]]", "[service]"), r"key service: write"),
    "two services of one sort": (
        replace(TOML, "[timeouts]", '[[service]]\nid = "B"\nrequest_contract = "request.xsd"\n[timeouts]'),
        r"key service\[1\]\.consent: there is one service",
    ),
    "coverage of nothing": (
        replace(TOML, "[evidence]", "[coverage]\nbirth = 2007-08-13\n[evidence]"),
        r"key coverage\.birth: is not a kind of any \[\[fact\]\]",
    ),
    "coverage with a time": (
        replace(TOML, "[evidence]", "[coverage]\ndisability = 2007-08-13T00:00:00\n[evidence]"),
        r"key coverage\.disability: write a date without a time",
    ),
    "code that cannot be read": (replace("mapper.py", "import re", "import re ("), r"cbdi/mapper\.py cannot be loaded"),
    "code that fails": (
        replace("simulate.py", "import uuid", "import no_such_module"),
        r"cbdi/simulate\.py cannot be loaded: ModuleNotFoundError",
    ),
    "code without its function": (
        replace("mapper.py", "def read_response", "def read_answer"),
        r"cbdi/mapper\.py has no function read_response",
    ),
}


@pytest.mark.parametrize(("breaking", "told"), BROKEN_FOLDERS.values(), ids=list(BROKEN_FOLDERS))
def test_a_folder_that_is_not_whole_is_refused_with_its_place(
    folder: Path, breaking: Callable[[Path], None], told: str
) -> None:
    breaking(folder)
    with pytest.raises(SystemFolderError, match=told):
        find_systems([folder.parent])


def test_a_folder_is_named_like_a_system(tmp_path: Path) -> None:
    (tmp_path / "My System").mkdir()
    with pytest.raises(SystemFolderError, match="small letters"):
        find_systems([tmp_path])


def test_a_path_that_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemFolderError, match=r"systems\.paths names .*nowhere"):
        find_systems([tmp_path / "nowhere"])


def test_every_shipped_folder_is_whole_and_says_what_it_is() -> None:
    systems = find_systems([SHIPPED])
    assert list(systems) == ["cbdi", "eguardianship", "gbdfl", "zags"]
    assert {slug: system.status.value for slug, system in systems.items()} == {
        "cbdi": "draft",
        "eguardianship": "draft",
        "gbdfl": "documented",
        "zags": "draft",
    }


def test_a_folder_of_ones_own_replaces_the_shipped_one(folder: Path) -> None:
    replace(TOML, "CBDI_DISABILITY_DRAFT", "MCDB_SERVICE")(folder)
    systems = find_systems([SHIPPED, folder.parent])
    assert systems["cbdi"].service_ids == ("MCDB_SERVICE",)
    assert systems["cbdi"].folder == folder.resolve()
    assert len(systems) == 4


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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('slug = "zhbdi"', 'slug = "zhbdi"\naliases = ["ahat_is"]'),
        ("CBDI_DISABILITY_DRAFT", "ZAGS_CIVIL_RECORDS_DRAFT"),
    ],
    ids=["alias", "service id"],
)
def test_two_systems_cannot_share_a_name(tmp_path: Path, old: str, new: str) -> None:
    own = shutil.copytree(SHIPPED / "cbdi", tmp_path / "zhbdi")
    replace(TOML, 'slug = "cbdi"', 'slug = "zhbdi"')(own)
    replace(TOML, old, new)(own)
    if old != "CBDI_DISABILITY_DRAFT":
        replace(TOML, "CBDI_DISABILITY_DRAFT", "OTHER")(own)
    with pytest.raises(SystemFolderError, match="already taken by the system zags"):
        find_systems([SHIPPED, tmp_path])


def test_a_system_is_found_by_slug_and_by_the_name_the_rules_use() -> None:
    systems = find_systems([SHIPPED])
    assert find_system(systems, "zags") is find_system(systems, "ahat_is")
    with pytest.raises(OperatorError, match=r"no system 'nobody'; known: cbdi, eguardianship, gbdfl, zags") as refused:
        find_system(systems, "nobody")
    assert refused.value.code == "unknown_system"


@pytest.fixture(scope="module")
def zags() -> SystemDefinition:
    return load_system(SHIPPED / "zags")


def test_a_fact_of_the_catalogue_leads_to_the_kinds_that_answer_it(zags: SystemDefinition) -> None:
    assert zags.kinds_for("birth_record") == ("birth",)
    assert zags.kinds_for("civil_status_data") == ("birth", "child_birth", "marriage", "death")
    assert zags.kinds_for("marriage") == ("marriage",)
    assert zags.kinds_for("disability") == ()


@pytest.mark.parametrize(
    ("kind", "earliest", "evidence"),
    [
        ("birth", dt.date(2007, 8, 13), False),
        ("birth", dt.date(2007, 8, 14), True),
        ("marriage", dt.date(2008, 6, 1), False),
        ("marriage", dt.date(2008, 6, 2), True),
        ("death", dt.date(2008, 5, 1), False),
        ("death", dt.date(2008, 5, 2), True),
    ],
)
def test_silence_is_evidence_only_after_the_register_began(
    zags: SystemDefinition, kind: str, earliest: dt.date, evidence: bool
) -> None:
    assert zags.silence_is_evidence(kind, earliest) is evidence


def test_a_register_without_a_known_beginning_is_taken_as_complete() -> None:
    assert load_system(SHIPPED / "cbdi").silence_is_evidence("disability", dt.date(1950, 1, 1))


def test_every_catalogue_fact_of_a_shipped_system_is_given_by_a_kind() -> None:
    catalogue = Path(__file__).parents[2] / "shared" / "domain" / "catalogue.yaml"
    if not catalogue.is_file():
        pytest.skip("the catalogue is not beside this checkout (../shared/domain/catalogue.yaml)")
    lines = catalogue.read_text(encoding="utf-8").split("\nservices:\n")[0]
    yaml = pytest.importorskip("yaml")
    asked = {system["id"]: system["facts"] for system in yaml.safe_load(lines)["systems"]}
    for slug, system in find_systems([SHIPPED]).items():
        assert [fact for fact in asked[slug] if not system.kinds_for(fact)] == [], slug


def test_a_consent_for_a_system_that_takes_none_is_a_mistake_of_ours(zags: SystemDefinition) -> None:
    with pytest.raises(ConfigurationError, match="zags has no service with a consent token"):
        zags.service_for(Query(SOMEONE, "m", QUERY.created_at, consent=Consent("t", "k")))


def test_the_contract_of_a_service_that_is_not_ours_is_a_key_error(zags: SystemDefinition) -> None:
    with pytest.raises(KeyError):
        zags.contract("request", "NOBODYS_SERVICE")


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


def test_the_reference_page_knows_every_kind_attribute_and_key() -> None:
    page = (SHIPPED.parent / "docs" / "reference" / "systems.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[A-Za-z_]+", page))
    for system in find_systems([SHIPPED]).values():
        assert {*system.fact_kinds, *system.service_ids, system.slug, *system.aliases} <= words
        keys = re.findall(r"^(\w+) = ", (system.folder / "system.toml").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(keys) - set(system.fact_kinds) <= words
        for sample in (system.folder / "samples").glob("*/facts.json"):
            for fact in json.loads(sample.read_text(encoding="utf-8"))["facts"]:
                names = {re.sub("_(code|kk|ru)$", "", name) for name in fact["attributes"]}
                assert names - words - {"ar"} == set(), fact["kind"]
