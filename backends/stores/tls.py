"""TLS to object stores: what is trusted is the system's store of authorities, or the file that `AWS_CA_BUNDLE` or `SSL_CERT_FILE` names."""

from __future__ import annotations

import os
import re
import ssl
from functools import lru_cache
from pathlib import Path


def client_context() -> ssl.SSLContext:
    """One for all connections with the same authorities: reading them takes 20 ms. Raises `OSError` for a bundle that cannot be read."""
    return _context(os.environ.get("AWS_CA_BUNDLE"), os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _context(bundle: str | None, *_: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=bundle or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def extra_authorities() -> list[bytes]:
    """The certificates of `AWS_CA_BUNDLE`, PEM, for a client that reads the system's by itself. Raises `OSError`."""
    bundle = os.environ.get("AWS_CA_BUNDLE")
    return (
        []
        if not bundle
        else re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", Path(bundle).read_bytes(), re.S)
    )
