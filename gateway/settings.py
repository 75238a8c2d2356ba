"""Typed settings: one TOML file, overlaid by `GATEWAY_SECTION__KEY` from the environment.

Unknown keys are errors that name the key. Secrets come from the environment or from a file of their own,
never from the TOML file. This is the only module that reads the environment.
"""

from __future__ import annotations

import ipaddress
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from gateway.errors import ConfigurationError

ENVIRONMENT_PREFIX: Final = "GATEWAY_"
#: these keys hold secrets: (section, key)
_SECRETS: Final = frozenset(
    {
        ("signing", "key_password"),
        ("signing", "next_key_password"),
        ("identity", "sender_password"),
        ("database", "password"),
        ("storage", "password"),
    }
)
#: relative paths in these keys are read from the folder of the configuration file
_PATHS: Final = frozenset(
    {
        ("signing", "key_file"),
        ("signing", "certificate_file"),
        ("signing", "key_password_file"),
        ("signing", "next_key_file"),
        ("signing", "next_certificate_file"),
        ("signing", "next_key_password_file"),
        ("identity", "sender_password_file"),
        ("database", "password_file"),
        ("storage", "password_file"),
        ("trust", "folder"),
        ("journal", "key_file"),
        ("registry", "lists_folder"),
        ("registry", "law_folder"),
    }
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]
OptionalDays = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_empty_is_none)]
OptionalMoment = Annotated[AwareDatetime | None, BeforeValidator(_empty_is_none)]


class DatabaseSettings(_Section):
    #: SQLAlchemy URL; empty means a SQLite file `gateway.sqlite` beside the configuration file
    url: str = ""
    #: for PostgreSQL, instead of a password inside the URL
    password: OptionalSecret = None
    password_file: OptionalPath = None


class IdentitySettings(_Section):
    """Who we are on the gateway: requestInfo/sender and the participant code of the registers."""

    sender_id: str = Field(min_length=1, max_length=100)
    sender_password: OptionalSecret = None
    sender_password_file: OptionalPath = None
    requester: str = ""


class SigningSettings(_Section):
    #: a file, or `pkcs11:…` for a key in a token (gateway.signing.tokens)
    key_file: Path
    #: only for PEM keys that do not carry their certificate
    certificate_file: OptionalPath = None
    key_password: OptionalSecret = None
    key_password_file: OptionalPath = None
    #: the key that follows; it may be configured before its file is there
    next_key_file: OptionalPath = None
    next_certificate_file: OptionalPath = None
    next_key_password: OptionalSecret = None
    next_key_password_file: OptionalPath = None
    #: from when the next key signs; empty: from when its certificate begins
    next_from: OptionalMoment = None
    key_info: Literal["key_identifier", "issuer_serial", "issuer_serial_and_certificate", "bare"] = "key_identifier"
    #: what makes and checks national signatures
    gost_backend: Literal["auto", "engine", "own"] = "auto"
    #: our own code may sign with national keys, though its time depends on the key
    allow_variable_time: bool = False


class TrustSettings(_Section):
    """Anchors, intermediates, known peers and CRLs. `revocation` has no default: the operator writes it."""

    folder: Path
    revocation: Literal["require", "prefer", "off"]
    #: ask OCSP responders, and fetch CRLs, beside what lies in the folder; nothing is fetched unless it is switched on
    ocsp: bool = False
    fetch_crl: bool = False
    #: asked instead of the addresses in certificates
    ocsp_url: str = Field(default="", pattern=r"^(https?://.*)?$")
    crl_urls: tuple[str, ...] = ()
    fetch_deadline_s: float = Field(default=10.0, gt=0, le=60)
    #: RFC 3161: what the journal archives is stamped there; empty: nothing is stamped
    tsp_url: str = Field(default="", pattern=r"^(https?://.*)?$")
    tsp_interval_s: float = Field(default=300.0, ge=1)
    #: OIDs of stamping policies that are accepted; empty: every one
    tsp_policies: tuple[str, ...] = ()
    #: how long an OCSP answer without an end of its own is believed
    max_ocsp_age_s: int = Field(default=3_600, ge=1)


