"""AWS Secrets Manager, by the operator's usual chain of credentials.

A region stands in the secret's ARN, else it is the chain's. Another endpoint is what `AWS_ENDPOINT_URL_SECRETS_MANAGER` says, as for
AWS's own tools. Source: Secrets Manager API reference (GetSecretValue, PutSecretValue, CreateSecret).
"""

from __future__ import annotations

import threading
from typing import Any

from backends.escape import plain
from backends.plan.references import Reference
from backends.secrets.errors import SecretDenied, SecretMissing, SecretRefused, SecretUnreachable
from backends.secrets.protocol import SECONDS

_LATER = frozenset({"ThrottlingException", "TooManyRequestsException", "InternalServiceError", "ServiceUnavailable"})


class AwsSecrets:
    """Its clients are made on the first call: botocore takes about a second."""

    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, reference: Reference) -> str:
        said = self._call(reference, "get_secret_value", SecretId=reference.name)
        if "SecretString" in said:
            return str(said["SecretString"])
        try:
            return bytes(said["SecretBinary"]).decode("utf-8")
        except (KeyError, UnicodeDecodeError) as error:
            raise SecretDenied(f"{reference.text}: found bytes that are not UTF-8, expected text") from error

    def write(self, reference: Reference, value: str) -> None:
        try:
            self._call(reference, "put_secret_value", SecretId=reference.name, SecretString=value)
        except SecretMissing:
            if reference.name.startswith("arn:"):
                raise
            self._call(reference, "create_secret", Name=reference.name, SecretString=value)

    def _call(self, reference: Reference, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, NoCredentialsError

        try:
            found: dict[str, Any] = getattr(self._client(reference), operation)(**arguments)
            return found
        except NoCredentialsError as error:
            raise SecretDenied(f"{reference.text}: no credentials found", hint="log in with aws, or set AWS_PROFILE") from error
        except ClientError as error:
            told = error.response.get("Error", {})
            code = str(told.get("Code", ""))
            message = f"{reference.text}: AWS says {plain(code, 60)}: {plain(str(told.get('Message', '')), 200)}"
            if code == "ResourceNotFoundException":
                raise SecretMissing(message, hint="look at its name and at the region") from error
            if code in _LATER:
                raise SecretUnreachable(message) from error
            if operation == "get_secret_value":
                raise SecretDenied(message, hint="it takes secretsmanager:GetSecretValue, and kms:Decrypt of its key") from error
            raise SecretRefused(message, hint="it takes secretsmanager:CreateSecret and PutSecretValue") from error
        except (ConnectionError, HTTPClientError) as error:
            raise SecretUnreachable(
                f"{reference.text}: no answer from AWS", hint="look at the network and the endpoint"
            ) from error
        except BotoCoreError as error:
            raise SecretDenied(
                f"{reference.text}: {plain(str(error), 200)}", hint="look at AWS_REGION and AWS_PROFILE"
            ) from error

    def _client(self, reference: Reference) -> Any:
        parts = reference.name.split(":")
        region = parts[3] if reference.name.startswith("arn:") and len(parts) > 6 else ""
        with self._lock:
            if region not in self._clients:
                import botocore.session
                from botocore.config import Config

                config = Config(connect_timeout=5, read_timeout=SECONDS, retries={"max_attempts": 3, "mode": "standard"})
                session = botocore.session.get_session()
                self._clients[region] = session.create_client("secretsmanager", region_name=region or None, config=config)
            return self._clients[region]
