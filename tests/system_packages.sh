#!/bin/sh
# What the tests need from Debian: PostgreSQL's server programs; xmlsec1 and OpenSSL's gost engine, foreign signers and
# judges; SoftHSM2, a token in software.
# As root it installs what is missing; otherwise it stops and prints the one line to type.
set -eu
missing=""
command -v xmlsec1 >/dev/null 2>&1 || missing="$missing xmlsec1"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v softhsm2-util >/dev/null 2>&1 || missing="$missing softhsm2"
ls /usr/lib/*/engines-3/gost.so >/dev/null 2>&1 || missing="$missing libengine-gost-openssl"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "the tests need these Debian packages:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