class ShepSettings(_Section):
    """The gateway's side: where requests go, and how long an answer may take."""

    sync_url: str = Field(pattern=r"^https?://")
    #: IAsyncChannel of the gateway; empty: the asynchronous channel is not used
    async_url: str = Field(default="", pattern=r"^(https?://.*)?$")
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)
    reply_timeout_s: float = Field(default=60.0, gt=0, le=600)
    max_reply_bytes: int = Field(default=2_000_000, ge=1_000)
    #: BINs in certificates that may sign replies to us; empty: every trusted certificate but our own
    signer_bins: tuple[str, ...] = ()


class StorageSettings(_Section):
    """The temporary storage of files (EDS_TEMP_FILES): a login of its own, not the one of [identity]."""

    sender_id: str = Field(default="", max_length=100)
    password: OptionalSecret = None
    password_file: OptionalPath = None
    #: how long an uploaded file is asked to be kept
    life_time_s: int = Field(default=28_800, ge=60)
    #: one file, either way; its message is a third larger, and its text needs as much room beside a download's target
    max_file_bytes: int = Field(default=500_000_000, ge=1_000, le=10_000_000_000)
    #: of one call, from the first byte sent to the last one received
    transfer_timeout_s: float = Field(default=900.0, gt=0, le=86_400)
    #: the words of the storage for a file that is confirmed now; the public record has none
    confirmed_statuses: tuple[str, ...] = Field(default=("OK",), min_length=1)


