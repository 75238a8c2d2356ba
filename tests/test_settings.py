from pathlib import Path

import pytest

from gateway import settings as module
from gateway.errors import ConfigurationError

MINIMAL = """
environment = "sandbox"
[identity]
sender_id = "someone"
[signing]
key_file = "keys/gateway.pem"
[trust]
folder = "anchors"
revocation = "require"
[shep]
sync_url = "http://127.0.0.1:1/"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(MINIMAL)
    return file


def refusal(file: Path, environment: dict[str, str] | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refused:
        module.load(file, environment or {})
    return refused.value


def test_paths_start_at_the_file(config: Path) -> None:
    loaded = module.load(config, {})
    assert loaded.settings.signing.key_file == config.parent / "keys" / "gateway.pem"
    assert loaded.settings.trust.folder == config.parent / "anchors"


def test_the_law_of_one_s_own_lies_where_the_file_says(config: Path) -> None:
    assert module.load(config, {}).settings.registry.law_folder is None
    config.write_text(MINIMAL + '[registry]\nlaw_folder = "law"\n')
    assert module.load(config, {}).settings.registry.law_folder == config.parent / "law"


def test_a_key_in_a_token_is_no_path(config: Path) -> None:
    uri = "pkcs11:token=fund;object=gateway?module-path=/usr/lib/token.so"
    loaded = module.load(config, {"GATEWAY_SIGNING__KEY_FILE": uri})
    assert str(loaded.settings.signing.key_file) == uri


def test_national_signing_is_off_until_the_operator_allows_it(config: Path) -> None:
    signing = module.load(config, {}).settings.signing
    assert (signing.gost_backend, signing.allow_variable_time) == ("auto", False)
    allowed = module.load(config, {"GATEWAY_SIGNING__ALLOW_VARIABLE_TIME": "true"}).settings.signing
    assert allowed.allow_variable_time
    assert refusal(config, {"GATEWAY_SIGNING__GOST_BACKEND": "kalkan"}).key == "signing.gost_backend"


def test_an_unknown_key_is_named_with_its_file(config: Path) -> None:
    config.write_text(MINIMAL + "[server]\nprot = 1\n")
    error = refusal(config)
    assert error.key == "server.prot"
    assert str(config) in str(error)


def test_an_unknown_key_in_the_environment_is_an_error_too(config: Path) -> None:
    assert refusal(config, {"GATEWAY_SERVER__PROT": "1"}).key == "server.prot"
    assert refusal(config, {"GATEWAY_SERVR__PORT": "1"}).key == "servr"


def test_a_missing_key_is_named(config: Path) -> None:
    config.write_text(MINIMAL.replace('revocation = "require"', ""))
    error = refusal(config)
    assert (error.key, "missing" in str(error)) == ("trust.revocation", True)


def test_a_wrong_value_says_what_is_allowed(config: Path) -> None:
    config.write_text(MINIMAL.replace('"require"', '"soft"'))
    error = refusal(config)
    assert error.key == "trust.revocation"
    assert "'require'" in str(error)


def test_a_file_that_is_not_toml_or_not_there_is_named(config: Path, tmp_path: Path) -> None:
    config.write_text("environment = ")
    assert "not TOML" in str(refusal(config))
    assert "no such file" in str(refusal(tmp_path / "nowhere.toml"))
    assert "cannot be read" in str(refusal(tmp_path))


def test_the_environment_overlays_the_file_and_the_source_is_told(config: Path) -> None:
    loaded = module.load(config, {"GATEWAY_SERVER__PORT": "9090", "GATEWAY_SYSTEMS__PATHS": '["/a"]', "HOME": "/x"})
    assert loaded.settings.server.port == 9090
    assert loaded.settings.systems.paths == (Path("/a"),)
    rows = {key: (value, source) for key, value, source in module.describe(loaded)}
    assert rows["server.port"] == ("9090", "environment")
    assert rows["shep.sync_url"] == ("http://127.0.0.1:1/", "file")
    assert rows["server.host"] == ("127.0.0.1", "default")


def test_a_secret_in_the_file_is_refused(config: Path) -> None:
    config.write_text(MINIMAL.replace("[trust]", 'key_password = "x"\n[trust]'))
    error = refusal(config)
    assert error.key == "signing.key_password"
    assert "GATEWAY_SIGNING__KEY_PASSWORD" in str(error)


def test_secrets_are_masked_wherever_settings_are_shown(config: Path) -> None:
    loaded = module.load(
        config,
        {"GATEWAY_SIGNING__KEY_PASSWORD": "hush-1", "GATEWAY_DATABASE__URL": "postgresql://me:hush-2@db/x"},
    )
    shown = f"{loaded} {module.describe(loaded)}"
    assert "hush-1" not in shown
    assert "hush-2" not in str(module.describe(loaded))
    assert module.secret(loaded.settings.signing.key_password, None, key="k") == "hush-1"


def test_a_secret_comes_from_its_file_without_the_line_break(config: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush \n")
    assert module.secret(None, tmp_path / "secret", key="k") == "hush "
    assert module.secret(None, None, key="k") is None
    with pytest.raises(ConfigurationError, match="check the file"):
        module.secret(None, tmp_path / "nowhere", key="k")


def test_the_database_is_a_file_beside_the_configuration_unless_said_otherwise(config: Path) -> None:
    assert module.database_url(module.load(config, {})) == f"sqlite:///{config.parent / 'gateway.sqlite'}"
    loaded = module.load(
        config, {"GATEWAY_DATABASE__URL": "postgresql://me@db/x", "GATEWAY_DATABASE__PASSWORD": "hush"}
    )
    assert module.database_url(loaded) == "postgresql://me@db/x"
    assert module.database_password(loaded) == "hush"
    assert module.database_password(module.load(config, {})) is None


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('"require"', '"off"'), "trust.revocation"),
        (('"require"', '"prefer"'), "trust.revocation"),
        (("192.0.2.1", "localhost"), "shep.sync_url"),
        (("192.0.2.1", "127.0.0.1"), "shep.sync_url"),
        (("192.0.2.1", "[::1]"), "shep.sync_url"),
    ],
)
def test_live_refuses_what_belongs_to_a_sandbox(config: Path, change: tuple[str, str], key: str) -> None:
    live = MINIMAL.replace('"sandbox"', '"live"').replace("127.0.0.1", "192.0.2.1")
    config.write_text(live)
    assert module.load(config, {}).settings.environment == "live"
    config.write_text(live.replace(*change))
    assert refusal(config).key == key


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_live_refuses_a_sandbox_on_the_asynchronous_channel(config: Path, host: str) -> None:
    live = MINIMAL.replace('"sandbox"', '"live"').replace("127.0.0.1", "192.0.2.1")
    config.write_text(live)
    assert refusal(config, {"GATEWAY_SHEP__ASYNC_URL": f"http://{host}/bip-async/"}).key == "shep.async_url"


def test_the_login_of_the_storage_is_a_secret_of_its_own(config: Path) -> None:
    loaded = module.load(config, {"GATEWAY_STORAGE__PASSWORD": "hush", "GATEWAY_STORAGE__SENDER_ID": "store"})
    assert "hush" not in str(module.describe(loaded))
    config.write_text(f'{MINIMAL}\n[storage]\npassword = "hush"\n')
    assert refusal(config).key == "storage.password"


def test_a_section_and_a_value_cannot_have_one_name(config: Path) -> None:
    assert "section" in str(refusal(config, {"GATEWAY_ENVIRONMENT__X": "1"}))


def test_text_that_only_begins_like_a_list_stays_text(config: Path) -> None:
    loaded = module.load(config, {"GATEWAY_IDENTITY__SENDER_ID": "[not json"})
    assert loaded.settings.identity.sender_id == "[not json"


def test_a_token_is_named_by_its_uri_and_not_by_a_path(config: Path) -> None:
    uri = "pkcs11:token=fund;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so"
    config.write_text(MINIMAL.replace("keys/gateway.pem", uri))
    assert str(module.load(config, {}).settings.signing.key_file) == uri
