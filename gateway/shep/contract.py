"""Our WSDL and XSD at work: loaded by zeep offline, compiled into a validator, served at `?wsdl`.

The files of wsdl/shep are small and import each other as the channel's own kits do; what we serve is one document
without imports, so that a foreign client needs one address only.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from lxml import etree

from gateway import resources
from gateway.errors import ConfigurationError, MalformedMessage
from gateway.shep import names
from gateway.xml import local_name, parse, to_bytes

SYNC_CHANNEL: Final = "wsdl/shep/sync_channel.wsdl"
ASYNC_CHANNEL: Final = "wsdl/shep/async_channel.wsdl"
ASYNC_CHANNEL_CLIENT: Final = "wsdl/shep/async_channel_client.wsdl"

_BODY_SCHEMA: Final = "wsdl/shep/soap11.xsd"


# ---------------------------------------------------------------- zeep, offline


@dataclass(frozen=True, slots=True)
class Contract:
    """A WSDL that zeep has read: the names of its service, and messages built from it."""

    service: str
    port: str
    operations: tuple[str, ...]
    _client: Any

    def create_message(self, operation: str, **parameters: object) -> etree._Element:
        """An unsigned envelope as zeep builds it.

        Give no element for `data`: zeep would send its `repr` as text, silently.
        """
        envelope: etree._Element = self._client.create_message(self._client.service, operation, **parameters)
        return envelope


def load_contract(wsdl_path: Path) -> Contract:
    """Load a WSDL and everything it imports from its own folder; nothing is fetched over a network.

    Raises ConfigurationError that names the file when it is not a usable contract.
    """
    import zeep  # noqa: PLC0415  a quarter of a second that only a check of the contract has to pay
    import zeep.exceptions  # noqa: PLC0415

    _silence_zeep()
    folder = wsdl_path.resolve().parent

    class Offline(zeep.Transport):
        def load(self, url: str) -> bytes:
            path = Path(url).resolve()
            if path.parent != folder or not path.is_file():
                raise ConfigurationError(
                    "only files beside the WSDL may be imported", file=str(wsdl_path), key=url.rpartition("/")[2]
                )
            return path.read_bytes()

    settings = zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        transport = Offline()  # type: ignore[no-untyped-call]
        client = zeep.Client(str(wsdl_path.resolve()), transport=transport, settings=settings)  # type: ignore[no-untyped-call]
        service_name, service = next(iter(client.wsdl.services.items()))
        port_name, port = next(iter(service.ports.items()))
    except (zeep.exceptions.Error, etree.LxmlError, OSError, LookupError, StopIteration) as error:
        raise ConfigurationError(f"not a usable contract ({type(error).__name__})", file=str(wsdl_path)) from error
    return Contract(service_name, port_name, tuple(port.binding.all()), client)


def _silence_zeep() -> None:
    """zeep writes whole envelopes, the sender's password in them, to its loggers at DEBUG: never let it."""
    for name in ("zeep", "zeep.transports", "zeep.wsdl", "zeep.xsd"):
        logging.getLogger(name).setLevel(logging.WARNING)


# ---------------------------------------------------------------- the validator


@cache
def envelope_schema() -> Callable[[etree._Element], None]:
    """A check for a Body that we are about to send: `validate(body)`, compiled once.

    It raises MalformedMessage (`contract`) that names the element and the rule, never a value. What stands in `data`
    is not looked at: it is the service's, and its own schema checks it. Not for what we receive: real traffic breaks
    the schema (SHEP.md 1.5).
    """
    schema = etree.XMLSchema(etree.parse(str(resources.path(_BODY_SCHEMA))))

    def validate(body: etree._Element) -> None:
        skeleton = _without_payload(body)
        if not schema.validate(skeleton):
            broken = ", ".join(f"{entry.type_name} at {entry.path}" for entry in cast("Any", schema.error_log))
            raise MalformedMessage(f"what was to be sent does not fit the channel's schema: {broken}", code="contract")

    return validate


def _without_payload(body: etree._Element) -> etree._Element:
    """A copy of a Body with `data` empty: an `xsi:type` of a service is unknown to the channel's schema."""
    skeleton = copy.deepcopy(body)
    for place in ("*/*/*/data", "*/*/messages/messageData/data"):
        for data in skeleton.iterfind(place):
            data.clear()
    return skeleton


# ---------------------------------------------------------------- ?wsdl


def served_wsdl(address: str, contract: str = SYNC_CHANNEL) -> bytes:
    """One self-contained WSDL document whose port says `address`.

    Interface, binding and service share the interface's namespace here, since a document has one; the wire does not
    show the difference. Raises ConfigurationError for an address that XML cannot carry.
    """
    document = copy.deepcopy(_inlined(contract))
    for element in document.iter(f"{{{names.WSDL_SOAP}}}address"):
        try:
            element.set("location", address)
        except ValueError:
            raise ConfigurationError("the public address is not a URL", key="server.public_url") from None
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + to_bytes(document) + b"\n"


@cache
def _inlined(contract: str) -> etree._Element:
    service_path = resources.path(contract)
    service = parse(service_path.read_bytes())
    (link,) = service.iterchildren(f"{{{names.WSDL}}}import")
    interface_path = service_path.parent / str(link.get("location"))
    document = parse(interface_path.read_bytes())

    (types,) = document.iterchildren(f"{{{names.WSDL}}}types")
    roots = [str(element.get("schemaLocation")) for element in types.iter(f"{{{names.XSD}}}import")]
    for shell in list(types):
        types.remove(shell)
    for schema in _schemas(service_path.parent, roots):
        types.append(schema)

    for part in service:
        if local_name(part) in ("binding", "service"):
            document.append(part)
            for element in part.iter(f"{{{names.WSDL}}}binding", f"{{{names.WSDL}}}port"):
                for attribute in ("type", "binding"):
                    if attribute in element.attrib:
                        element.set(attribute, "tns:" + str(element.get(attribute)).rpartition(":")[2])
    return document


def _schemas(folder: Path, file_names: list[str]) -> Iterator[etree._Element]:
    """Each schema once, those it imports before it, without places to import from."""
    done: set[str] = set()

    def walk(file_name: str) -> Iterator[etree._Element]:
        if file_name in done:
            return
        done.add(file_name)
        schema = parse((folder / file_name).read_bytes())
        for element in schema.iterchildren(f"{{{names.XSD}}}import"):
            yield from walk(str(element.attrib.pop("schemaLocation")))
        yield schema

    for file_name in file_names:
        yield from walk(file_name)
