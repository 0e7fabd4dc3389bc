"""Passwords from AWS Secrets Manager, for those who keep none in the environment.

Facts: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html, and
the JSON form of secrets that RDS and the console make:
https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from pydantic import SecretStr

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLostError,
    ObjectNotFoundError,
)

if TYPE_CHECKING:
    from migration_assets.settings import LakeSettings

MAX_ATTEMPTS = 3
"""Attempts of the request; each has botocore's own timeouts of 60 seconds."""
_DENIED = {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException"}


def read_password(secret_id: str, aws: LakeSettings) -> SecretStr:
    """Read a password: the secret's text, or `password` of it where it is a JSON object.

    Args:
        secret_id: name or ARN of the secret.
        aws: region, endpoint and credentials; without keys the ambient credentials chain.

    Raises:
        ObjectNotFoundError: there is no such secret.
        AccessDeniedError: its value may not be read.
        ConfigurationError: it holds no password, or AWS refuses the request.
        ConnectionLostError: Secrets Manager cannot be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from dagster_aws.secretsmanager.secrets import construct_secretsmanager_client

    secret_key, token = aws.secret_access_key, aws.session_token
    try:
        client = construct_secretsmanager_client(
            max_attempts=MAX_ATTEMPTS,
            region_name=aws.region,
            profile_name=aws.profile,
            endpoint_url=aws.endpoint_url,
            aws_access_key_id=aws.access_key_id,
            aws_secret_access_key=secret_key.get_secret_value() if secret_key else None,
            aws_session_token=token.get_secret_value() if token else None,
        )
        with closing(client):
            answer = client.get_secret_value(SecretId=secret_id)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        where = f"Secret {secret_id} in {aws.region}"
        if code == "ResourceNotFoundException":
            raise ObjectNotFoundError(
                f"{where} does not exist.",
                code="MA-CF-007",
                next_step="Check its name or ARN, and AWS_REGION.",
            ) from None
        if code in _DENIED:
            raise AccessDeniedError(
                f"{where} may not be read: {code}.",
                code="MA-CF-008",
                next_step="Grant secretsmanager:GetSecretValue on it.",
            ) from None
        raise ConfigurationError(f"{where} cannot be read: {code}.", code="MA-CF-010") from None
    except (HTTPClientError, BotoConnectionError) as error:
        raise ConnectionLostError(
            f"Secrets Manager in {aws.region} cannot be reached: {type(error).__name__}.",
            code="MA-CF-009",
        ) from None
    except BotoCoreError as error:
        raise ConfigurationError(
            f"Secret {secret_id} cannot be read: {error}.", code="MA-CF-010"
        ) from None
    return _password(secret_id, answer.get("SecretString"))


def _password(secret_id: str, text: str | None) -> SecretStr:
    if not text:
        raise ConfigurationError(
            f"Secret {secret_id} holds no text.",
            code="MA-CF-010",
            next_step="Store the password as text.",
        )
    try:
        content = json.loads(text)
    except ValueError:
        return SecretStr(text)
    if not isinstance(content, dict):
        return SecretStr(text)
    password = content.get("password")
    if not isinstance(password, str) or not password:
        raise ConfigurationError(
            f"Secret {secret_id} is a JSON object without a text `password`.",
            code="MA-CF-010",
            next_step="Add that key, or store the password alone.",
        )
    return SecretStr(password)
