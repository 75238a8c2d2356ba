"""The national algorithms: microseconds of CPU for each backend, and their ratio to one RSA-2048 signature."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench._measure import median_us
from gateway.signing.gost import curves, engine, signature
from gateway.signing.gost.backend import GostBackend
from gateway.signing.gost.curves import TC26_512_A, Group
from gateway.signing.gost.own import OwnBackend

_PRIVATE_KEY = (2**500 + 4_711).to_bytes(64, "little")
_KILOBYTE = bytes(range(256)) * 4


def _backends() -> dict[str, GostBackend]:
    backends: dict[str, GostBackend] = {"own, plain integers": OwnBackend(allow_variable_time=True, number=int)}
    if curves.is_accelerated():
        backends["own, gmpy2"] = OwnBackend(allow_variable_time=True)
    found = engine.available()
    if found.usable:
        backends["engine"] = engine.EngineBackend.shared()
    else:
        print(f"engine: {found.reason}")
    return backends


def _first_verification_us(
    number: Callable[[int], int] | None, public_key: bytes, digest: bytes, signed: bytes
) -> float:
    """A key that was never seen: no table of it, the generator's table is there."""
    times = []
    for _ in range(7):
        group = Group(TC26_512_A, number=number)
        group.multiply_generator(5)
        start = time.process_time()
        signature.verify(group, public_key, digest, signed)
        times.append(time.process_time() - start)
    return min(times) * 1e6


def main() -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    rsa_us = median_us({"rsa": lambda: rsa_key.sign(_KILOBYTE, padding.PKCS1v15(), hashes.SHA256())})["rsa"]
    print("GOST-2015-512, microseconds of CPU (median); × is relative to one RSA-2048 signature of this run")
    print(f"RSA-2048 signature: {rsa_us:.0f}")
    print(f"{'':22}{'sign':>14}{'verify':>14}{'verify, first':>15}{'Streebog 1 KB':>15}{'MB/s':>8}")
    for name, backend in _backends().items():
        digest = backend.digest512(_KILOBYTE)
        public_key = backend.public_key512(_PRIVATE_KEY)
        signed = backend.sign512(_PRIVATE_KEY, digest)
        for _ in range(curves.USES_BEFORE_TABLE):
            backend.verify512(public_key, digest, signed)
        large = _KILOBYTE * (1_000 if name == "engine" else 30)
        us = median_us(
            {
                "sign": partial(backend.sign512, _PRIVATE_KEY, digest),
                "verify": partial(backend.verify512, public_key, digest, signed),
                "digest": partial(backend.digest512, _KILOBYTE),
                "large": partial(backend.digest512, large),
            }
        )
        first = ""
        if name != "engine":
            number = int if "plain" in name else None
            first = f"{_first_verification_us(number, public_key, digest, signed):.0f}"
        print(
            f"{name:22}"
            f"{us['sign']:8.0f} {us['sign'] / rsa_us:4.1f}×"
            f"{us['verify']:8.0f} {us['verify'] / rsa_us:4.1f}×"
            f"{first:>15}{us['digest']:15.0f}{len(large) / us['large']:8.2f}"
        )


if __name__ == "__main__":
    main()
