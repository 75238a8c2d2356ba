"""What a folder must hold, and what is said when it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import SystemFolderError
from gateway.systems.finding import find_systems
from tests.systems.folders import SHIPPED, TOML, remove, replace

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
