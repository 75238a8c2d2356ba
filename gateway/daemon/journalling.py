"""What the settings say of the journal: the key of its bodies, how long it keeps them, and what verifies it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from gateway import settings
from gateway.errors import ConfigurationError, RevocationUnknown, SignatureRefused, TrustRefused, Undecided
from gateway.exchange.journal import BodySeal, Journal, JournalWriter
from gateway.exchange.journal.bodies import KEY_BYTES
from gateway.exchange.journal.verifying import SignatureCheck, StampCheck
from gateway.exchange.retention import Pruned, RetentionPolicy, prune
from gateway.exchange.stamping import statement_of
from gateway.signing.certificate import Certificate
from gateway.signing.wss import verify_envelope
from gateway.trust.store import TrustStore
from gateway.trust.timestamp import Imprint, TimestampRules, verify_token
from gateway.trust.verdict import RevocationMode
from gateway.xml import XmlBounds


def load_seal(loaded: settings.LoadedSettings) -> BodySeal:
    """The keys of bodies. Raises ConfigurationError naming the file and what a key file holds."""
    section = loaded.settings.journal
    active = None if section.key_file is None else _key(section.key_file, "journal.key_file")
    return BodySeal.of(active, tuple(_key(file, "journal.old_key_files") for file in section.old_key_files))


def _key(file: Path, setting: str) -> bytes:
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(file), key=setting) from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"a key file holds {2 * KEY_BYTES} hexadecimal digits; make one with `openssl rand -hex {KEY_BYTES}`",
            file=str(file),
            key=setting,
        )
    return key


def load_writer(loaded: settings.LoadedSettings) -> JournalWriter:
    return JournalWriter(load_seal(loaded))


def open_journal(loaded: settings.LoadedSettings, engine: Engine) -> Journal:
    return Journal(engine, load_seal(loaded))


def retention_policy(loaded: settings.LoadedSettings, at: dt.datetime) -> RetentionPolicy:
    """What [journal] says at this moment."""
    section = loaded.settings.journal
    return RetentionPolicy.of_days(
        at,
        bodies=section.keep_bodies_days,
        bodies_of=section.keep_bodies_days_of,
        rows=section.keep_rows_days,
        keep_evidence_of_facts=section.keep_evidence_of_facts,
    )


def prune_journal(
    loaded: settings.LoadedSettings, engine: Engine, journal: JournalWriter, *, at: dt.datetime
) -> Pruned:
    """What a schedule calls: take away what the settings no longer keep; nothing where they keep everything."""
    return prune(engine, journal, retention_policy(loaded, at), at=at)


def signature_check(store: TrustStore, own: tuple[Certificate, ...], bounds: XmlBounds) -> SignatureCheck:
    """Whether the stored bytes are still what their signer signed. Whom we trusted then is the verdict's business."""
    known = TrustStore.of((*_certificates(store), *own))

    def check(body: bytes, serial: str) -> None:
        try:
            verified = verify_envelope(body, certificates=known, bounds=bounds)
        except SignatureRefused as error:
            if error.code == "certificate_unknown":
                raise Undecided("the signer's certificate is not at hand: put it into the trust folder") from None
            raise
        if str(verified.certificate.serial) != serial:
            raise SignatureRefused(
                "another_signer", "the message is signed by another than the row says", step="signer"
            )

    return check


def token_check(store: TrustStore, now: Callable[[], dt.datetime]) -> StampCheck:
    """Whether a token is over the chain's end, and its signature holds."""

    def check(last_id: int, row_sha256: bytes, token: bytes) -> None:
        try:
            verify_token(
                token,
                imprint=Imprint.of(statement_of(last_id, row_sha256)),
                material=store.material,
                rules=TimestampRules(RevocationMode.OFF),
                at=now(),
            )
        except TrustRefused as error:
            if error.code in ("imprint_mismatch", "bad_signature"):
                raise
            raise RevocationUnknown(f"the stamping authority is not trusted here: {error.message}") from None

    return check


def _certificates(store: TrustStore) -> tuple[Certificate, ...]:
    material = store.material
    return (*material.anchors, *material.intermediates, *material.peers)
