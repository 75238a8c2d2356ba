"""Where things are put together: settings in, a running program out. Here, and in cli/, the clock is read."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Final, Self

import anyio.to_thread
import structlog
import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import database, resources, settings
from gateway.errors import ConfigurationError, GatewayError
from gateway.exchange.ask import Asker, AskPolicy
from gateway.exchange.echo import echo
from gateway.exchange.polling import poll_once
from gateway.exchange.serve import Server, ServicePolicy
from gateway.exchange.stamping import Stamper, stamp_once
from gateway.exchange.transport import HttpxTransport
from gateway.exchange.verification import ServiceTrust, TrustPolicy, check_own_signature
from gateway.fund import consumer
from gateway.listening import bind
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from gateway.rotation import KeyRing, KeySource, Rotation, Watch, of_files, of_folder
from gateway.shep import contract, sync_channel
from gateway.shep.messages import ErrorInfo, Sender
from gateway.signing import national, tokens
from gateway.signing.certificate import Certificate
from gateway.signing.gost.backend import choose_backend
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey, load_signing_key
from gateway.signing.wss import sign_body
from gateway.systems import SystemDefinition, find_systems
from gateway.trust.evidence import RevocationEvidence
from gateway.trust.fetching import FetchingRules, HttpxFetcher, RevocationFetching
from gateway.trust.signer_policy import SignerRules
from gateway.trust.store import TrustMaterial, TrustStore
from gateway.trust.timestamp import Imprint, TimeStamp, TimestampRules, request_timestamp, verify_token
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationRules
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

SYNC_PATH: Final = "/shep/sync"
_XML: Final = "text/xml; charset=utf-8"
#: how often evidence in use is looked through for what ends soon
_EVIDENCE_INTERVAL_S: Final = 60
_LOG: Final = structlog.get_logger()


def now() -> dt.datetime:
    """The clock. Rooms below take the time as an argument, or this function."""
    return dt.datetime.now(dt.UTC)


def new_message_id() -> str:
    return str(uuid.uuid4())


# ---------------------------------------------------------------- putting together


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
    stamper: Stamper | None
    transport: HttpxTransport
    asker: Asker
    server: Server

    @property
    def key(self) -> SigningKey:
        """The key that signs now."""
        return self.keys()

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
    law = load_regulation()
    # the contract that we publish has to load before anything is served by it
    contract.load_contract(resources.path(contract.SYNC_CHANNEL))
    engine = open_store(loaded)
    database.check_revision(engine)
    key_info = KeyInfoForm(options.signing.key_info)
    transport = HttpxTransport()
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
    asker = Asker(
        engine=engine,
        transport=transport,
        systems=systems,
        key=keys,
        trust=trust,
        policy=policy,
        law=law,
        clock=now,
        new_message_id=new_message_id,
    )
    server_bounds = xml_bounds(loaded, options.server.max_request_bytes)
    server = Server(
        engine=engine,
        services={consumer.SERVICE_ID: consumer.ConsumerStatusService(law, bounds=server_bounds)},
        key=keys,
        trust=trust,
        new_message_id=new_message_id,
        policies={
            name: ServicePolicy(frozenset(service.senders), frozenset(service.bins))
            for name, service in options.services.items()
        },
        key_info=key_info,
        bounds=server_bounds,
    )
    rotation, stamper = watch(loaded, keys, trust), load_stamper(loaded, trust)
    return Gateway(loaded, engine, law, systems, keys, rotation, trust, policy, stamper, transport, asker, server)


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


def load_regulation() -> Law:
    """The law as data, as it came with the program. Raises ConfigurationError."""
    return load_law(resources.path("config/regulation"))


# ---------------------------------------------------------------- readiness


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to work. `code` is "ok" or that of the error."""

    name: str
    code: str
    message: str

    @property
    def ok(self) -> bool:
        return self.code == "ok"


#: the means of national signatures, for people
BACKEND_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"engine": "OpenSSL's gost engine", "own": "our own code (not constant-time)"}
)


