"""A certificate for 127.0.0.1, made for this run and trusted by nobody but these tests."""

from __future__ import annotations

import ssl
from functools import cache

import trustme


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


def authority_pem() -> bytes:
    """Return the CA that has signed the certificate."""
    pem: bytes = _authority().cert_pem.bytes()
    return pem