class ServerSettings(_Section):
    """Our own endpoints."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    #: what clients see in `?wsdl`; empty means what the request's Host header says
    public_url: str = ""
    max_request_bytes: int = Field(default=2_000_000, ge=1_000)
    drain_timeout_s: float = Field(default=25.0, gt=0, le=29)
    #: processes that serve and work; more than one needs PostgreSQL
    workers: int = Field(default=1, ge=1, le=64)
    #: of each process; what comes beyond is turned away with a fault before it is read
    max_requests_in_hand: int = Field(default=256, ge=1, le=100_000)
    max_bytes_in_hand: int = Field(default=64_000_000, ge=1_000)
    max_connections: int = Field(default=1_024, ge=1, le=100_000)
    #: how long a client may take to send one request
    request_timeout_s: float = Field(default=30.0, ge=0.1, le=600)
    #: the replay window: how old messageDate may be, and how far ahead of our clock
    max_message_age_s: int = Field(default=259_200, ge=60)
    max_clock_skew_s: int = Field(default=3_900, ge=0, le=86_400)


class BoundsSettings(_Section):
    """What one XML document may cost; see gateway.xml.XmlBounds."""

    max_elements: int = Field(default=20_000, ge=100)
    max_attributes: int = Field(default=20_000, ge=100)
    max_depth: int = Field(default=64, ge=16, le=250)


class SystemsSettings(_Section):
    #: folders of one's own, searched after the shipped `mappers/`; a folder of the same name replaces
    paths: tuple[Path, ...] = ()


class SignerSettings(_Section):
    """Whose certificates may sign here, and what an unknown revocation does here; empty: as everywhere else."""

    revocation: Literal["", "require", "prefer", "off"] = ""
    bins: tuple[str, ...] = ()
    #: names of national roles, as `gateway keys inspect` shows them
    roles: tuple[str, ...] = ()
    #: OIDs of certificate policies
    policies: tuple[str, ...] = ()
    #: a treasury-client certificate may sign here
    treasury: bool = False
    #: how asynchronous messages of it reach us; empty: as the system's folder says, and push for a service of ours
    delivery: Literal["", "push", "poll"] = ""
    #: where they are fetched: how often, and how many at once; 0 leaves the number to the gateway
    poll_interval_s: int = Field(default=60, ge=10, le=86_400)
    poll_amount: int = Field(default=20, ge=0, le=1_000)


class ServiceSettings(SignerSettings):
    """Who may ask one of our services."""

    senders: tuple[str, ...] = ()
    #: senderIds known to use a messageId again for another message: theirs are told apart by what they say
    senders_reusing_ids: tuple[str, ...] = ()
    #: of FUND_LIST_INTAKE: feeds, "failures" and "applications" by senderId; without it that service is not served
    may_send: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)


class QuotaLimits(_Section):
    """How much one sender may ask; 0: as much as it likes."""

    per_minute: int = Field(default=0, ge=0)
    per_day: int = Field(default=0, ge=0)


class QuotaSettings(QuotaLimits):
    """For each senderId; `senders` names those with limits of their own."""

    #: share of a limit from which on the log warns
    warn_at: float = Field(default=0.8, gt=0, le=1)
    senders: Mapping[str, QuotaLimits] = Field(default_factory=dict)


class ExchangeSettings(_Section):
    """Who sends what is due, and how hard a service may be tried; system.toml says what differs for one."""

    #: workers of each process; 0: this process sends nothing
    threads: int = Field(default=4, ge=0, le=64)
    #: how often an idle worker looks for work
    interval_s: float = Field(default=5.0, ge=0.1, le=600)
    #: due people taken in one transaction, where the rate is not bounded
    batch: int = Field(default=32, ge=1, le=100)
    #: to each service, of the whole fleet; 0: unbounded
    requests_per_s: float = Field(default=20.0, ge=0, le=100_000)
    #: failures in a row after which a service is left alone for the cool-down, which doubles up to the longest
    circuit_failures: int = Field(default=5, ge=1)
    circuit_cool_down_s: float = Field(default=10.0, gt=0)
    circuit_longest_cool_down_s: float = Field(default=300.0, gt=0)
    #: what has been overdue for longer goes to the operator instead of the wire
    oldest_s: float = Field(default=86_400.0, ge=60)
    #: how much longer than its timeouts a post may take before others take its row over
    lease_margin_s: float = Field(default=30.0, ge=0.5, le=600)


class JobSettings(_Section):
    """One job; over a job that comes with the program, only what is written here changes (gateway.jobs.make_job)."""

    run: str = ""
    when: str = ""
    on_holiday: str = ""
    missed: str = ""
    missed_max_age_s: int = Field(default=604_800, ge=0)


class ScheduleSettings(_Section):
    jobs: Mapping[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], JobSettings] = Field(default_factory=dict)
    #: how often each process looks for runs that are due
    look_interval_s: float = Field(default=5.0, ge=0.1, le=60)
    #: how long finished runs are kept
    keep_days: int = Field(default=90, ge=1)


class TracingSettings(_Section):
    """Spans over OTLP/HTTP; needs the extra `otel`."""

    #: the collector's address of traces, for example http://127.0.0.1:4318/v1/traces; empty: no spans
    otlp_url: str = Field(default="", pattern=r"^(https?://.*)?$")
    #: the share of messages that are traced
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


class RegistrySettings(_Section):
    #: files of the law of one's own, each in the place of the shipped one of its name (gateway.regulation.reading)
    law_folder: OptionalPath = None
    #: where the last list of each feed is kept to compare the next one with; empty: `registry-lists` beside the
    #: configuration file. It holds personal data
    lists_folder: OptionalPath = None
    #: that compare and compute at once
    processes: int = Field(default=2, ge=1, le=64)
    #: since the last fact about a person, before it may be erased; empty: the Fund has not decided, nothing is erased
    keep_facts_days: int | None = Field(default=None, ge=1)
    #: parts of a list may be missing so long before it is an alert
    list_late_hours: float = Field(default=24.0, gt=0)


class RotationSettings(_Section):
    """How often keys and the trust folder are looked at; a change counts when it has settled for one more look."""

    interval_s: float = Field(default=10.0, ge=0.1, le=3_600)


class JournalSettings(_Section):
    """How long the journal keeps what, and the key that its bodies are sealed with."""

    #: 32 random bytes as 64 hexadecimal digits; empty: bodies are not sealed
    key_file: OptionalPath = None
    #: keys of before, which only open
    old_key_files: tuple[Path, ...] = ()
    #: exact bytes of messages; empty: for ever
    keep_bodies_days: OptionalDays = None
    #: the same for a serviceId or a register's slug, where it is less
    keep_bodies_days_of: Mapping[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    #: whole rows, taken away from the beginning of the chain; empty: for ever
    keep_rows_days: OptionalDays = None
    #: what facts of the registry rest on is kept as long as the facts
    keep_evidence_of_facts: bool = True


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """Everything the program can be told. Made by `load`."""

    #: "sandbox" or "live"; a mix of both is refused
    environment: Literal["sandbox", "live"]
    database: DatabaseSettings = DatabaseSettings()
    identity: IdentitySettings
    signing: SigningSettings
    trust: TrustSettings
    shep: ShepSettings
    storage: StorageSettings = StorageSettings()
    server: ServerSettings = ServerSettings()
    quota: QuotaSettings = QuotaSettings()
    bounds: BoundsSettings = BoundsSettings()
    systems: SystemsSettings = SystemsSettings()
    services: Mapping[str, ServiceSettings] = Field(default_factory=dict)
    registers: Mapping[str, SignerSettings] = Field(default_factory=dict)
    exchange: ExchangeSettings = ExchangeSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    tracing: TracingSettings = TracingSettings()
    registry: RegistrySettings = RegistrySettings()
    rotation: RotationSettings = RotationSettings()
    journal: JournalSettings = JournalSettings()
    log: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings with where each value came from: `sources["shep.sync_url"] == "file"|"environment"`."""

    settings: Settings
    file: Path
    sources: Mapping[str, str]