def readiness(gateway: Gateway, at: dt.datetime) -> tuple[Check, ...]:
    """Can it sign, verify what it signed, trust its own certificate, and reach its database."""
    backend = national.backend().name
    return (
        _check(
            "signature",
            lambda: _sign_and_verify(gateway, at),
            f"signs with {gateway.key.algorithm.name}, and verifies what it signed;"
            f" national signatures by {BACKEND_NAMES.get(backend, backend)}",
        ),
        _check("certificate", lambda: _own_certificate(gateway, at), "our certificate is trusted and not revoked"),
        _check("database", lambda: database.check_revision(gateway.engine), "reachable, at the right revision"),
    )


def _check(name: str, work: Callable[[], None], good: str) -> Check:
    try:
        work()
    except GatewayError as error:
        return Check(name, error.code, error.message)
    return Check(name, "ok", good)


def _sign_and_verify(gateway: Gateway, at: dt.datetime) -> None:
    body = sync_channel.build_fault(ErrorInfo("READINESS", "never sent", at))
    form = KeyInfoForm(gateway.loaded.settings.signing.key_info)
    key = gateway.key
    check_own_signature(sign_body(body, key, form=form), key.certificate, DEFAULT_BOUNDS)


def _own_certificate(gateway: Gateway, at: dt.datetime) -> None:
    certificate, trust = gateway.key.certificate, gateway.trust
    evidence = trust.evidence_for(certificate, trust.store.material, at)
    validate(certificate, trust.store, at=at, revocation=trust.revocation, evidence=evidence)


def echo_check(gateway: Gateway) -> Check:
    """Does the gateway take our signature, and do we take its; see gateway.exchange.echo."""
    result = echo(
        engine=gateway.engine,
        transport=gateway.transport,
        key=gateway.key,
        trust=gateway.trust,
        policy=gateway.policy,
        message_id=new_message_id(),
        clock=now,
    )
    return Check("gateway", result.code, result.message)


def stamp_check(gateway: Gateway) -> Check | None:
    """Has one statement stamped for real; None where no time stamping authority is configured."""
    stamper = gateway.stamper
    return None if stamper is None else _check("stamp", lambda: _stamp(stamper), "a time stamp was made and verified")


def _stamp(stamper: Stamper) -> None:
    stamper(b"gateway doctor")


# ---------------------------------------------------------------- HTTP


Lifespan = Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]


def make_app(gateway: Gateway, lifespan: Lifespan | None = None) -> Starlette:
    """The endpoints of docs/reference/contract.md."""
    limit = gateway.loaded.settings.server.max_request_bytes

    async def sync_channel_endpoint(request: Request) -> Response:
        received_at = now()
        peer = request.client.host if request.client else ""
        received = bytearray()
        try:
            async for chunk in request.stream():
                received += chunk
                if len(received) > limit:
                    reply = gateway.server.refuse_too_large(len(received), received_at=received_at, peer=peer)
                    # the rest is not read: the connection cannot be used again
                    return Response(reply.body, reply.status, {"connection": "close"}, media_type=_XML)
        except ClientDisconnect:
            # cut in the middle: nobody is left to answer, and nothing of it was read
            _LOG.warning("exchange", action="request_cut", received_bytes=len(received))
            return Response(status_code=400)
        data = bytes(received)
        reply = await anyio.to_thread.run_sync(lambda: gateway.server.handle(data, received_at=received_at, peer=peer))
        return Response(reply.body, reply.status, media_type=_XML)

    async def wsdl(request: Request) -> Response:
        if "wsdl" not in request.query_params:
            return Response("This is a SOAP endpoint: POST to it, or ask for ?wsdl.\n", 405, {"allow": "POST"})
        base = gateway.loaded.settings.server.public_url or str(request.base_url).rstrip("/")
        return Response(contract.served_wsdl(f"{base}{SYNC_PATH}"), media_type=_XML)

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        checks = await anyio.to_thread.run_sync(lambda: readiness(gateway, now()))
        document = {"ready": all(check.ok for check in checks), "checks": {check.name: check.code for check in checks}}
        return JSONResponse(document, 200 if document["ready"] else 503)

    return Starlette(
        routes=[
            Route(SYNC_PATH, sync_channel_endpoint, methods=["POST"]),
            Route(SYNC_PATH, wsdl, methods=["GET"]),
            Route("/health/live", live, methods=["GET"]),
            Route("/health/ready", ready, methods=["GET"]),
        ],
        lifespan=lifespan,
    )


# ---------------------------------------------------------------- the process


