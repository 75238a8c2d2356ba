"""Random checks of our GOST code against two foreign ones, as many as asked for.

    python -m tests.signing.gost.crosscheck 10000 100

checks our code 10,000 times against OpenSSL's gost engine and 100 times against gostcrypto. `make test` runs the
same functions with small numbers.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

from gateway.signing.gost import signature
from gateway.signing.gost.asn1 import FAMILIES, GOST_2004, GOST_2015_256, GOST_2015_512, KeyFamily
from gateway.signing.gost.backend import GostBackend
from gateway.signing.gost.curves import Group
from gateway.signing.gost.engine import EngineBackend, available
from gateway.signing.gost.own import OwnBackend

CHECKS_A_KEY = 10
"""So that our code goes both ways: without a table of the key, and with one."""


def _private_key(rng: random.Random, family: KeyFamily) -> bytes:
    return rng.randrange(1, family.curve.q).to_bytes(family.curve.size_bytes, "little")


def _damaged(rng: random.Random, value: bytes) -> bytes:
    place = rng.randrange(len(value))
    return value[:place] + bytes([value[place] ^ 1 << rng.randrange(8)]) + value[place + 1 :]


def _verify(backend: GostBackend, family: KeyFamily, public_key: bytes, digest: bytes, signed: bytes) -> bool:
    verify = {GOST_2015_512: backend.verify512, GOST_2015_256: backend.verify256, GOST_2004: backend.verify2004}
    return verify[family](public_key, digest, signed)


def against_engine(count: int, *, seed: int = 0, own: OwnBackend | None = None) -> Iterator[str]:
    """`count` checks of digests, keys and signatures on all three curves; yields what differs."""
    rng = random.Random(seed)
    own = own or OwnBackend(allow_variable_time=True)
    engine = EngineBackend.shared()
    groups = {name: Group(family.curve) for name, family in FAMILIES.items()}
    keys: dict[str, tuple[bytes, bytes]] = {}
    for number in range(count):
        family = (GOST_2015_512, GOST_2015_512, GOST_2015_256, GOST_2004)[number % 4]
        group = groups[family.name]
        if family.name not in keys or rng.randrange(CHECKS_A_KEY) == 0:
            private_key = _private_key(rng, family)
            keys[family.name] = private_key, signature.public_key(group, private_key)
        private_key, public_key = keys[family.name]

        data = rng.randbytes(rng.randrange(300))
        digest = own.digest512(data) if family is GOST_2015_512 else own.digest256(data)
        foreign = engine.digest512(data) if family is GOST_2015_512 else engine.digest256(data)
        if digest != foreign:
            yield f"check {number}: digest of {data.hex()}"

        case = f"check {number}, {family.name}, d={private_key.hex()} digest={digest.hex()}"
        ours = signature.sign(group, private_key, digest, nonce=lambda q: rng.randrange(1, q))
        if not _verify(engine, family, public_key, digest, ours):
            yield f"{case}: the engine refuses our signature {ours.hex()}"
        if not _verify(own, family, public_key, digest, ours):
            yield f"{case}: we refuse our signature {ours.hex()}"
        wrong = _damaged(rng, ours)
        if _verify(engine, family, public_key, digest, wrong) or _verify(own, family, public_key, digest, wrong):
            yield f"{case}: a damaged signature holds: {wrong.hex()}"
        if family is GOST_2015_512:
            if engine.public_key512(private_key) != public_key:
                yield f"{case}: public key"
            theirs = engine.sign512(private_key, digest)
            if not own.verify512(public_key, digest, theirs):
                yield f"{case}: we refuse the engine's signature {theirs.hex()}"


def against_gostcrypto(count: int, *, seed: int = 0) -> Iterator[str]:
    """`count` checks of digests and 512-bit signatures; yields what differs. gostcrypto is big-endian everywhere."""
    from gostcrypto import gosthash, gostsignature

    rng = random.Random(seed)
    own = OwnBackend(allow_variable_time=True)
    group = Group(GOST_2015_512.curve)
    theirs = gostsignature.new(
        gostsignature.MODE_512,
        gostsignature.CURVES_R_1323565_1_024_2019["id-tc26-gost-3410-12-512-paramSetA"],
    )
    for number in range(count):
        private_key = _private_key(rng, GOST_2015_512)
        public_key = signature.public_key(group, private_key)
        big_endian_key = bytearray(public_key[63::-1] + public_key[:63:-1])
        if theirs.public_key_generate(bytearray(private_key[::-1])) != big_endian_key:
            yield f"check {number}: public key of {private_key.hex()}"
        data = rng.randbytes(rng.randrange(300))
        digest = own.digest512(data)
        if bytes(gosthash.new("streebog512", data=bytearray(data)).digest()) != digest:
            yield f"check {number}: digest of {data.hex()}"
        ours = own.sign512(private_key, digest)
        big_endian = bytearray(ours[63::-1] + ours[:63:-1])
        if not theirs.verify(big_endian_key, bytearray(digest[::-1]), big_endian):
            yield f"check {number}: gostcrypto refuses our signature {ours.hex()}"
        made = bytes(theirs.sign(bytearray(private_key[::-1]), bytearray(digest[::-1])))
        if not own.verify512(public_key, digest, made[63::-1] + made[:63:-1]):
            yield f"check {number}: we refuse gostcrypto's signature {made.hex()}"


def main(arguments: list[str]) -> int:
    engine_checks = int(arguments[0]) if arguments else 10_000
    gostcrypto_checks = int(arguments[1]) if len(arguments) > 1 else 0
    failures = 0
    works = [("gostcrypto", gostcrypto_checks, against_gostcrypto)]
    found = available()
    if found.usable:
        works.insert(0, ("OpenSSL's gost engine", engine_checks, against_engine))
    else:
        sys.stdout.write(f"engine: {found.reason}\n")
        failures += bool(engine_checks)
    seed = random.SystemRandom().randrange(2**32)
    for name, count, work in works:
        start = time.monotonic()
        differences = 0
        for difference in work(count, seed=seed) if count else ():
            differences += 1
            sys.stdout.write(difference + "\n")
        if count:
            seconds = time.monotonic() - start
            sys.stdout.write(f"{name}: {count} checks, {differences} differences, {seconds:.0f} s, seed {seed}\n")
        failures += differences
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