def load(file: Path, environment: Mapping[str, str] | None = None) -> LoadedSettings:
    """Read the file and the environment. Raises ConfigurationError naming file and key."""
    values = _read_toml(file)
    sources = dict.fromkeys(_flatten(values), "file")
    _refuse_secrets(values, file)
    for dotted, text in _overlay(os.environ if environment is None else environment):
        _put(values, dotted, text)
        sources[".".join(dotted)] = "environment"
    _anchor_paths(values, file.resolve().parent)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        why = "this key is not known; see docs/reference/configuration.md"
        if first["type"] == "missing":
            why = "this key is missing; write it into the file or set it in the environment"
        elif first["type"] != "extra_forbidden":
            why = first["msg"]
        raise ConfigurationError(why, file=str(file), key=key) from None
    _refuse_mixes(settings, file)
    return LoadedSettings(settings, file, sources)


def with_workers(loaded: LoadedSettings, workers: int) -> LoadedSettings:
    """The same with another number of processes, as the command line wants it."""
    server = loaded.settings.server.model_copy(update={"workers": workers})
    sources = {**loaded.sources, "server.workers": "command line"}
    return LoadedSettings(loaded.settings.model_copy(update={"server": server}), loaded.file, sources)


def secret(value: SecretStr | None, value_file: Path | None, *, key: str) -> str | None:
    """The secret itself, from its value or its file (one trailing line break is not part of it)."""
    if value is not None:
        return value.get_secret_value()
    if value_file is None:
        return None
    try:
        return value_file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the secret: {error.strerror}; check the file and its owner", file=str(value_file), key=key
        ) from None


def database_url(loaded: LoadedSettings) -> str:
    """URL of the database; SQLite beside the file when none is configured."""
    return loaded.settings.database.url or f"sqlite:///{loaded.file.resolve().parent / 'gateway.sqlite'}"


def lists_folder(loaded: LoadedSettings) -> Path:
    """Where lists are kept to compare the next ones with; beside the file when nothing is configured."""
    return loaded.settings.registry.lists_folder or loaded.file.resolve().parent / "registry-lists"


def database_password(loaded: LoadedSettings) -> str | None:
    """What replaces the password inside the URL, or None."""
    section = loaded.settings.database
    return secret(section.password, section.password_file, key="database.password_file")