class AlarmClock:
    """APScheduler wakes a round of polling; it owns no state. What is due stands in the database."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stopping = threading.Event()
        self._polling = threading.Lock()
        self._scheduler = BackgroundScheduler(timezone=dt.UTC)
        self._scheduler.add_job(
            self._round,
            "interval",
            seconds=gateway.loaded.settings.polling.interval_s,
            next_run_time=now(),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        if gateway.stamper is not None:
            self._scheduler.add_job(
                self._stamp_journal,
                "interval",
                seconds=gateway.loaded.settings.trust.tsp_interval_s,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )
        if gateway.trust.refresh is not None:
            self._scheduler.add_job(
                self._renew_evidence,
                "interval",
                seconds=_EVIDENCE_INTERVAL_S,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )
        self._scheduler.add_job(
            self._gateway.rotation.look,
            "interval",
            seconds=gateway.loaded.settings.rotation.interval_s,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def rotate_now(self) -> None:
        """Keys, certificates and anchors are read again, changed or not."""
        self._scheduler.add_job(self._gateway.rotation.look, kwargs={"force": True}, misfire_grace_time=None)

    def start(self) -> None:
        self._scheduler.start()

    def take_no_more(self) -> None:
        """A round that runs ends after the question in hand."""
        self._stopping.set()

    def stop(self, wait_s: float) -> None:
        """End it. A question still in hand after `wait_s` is cut off: its row says that the outcome is unknown."""
        self.take_no_more()
        if self._polling.acquire(timeout=max(wait_s, 0)):
            self._polling.release()
        else:
            _LOG.warning("polling", action="cut_off")
            self._gateway.transport.close()
        self._scheduler.shutdown(wait=True)

    def _stamp_journal(self) -> None:
        stamper = self._gateway.stamper
        if stamper is not None:
            try:
                stamp_once(self._gateway.engine, stamper, at=now())
            except GatewayError as error:
                # the rows wait for the next time; `gateway doctor` tells what is wrong
                _LOG.error("journal", action="not_stamped", code=error.code)

    def _renew_evidence(self) -> None:
        trust = self._gateway.trust
        if trust.refresh is not None:
            report = trust.refresh(trust.store.material, now=now())
            if report.failures:
                # what could not be renewed ends and is unknown then; `gateway pki check` names it
                _LOG.warning("trust", action="evidence_not_renewed", count=len(report.failures))

    def _round(self) -> None:
        gateway = self._gateway
        with self._polling:
            try:
                poll_once(
                    gateway.asker,
                    gateway.engine,
                    now(),
                    gateway.loaded.settings.polling.batch,
                    stop=self._stopping.is_set,
                )
            except GatewayError as error:
                # the next round tries again; readiness tells meanwhile what is wrong
                _LOG.error("polling", action="round_failed", code=error.code)


def serve(
    loaded: settings.LoadedSettings, *, on_listening: Callable[[str], None], key: SigningKey | None = None
) -> None:
    """Run until SIGTERM or SIGINT: endpoints, and the alarm clock that wakes polling.

    A signal stops taking work; what is in hand is finished, and after `server.drain_timeout_s` cut off.
    `on_listening` gets the address; `key` as in `assemble`. Raises OperatorError.
    """
    options = loaded.settings.server
    with assemble(loaded, key=key) as gateway:
        bound, url = bind(options.host, options.port, setting="server.port")
        with bound:
            _Server(gateway, AlarmClock(gateway), lambda: on_listening(url)).run(sockets=[bound])


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens and drains against one deadline."""

    def __init__(self, gateway: Gateway, alarm: AlarmClock, on_listening: Callable[[], None]) -> None:
        options = gateway.loaded.settings.server
        self._alarm = alarm
        self._on_listening = on_listening
        self._drain_s = options.drain_timeout_s
        self._deadline_s: float | None = None
        super().__init__(
            uvicorn.Config(
                make_app(gateway, self._lifespan),
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=int(options.drain_timeout_s),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._deadline_s = time.monotonic() + self._drain_s
        self._alarm.take_no_more()
        super().handle_exit(sig, frame)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._alarm.start()
        # delivered in the event loop, between two requests' steps and not inside one
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._alarm.rotate_now)
        try:
            yield
        finally:
            left_s = self._drain_s if self._deadline_s is None else self._deadline_s - time.monotonic()
            await anyio.to_thread.run_sync(lambda: self._alarm.stop(left_s))
