"""Extensions: what those that are used say, and which are not understood."""

from __future__ import annotations

import pytest
from cryptography import x509

from gateway.errors import MalformedMessage
from tests.trust.minting import authority, critical, mint, parsed, resigned

ROOT = authority("root")


@pytest.mark.parametrize(
    ("oids", "roles"),
    [
        ((), ()),
        (("1.3.6.1.5.5.7.3.2",), ()),
        (("1.2.398.3.3.4.1.1",), ("person",)),
        (("1.2.398.3.3.4.1.2", "1.2.398.3.3.4.1.2.1"), ("legal_entity", "head")),
        (("1.2.398.3.3.4.1.2", "1.2.398.3.3.4.1.2.6"), ("legal_entity", "information_system")),
        (("1.2.398.3.3.4.1.2.6", "1.2.398.3.3.4.1.2.6.1"), ("information_system",)),
        (("1.2.398.3.3.4.1.2.60",), ()),
        (("1.2.398.5.19.1.2.2.1",), ("treasury_client",)),
    ],
)
def test_roles_are_named(oids: tuple[str, ...], roles: tuple[str, ...]) -> None:
    assert mint("x", extended=oids).parsed.roles == roles


def test_an_authority_key_identifier_without_key_identifier_is_read() -> None:
    by_serial = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(ROOT.name)], 5)
    assert mint("x", ROOT, aki=None, extensions=[(by_serial, False)]).parsed.aki is None


def test_unknown_critical_extensions_are_listed() -> None:
    found = mint("x", extensions=[critical("1.2.398.999.1"), (critical("1.2.398.999.2")[0], False)]).parsed
    assert found.unknown_critical_extensions == ("1.2.398.999.1",)


def test_an_extension_that_occurs_twice_is_refused() -> None:
    def change(certificate: object) -> None:
        extensions = certificate["tbs_certificate"]["extensions"]  # type: ignore[index]
        extensions.append(extensions[0].copy())

    signer = mint("x", ROOT)
    with pytest.raises(MalformedMessage):
        parsed(resigned(signer.der, ROOT.key, change))
