"""Settings in, an assembled program out; nothing is listening and nothing was sent yet."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from gateway import database, resources, settings
from gateway.daemon.actions import load_actions
from gateway.daemon.asynchronous import fetch_actions, fetched_services, load_participant
from gateway.daemon.jobs import Schedule, load_schedule
from gateway.daemon.journalling import load_writer
from gateway.daemon.outbound import jitter, load_limits, new_holder
from gateway.errors import ConfigurationError
from gateway.exchange.ask import Asker
from gateway.exchange.asynchronous.participant import Participant
from gateway.exchange.http_transport import HttpTransport
from gateway.exchange.inbox import ReplayWindow
from gateway.exchange.journal import JournalWriter
from gateway.exchange.question import AskPolicy
from gateway.exchange.quota import Limits, Quotas
from gateway.exchange.serve import Server, ServicePolicy
from gateway.exchange.stamping import Stamper
from gateway.exchange.verification import ServiceTrust, TrustPolicy
from gateway.exchange.workers import Road
from gateway.fund import consumer, intake, intake_service
from gateway.registry.imports.feeds import feeds_of
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from gateway.rotation import KeyRing, KeySource, Rotation, Watch, of_files, of_folder
from gateway.shep import contract
from gateway.shep.messages import Sender
from gateway.signing import national, tokens
from gateway.signing.certificate import Certificate
from gateway.signing.gost.backend import choose_backend
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey, load_signing_key
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_systems
from gateway.trust.evidence import RevocationEvidence
from gateway.trust.fetching import FetchingRules, HttpxFetcher, RevocationFetching
from gateway.trust.signer_policy import SignerRules
from gateway.trust.store import TrustMaterial, TrustStore
from gateway.trust.timestamp import Imprint, TimeStamp, TimestampRules, request_timestamp, verify_token
from gateway.trust.verdict import RevocationMode, RevocationRules
from gateway.xml import XmlBounds


def now() -> dt.datetime:
    """The clock. Rooms below take the time as an argument, or this function."""
    return dt.datetime.now(dt.UTC)


def new_message_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Gateway:
    """The assembled program. Use it as a context manager."""

    loaded: settings.LoadedSettings
    engine: Engine
    law: Law
    systems: Mapping[str, SystemDefinition]
    #: our current and next key
    keys: KeyRing
    rotation: Rotation
    trust: TrustPolicy
    policy: AskPolicy
    journal: JournalWriter
    stamper: Stamper | None
    schedule: Schedule
    transport: HttpTransport
    asker: Asker
    server: Server
    #: the participant's side of the asynchronous channel
    asynchronous: Participant

    @property
    def key(self) -> SigningKey:
        """The key that signs now."""
        return self.keys()

    @property
    def roads(self) -> Mapping[str, Road]:
        """How rows travel, by channel."""
        return {"sync": self.asker, "async": self.asynchronous.road}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()
        self.engine.dispose()


def assemble(loaded: settings.LoadedSettings, *, key: SigningKey | None = None) -> Gateway:
    """Everything that the settings name, loaded and checked; nothing is listening and nothing was sent yet.

    `key` stands in for the one of the settings: another means of signing (docs/how-to/sign-with-certified-means.md).
    Raises OperatorError: configuration, keys, a system's folder, or a database that is not at this program's revision.
    """
    options = loaded.settings
    keys = load_keys(loaded) if key is None else _keys_given(loaded, key)
    trust = load_trust(loaded)
    systems = load_systems(loaded)
    law = load_regulation(loaded)
    # the contract that we publish has to load before anything is served by it
    contract.load_contract(resources.path(contract.SYNC_CHANNEL))
    engine = open_store(loaded)
    database.check_revision(engine)
    key_info = KeyInfoForm(options.signing.key_info)
    transport = HttpTransport()
    password = settings.secret(
        options.identity.sender_password, options.identity.sender_password_file, key="identity.sender_password_file"
    )
    policy = AskPolicy(
        url=options.shep.sync_url,
        sender=Sender(options.identity.sender_id, password or ""),
        requester=options.identity.requester,
        key_info=key_info,
        connect_timeout_s=options.shep.connect_timeout_s,
        reply_timeout_s=options.shep.reply_timeout_s,
        max_reply_bytes=options.shep.max_reply_bytes,
        bounds=xml_bounds(loaded, options.shep.max_reply_bytes),
        signer_bins=frozenset(options.shep.signer_bins),
    )
    journal = load_writer(loaded)
    server_bounds = xml_bounds(loaded, options.server.max_request_bytes)
    services = {consumer.SERVICE_ID: consumer.ConsumerStatusService(law, bounds=server_bounds)}
    policies = {
        name: ServicePolicy(frozenset(service.senders), frozenset(service.bins), frozenset(service.senders_reusing_ids))
        for name, service in options.services.items()
    }
    asynchronous = load_participant(
        loaded,
        engine=engine,
        transport=transport,
        systems=systems,
        services=services,
        key=keys,
        trust=trust,
        law=law,
        policy=policy,
        policies=policies,
        window=replay_window(loaded),
        quotas=load_quotas(loaded),
        server_bounds=server_bounds,
        journal=journal,
        clock=now,
        new_message_id=new_message_id,
    )
    asker = Asker(
        engine=engine,
        journal=journal,
        transport=transport,
        systems=systems,
        key=keys,
        trust=trust,
        policy=policy,
        law=law,
        clock=now,
        new_message_id=new_message_id,
        asynchronous=asynchronous.road,
        limits=load_limits(loaded),
        holder=new_holder(),
        jitter=jitter,
    )
    server = Server(
        engine=engine,
        journal=journal,
        services={**services, **load_intake(loaded, law, bounds=server_bounds)},
        key=keys,
        trust=trust,
        new_message_id=new_message_id,
        policies=policies,
        key_info=key_info,
        bounds=server_bounds,
        window=replay_window(loaded),
        quotas=load_quotas(loaded),
    )
    rotation, stamper = watch(loaded, keys, trust), load_stamper(loaded, trust)
    fetching = fetch_actions(fetched_services(loaded, systems, services), asynchronous.fetcher)
    schedule = load_schedule(loaded, systems, (*load_actions(loaded, engine, journal, stamper, law), *fetching))
    return Gateway(
        loaded,
        engine,
        law,
        systems,
        keys,
        rotation,
        trust,
        policy,
        journal,
        stamper,
        schedule,
        transport,
        asker,
        server,
        asynchronous,
    )


def load_intake(
    loaded: settings.LoadedSettings, law: Law, *, bounds: XmlBounds
) -> Mapping[str, intake_service.ListIntakeService]:
    """The service that takes lists in, where the configuration says who may send what. Raises ConfigurationError."""
    section = loaded.settings.services.get(intake.SERVICE_ID)
    if section is None or not section.may_send:
        return {}
    known = {*feeds_of(law), intake_service.FAILURES, intake_service.APPLICATIONS}
    for sender, things in section.may_send.items():
        for thing in sorted(set(things) - known):
            raise ConfigurationError(
                f"there is no {thing!r}; there are {', '.join(sorted(known))}",
                file=str(loaded.file),
                key=f"services.{intake.SERVICE_ID}.may_send.{sender}",
            )
    may_send = {sender: frozenset(things) for sender, things in section.may_send.items()}
    return {intake.SERVICE_ID: intake_service.ListIntakeService(law, may_send=may_send, bounds=bounds)}


def open_store(loaded: settings.LoadedSettings) -> Engine:
    """The engine of the configured database. Opens no connection yet."""
    return database.engine_for(settings.database_url(loaded), password=settings.database_password(loaded))


def load_keys(loaded: settings.LoadedSettings) -> KeyRing:
    """Our signing keys, current and next; first the means of national signatures is chosen for the process.

    Raises KeyMaterialError or ConfigurationError.
    """
    section = loaded.settings.signing
    national.use_backend(choose_backend(section.gost_backend, allow_variable_time=section.allow_variable_time))

    def load_current() -> SigningKey:
        password = settings.secret(section.key_password, section.key_password_file, key="signing.key_password_file")
        return load_signing_key(section.key_file, password.encode() if password else None, section.certificate_file)

    def load_next() -> SigningKey:
        if section.next_key_file is None:
            raise ConfigurationError("is not set", file=str(loaded.file), key="signing.next_key_file")
        password = settings.secret(
            section.next_key_password, section.next_key_password_file, key="signing.next_key_password_file"
        )
        return load_signing_key(
            section.next_key_file, password.encode() if password else None, section.next_certificate_file
        )

    following = None
    if section.next_key_file is not None:
        files = _watched(section.next_key_file, section.next_certificate_file)
        following = KeySource("signing.next_key_file", load_next, files)
    files = _watched(section.key_file, section.certificate_file)
    return KeyRing(
        KeySource("signing.key_file", load_current, files),
        following,
        next_from=section.next_from,
        clock=now,
        accept=lambda key: refuse_mixed_key(loaded, key),
    )


def _watched(*paths: Path | None) -> tuple[Path, ...]:
    """The files whose change means another key; a token has none."""
    return tuple(path for path in paths if path is not None and not str(path).startswith(tokens.SCHEME))


def _keys_given(loaded: settings.LoadedSettings, key: SigningKey) -> KeyRing:
    """A key that no file holds: certified means behind the port of docs/how-to/sign-with-certified-means.md."""
    source = KeySource("the key given", lambda: key, ())
    return KeyRing(source, None, next_from=None, clock=now, accept=lambda key: refuse_mixed_key(loaded, key))


def load_trust(loaded: settings.LoadedSettings) -> TrustPolicy:
    """Whom we believe. Raises KeyMaterialError when the folder cannot be read, ConfigurationError for a mix."""
    section = loaded.settings.trust
    store = TrustStore.load(section.folder, RevocationRules(max_ocsp_age_s=section.max_ocsp_age_s))
    refuse_mixed_anchors(loaded, store.material)
    try:
        named = {
            name: _service_trust(signers)
            for name, signers in (*loaded.settings.services.items(), *loaded.settings.registers.items())
        }
    except ValueError as error:
        raise ConfigurationError(str(error), file=str(loaded.file), key="services, registers") from None
    fetching = load_fetching(loaded)
    if fetching is None:
        return TrustPolicy(store, RevocationMode(section.revocation), named)

    def evidence_for(certificate: Certificate, material: TrustMaterial, at: dt.datetime) -> RevocationEvidence:
        return fetching.evidence_for(certificate, material, now=at)

    return TrustPolicy(store, RevocationMode(section.revocation), named, evidence_for, fetching.refresh)


def load_stamper(loaded: settings.LoadedSettings, trust: TrustPolicy) -> Stamper | None:
    """What has the journal stamped; None where no time stamping authority is configured."""
    section = loaded.settings.trust
    if not section.tsp_url:
        return None
    fetcher = HttpxFetcher()
    # who the stamper is stands in the token only: it is read first, then judged by the operator's word with evidence
    reading_rules = TimestampRules(RevocationMode.PREFER, section.tsp_policies)
    rules = TimestampRules(RevocationMode(section.revocation), section.tsp_policies)

    def stamp(statement: bytes) -> TimeStamp:
        imprint, material, at = Imprint.of(statement), trust.store.material, now()
        came = request_timestamp(
            imprint,
            fetcher=fetcher,
            url=section.tsp_url,
            material=material,
            rules=reading_rules,
            at=at,
            deadline_s=section.fetch_deadline_s,
        )
        evidence = trust.evidence_for(came.certificate, material, at)
        return verify_token(came.token, imprint=imprint, material=material, rules=rules, at=at, evidence=evidence)

    return stamp


def replay_window(loaded: settings.LoadedSettings) -> ReplayWindow:
    """How old, and how far ahead of us, a message that comes in may be."""
    server = loaded.settings.server
    return ReplayWindow(dt.timedelta(seconds=server.max_message_age_s), dt.timedelta(seconds=server.max_clock_skew_s))


def load_quotas(loaded: settings.LoadedSettings) -> Quotas:
    """How much each sender may ask."""
    section = loaded.settings.quota
    return Quotas(
        Limits(section.per_minute, section.per_day),
        {name: Limits(limits.per_minute, limits.per_day) for name, limits in section.senders.items()},
        section.warn_at,
    )


def load_fetching(loaded: settings.LoadedSettings) -> RevocationFetching | None:
    """What fetches revocation evidence; None where the operator switched nothing on."""
    section = loaded.settings.trust
    if not (section.ocsp or section.fetch_crl):
        return None
    try:
        rules = FetchingRules(
            ocsp=section.ocsp,
            crl=section.fetch_crl,
            ocsp_url=section.ocsp_url,
            crl_urls=section.crl_urls,
            deadline_s=section.fetch_deadline_s,
        )
    except ValueError as error:
        raise ConfigurationError(str(error), file=str(loaded.file), key="trust.ocsp_url, trust.crl_urls") from None
    return RevocationFetching(HttpxFetcher(), rules)


def _service_trust(signers: settings.SignerSettings) -> ServiceTrust:
    rules = SignerRules(
        roles=frozenset(signers.roles),
        required_policies=frozenset(signers.policies),
        # who asks a service of ours is told apart by serve.ServicePolicy, with a fault of its own
        bins=frozenset() if isinstance(signers, settings.ServiceSettings) else frozenset(signers.bins),
        treasury=signers.treasury,
    )
    return ServiceTrust(RevocationMode(signers.revocation) if signers.revocation else None, rules)


def watch(loaded: settings.LoadedSettings, keys: KeyRing, trust: TrustPolicy) -> Rotation:
    """What is read again while the program runs."""
    folder = loaded.settings.trust.folder
    return Rotation(
        (
            Watch("keys", lambda: of_files(keys.files), keys.reload),
            Watch(
                "trust",
                lambda: of_folder(folder),
                lambda: trust.store.reload(lambda material: refuse_mixed_anchors(loaded, material)),
            ),
        )
    )


def refuse_mixed_anchors(loaded: settings.LoadedSettings, material: TrustMaterial) -> None:
    """Test hierarchies and real ones do not meet: every test authority has TEST in its name (PKI.md section 3).

    Raises ConfigurationError.
    """
    live = loaded.settings.environment == "live"
    for anchor in material.anchors:
        if is_test_authority(anchor.subject) == live:
            raise ConfigurationError(
                f"{anchor.label} is {'a test' if live else 'not a test'} authority and environment is "
                f"'{loaded.settings.environment}'",
                file=str(loaded.file),
                key="trust.folder",
            )


def refuse_mixed_key(loaded: settings.LoadedSettings, key: SigningKey) -> None:
    """The same for our own certificate. Raises ConfigurationError."""
    live = loaded.settings.environment == "live"
    if is_test_authority(key.certificate.issuer) == live:
        raise ConfigurationError(
            f"our certificate comes from {'a test' if live else 'a real'} authority and environment is "
            f"'{loaded.settings.environment}'",
            file=str(loaded.file),
            key="signing.key_file",
        )


def is_test_authority(name: str) -> bool:
    """Whether a distinguished name is of a test hierarchy."""
    return "TEST" in name.upper()


def load_systems(loaded: settings.LoadedSettings) -> Mapping[str, SystemDefinition]:
    """Shipped systems and those of `systems.paths`. Raises SystemFolderError."""
    return find_systems([resources.mappers_path(), *loaded.settings.systems.paths])


def xml_bounds(loaded: settings.LoadedSettings, max_bytes: int) -> XmlBounds:
    section = loaded.settings.bounds
    return XmlBounds(max_bytes, section.max_elements, section.max_attributes, section.max_depth)


def load_regulation(loaded: settings.LoadedSettings) -> Law:
    """The law as data: what came with the program, and what `registry.law_folder` has instead.

    Raises ConfigurationError.
    """
    return load_law(resources.path("config/regulation"), loaded.settings.registry.law_folder)
