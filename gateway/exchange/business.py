"""Business signatures in the exchange: signed where a service wants it, checked and read where an answer has it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from lxml import etree

from gateway.errors import RevocationUnknown, TrustRefused
from gateway.exchange.verification import TrustPolicy, VerifiedMessage
from gateway.shep.payload import PayloadCodec, decode, inner_document, named
from gateway.signing import business
from gateway.signing.certificate import Certificate
from gateway.signing.keys import SigningKey
from gateway.systems.definition import PayloadSignature, SystemDefinition
from gateway.trust.validate import validate
from gateway.xml import XmlBounds

#: codecs whose payload has no element of its own on the wire, so that `data` is what is signed
_SIGNED_AS_DATA: Final = frozenset({PayloadCodec.CHILDREN, PayloadCodec.TYPED_CHILDREN})


def signed_payload(
    payload: etree._Element, codec: PayloadCodec, key: SigningKey
) -> tuple[etree._Element, Callable[[bytes], bytes] | None]:
    """The payload to send, and what signs `data` around it where the payload itself cannot carry the signature.

    Both go to build_request or build_response. Raises MalformedMessage.
    """
    if codec in _SIGNED_AS_DATA:
        return payload, lambda data: business.sign_data(data, key)
    return business.sign_payload(payload, key), None


def read_payload(
    data: etree._Element,
    message: VerifiedMessage,
    definition: SystemDefinition,
    *,
    trust: TrustPolicy,
    at: dt.datetime,
    ours: Certificate,
    bounds: XmlBounds,
) -> etree._Element:
    """Step 12: the payload in `data` of a verified answer; with business signatures, what they signed.

    Raises SignatureRefused (`payload_unsigned` where the system requires one, else `payload_…`), TrustRefused,
    RevocationUnknown for its signers, and MalformedMessage.
    """
    codec, root_name = PayloadCodec(definition.codec), definition.root_response
    if definition.response_payload_signature is not PayloadSignature.NONE:
        verified = business.verify_payload(
            data,
            root_name=root_name,
            inner_document=inner_document(data),
            isolate=message.as_received,
            certificates=trust.store,
            bounds=bounds,
        )
        if verified is not None:
            for signature in verified.signatures:
                _check_signer(signature.certificate, trust, definition.slug, at, ours)
            if not verified.is_data:
                return named(verified.element, root_name)
            data = verified.element
        elif definition.response_payload_signature is PayloadSignature.REQUIRED:
            raise business.required_but_absent()
    return decode(data, codec, root_name=root_name, bounds=bounds)


def _check_signer(
    certificate: Certificate, trust: TrustPolicy, system: str, at: dt.datetime, ours: Certificate
) -> None:
    if certificate.spki_der == ours.spki_der:
        raise TrustRefused("own_signature", "the payload of the answer is signed with our own key", step=business.STEP)
    try:
        validate(
            certificate,
            trust.store,
            at=at,
            revocation=trust.mode_for(system),
            evidence=trust.evidence_for(certificate, trust.store.material, at),
        )
    except TrustRefused as error:
        raise TrustRefused(
            error.code, f"business signature of the payload: {error.message}", step=business.STEP
        ) from None
    except RevocationUnknown as error:
        raise RevocationUnknown(f"business signature of the payload: {error.message}", code=error.code) from None