def describe(loaded: LoadedSettings) -> list[tuple[str, str, str]]:
    """Effective configuration as (key, value, source), secrets and URL passwords masked."""
    rows = []
    for key, value in _flatten(loaded.settings.model_dump()).items():
        section, _, name = key.partition(".")
        shown = str(value)
        if (section, name) in _SECRETS:
            shown = "not set" if value is None else "********"
        elif key == "database.url":
            shown = _mask_url_password(shown) or database_url(loaded)
        rows.append((key, shown, loaded.sources.get(key, "default")))
    return rows


def required_variable(name: str | None, *, key: str) -> str:
    """The variable that a command line names, as in `--password-env NAME`. Raises ConfigurationError."""
    value = os.environ.get(name) if name else None
    if not value:
        raise ConfigurationError(f"the environment has no variable {name or '(none named)'}", key=key)
    return value


# ---------------------------------------------------------------- steps of load


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            "there is no such file; give one with --config, or make one with `gateway pki init` and docs/tutorial",
            file=str(file),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {error}", file=str(file)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"is not TOML: {error}", file=str(file)) from None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, f"{dotted}."))
        else:
            flat[dotted] = value
    return flat


def _refuse_secrets(values: Mapping[str, Any], file: Path) -> None:
    for section, key in sorted(_SECRETS):
        if isinstance(values.get(section), Mapping) and key in values[section]:
            raise ConfigurationError(
                f"a secret does not belong into the file; set {_variable(section, key)} or use {key}_file",
                file=str(file),
                key=f"{section}.{key}",
            )


def _variable(section: str, key: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{section}__{key}".upper()


def _overlay(environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], str]]:
    found = []
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            parts = tuple(part.lower() for part in name[len(ENVIRONMENT_PREFIX) :].split("__"))
            found.append((parts, text))
    return found


def _put(values: dict[str, Any], dotted: tuple[str, ...], text: str) -> None:
    place = values
    for part in dotted[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigurationError("the environment names a section where the file has a value", key=".".join(dotted))
        place = inner
    place[dotted[-1]] = _list_or_text(text)


def _list_or_text(text: str) -> object:
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _is_file(text: str) -> bool:
    return bool(text) and not text.startswith("pkcs11:")  # a key in a token is no file


def _anchor_paths(values: dict[str, Any], folder: Path) -> None:
    for section, key in _PATHS:
        inside = values.get(section)
        if isinstance(inside, dict) and isinstance(inside.get(key), str) and _is_file(inside[key]):
            inside[key] = str(folder / inside[key])
    for section, key in (("systems", "paths"), ("journal", "old_key_files")):
        inside = values.get(section)
        if isinstance(inside, dict) and isinstance(inside.get(key), list):
            inside[key] = [str(folder / str(path)) for path in inside[key]]


def _is_token(text: str) -> bool:
    return text.startswith("pkcs11:")


def _refuse_mixes(settings: Settings, file: Path) -> None:
    """What can be told without opening a key: gateway.daemon looks at anchors and keys as well."""
    if settings.environment != "live":
        return
    if settings.trust.revocation != "require":
        raise ConfigurationError(
            "environment = 'live' needs revocation = 'require'; unknown is not good",
            file=str(file),
            key="trust.revocation",
        )
    for section, named in (("services", settings.services), ("registers", settings.registers)):
        for name, signers in named.items():
            if signers.revocation == "off":
                raise ConfigurationError(
                    "environment = 'live' always looks at revocation; 'prefer' accepts unknown here, by name",
                    file=str(file),
                    key=f"{section}.{name}.revocation",
                )
    for key, url in (("shep.sync_url", settings.shep.sync_url), ("shep.async_url", settings.shep.async_url)):
        if url and _is_loopback(url):
            raise ConfigurationError(
                "environment = 'live' does not ask a gateway on this machine: that is a sandbox",
                file=str(file),
                key=key,
            )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _mask_url_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{':********' if colon else ''}@{host}"
