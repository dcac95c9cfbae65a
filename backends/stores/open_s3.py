"""A store of S3 from what the plan says of it: its own keys, or the chain that botocore would look through."""

from __future__ import annotations

from pathlib import Path

from backends.plan.models import Store as StoreSpec
from backends.stores.errors import StoreDenied
from backends.stores.plan_secret import plan_secret
from backends.stores.s3 import S3Store
from backends.stores.s3_client import bucket_address
from backends.stores.s3_credentials import ChainCredentials, CredentialSource, LookedUpCredentials
from backends.stores.sigv4 import Credentials

_REGION = "us-east-1"


def open_s3(name: str, spec: StoreSpec, bucket: str, prefix: str, *, base: Path) -> S3Store:
    """`s3://BUCKET/PREFIX/`."""
    region = spec.region or _REGION
    address = bucket_address(bucket, endpoint=spec.endpoint, region=region, path_style=spec.path_style)
    return S3Store(name, bucket, prefix, address, _credentials(name, spec, base), region)


def _credentials(name: str, spec: StoreSpec, base: Path) -> CredentialSource:
    if spec.access_key is None and spec.secret_key is None:
        return ChainCredentials(name, spec.profile)
    return PlanCredentials(name, spec, base)


class PlanCredentials(LookedUpCredentials):
    """The keys that the plan names, its references resolved on first use, and again when a server says that they have ended."""

    def __init__(self, name: str, spec: StoreSpec, base: Path) -> None:
        super().__init__(name, lambda anew: (self._resolve(anew), float("inf")))
        self._name = name
        self._spec = spec
        self._base = base

    def _resolve(self, anew: bool) -> Credentials:
        spec = self._spec
        access, secret = self._one("access_key", spec.access_key, anew), self._one("secret_key", spec.secret_key, anew)
        token = self._one("session_token", spec.session_token, anew) if spec.session_token else None
        return Credentials(access, secret, token)

    def _one(self, field: str, text: str | None, anew: bool) -> str:
        if not text:
            raise StoreDenied(f"store {self._name}: {field} is missing", hint="give access_key and secret_key, or neither")
        return plan_secret(self._name, field, text, base=self._base, anew=anew)
