"""Every environment variable that we read, typed, in one place.

Values come from the environment, then from `.env` in the working directory. Nothing is read at
import: a settings object is made where it is first needed, so definitions load without secrets.
A missing or malformed variable is a `ConfigurationError` that names it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from migration_assets.env_file import read_env_file
from migration_assets.errors import ConfigurationError
from migration_assets.extraction_hours import ExtractionHours
from migration_assets.setting_choices import (
    AlertFormat,
    ApplicationIntent,
    Authentication,
    CatalogType,
    EncryptMode,
    LogFormat,
    Reader,
    TlsMode,
    authentication_mode,
    encryption_mode,
)
from migration_assets.setting_values import (
    DEFAULT_MEMORY_MB,
    LEAST_MEMORY_MB,
    MAX_STARROCKS_SECONDS,
    Bucket,
    FileLocation,
    Host,
    Hours,
    MssqlHost,
    Seconds,
    SecretUrl,
    TimeZone,
    WarehousePath,
)

DEFAULT_TIMEOUT_S = 30
SET_IT = "Set it in the environment or in .env (`migration-assets init` writes one)."
"""The next step where a variable is missing or malformed."""
MAX_CONCURRENT_RUNS = 1024
"""Each run is a process."""
MAX_POOL_LIMIT = 1000
"""Of a pool of Dagster's."""
_HOST_NAME = r"^[^\s;{}\[\]]+$"
"""Host names and addresses, without what would end a value in a driver's configuration."""


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _without_blanks_around(cls, value: object, info: ValidationInfo) -> object:
        """Cut off what a file or a form left around a value; a password may have blanks."""
        kind = cls.model_fields[str(info.field_name)].annotation
        is_secret = SecretStr in {kind, *get_args(kind)}
        return value.strip() if isinstance(value, str) and not is_secret else value

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings now.

        Raises:
            ConfigurationError: names each variable that is missing or malformed.
        """
        read_env_file(Path(".env"))  # pydantic-settings passes over lines that it cannot read
        try:
            return cls(**overrides)
        except ValidationError as error:
            problems = "; ".join(_problem(cls, dict(entry)) for entry in error.errors())
            raise ConfigurationError(
                f"Settings: {problems}.",
                code="MA-CF-001",
                next_step=SET_IT,
            ) from None


def _problem(settings: type[BaseSettings], entry: dict[str, Any]) -> str:
    field = str(entry["loc"][0]) if entry["loc"] else ""
    # A variable that has a name of its own, without the prefix, is named by it already.
    is_variable = any(f.validation_alias == field for f in settings.model_fields.values())
    name = field if is_variable else _variable(settings, field)
    if entry["type"] == "missing":
        return f"{name} is not set"
    if entry["type"] == "value_error":  # our own words
        return f"{name}: {entry['msg'].removeprefix('Value error, ')}"
    return f"{name}: {entry['msg'][0].lower()}{entry['msg'][1:]}"


def _variable(settings: type[BaseSettings], field: str) -> str:
    known = settings.model_fields.get(field)
    alias = known.validation_alias if known is not None else None
    prefix = settings.model_config.get("env_prefix", "")
    return alias if isinstance(alias, str) else f"{prefix}{field}".upper()


class _PasswordSettings(_Settings):
    """Settings whose password may lie in AWS Secrets Manager."""

    password_secret_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_password(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Fetch the password that a secret's id stands for; one that is given goes before it."""
        secret_id = given.get("password_secret_id")
        if secret_id and not given.get("password"):
            from migration_assets.secrets_source import read_password

            return {**given, "password": read_password(secret_id, LakeSettings.load())}
        return given


LEAST_SALT = 16
"""Characters of a salt: fewer could be tried."""


class MssqlSettings(_PasswordSettings):
    """How to reach SQL Server, and the salt that goes there. Timeouts are in seconds."""

    model_config = SettingsConfigDict(env_prefix="MSSQL_")

    host: MssqlHost
    port: int = Field(1433, ge=1, le=65535)
    authentication: Annotated[Authentication, BeforeValidator(authentication_mode)] = (
        Authentication.SQL_PASSWORD
    )
    user: str = Field("", validate_default=True)
    password: SecretStr = Field(SecretStr(""), validate_default=True)
    database: str = Field(min_length=1)
    encrypt: Annotated[EncryptMode, BeforeValidator(encryption_mode)] = EncryptMode.YES
    trust_server_certificate: bool = False
    host_name_in_certificate: str | None = Field(None, pattern=_HOST_NAME)
    ca_file: str | None = Field(None, validation_alias="SSL_CERT_FILE")
    login_timeout_s: Seconds = DEFAULT_TIMEOUT_S
    query_timeout_s: Seconds = 3600
    application_intent: ApplicationIntent = ApplicationIntent.READ_WRITE
    pool_size: int = Field(2, ge=1)
    pool_timeout_s: Seconds = DEFAULT_TIMEOUT_S
    lock_timeout_s: Seconds = 5
    batch_rows: int = Field(65_536, ge=1)
    mask_salt: SecretStr | None = Field(None, validation_alias="MIGRATION_MASK_SALT")
    mask_salt_secret_id: str | None = Field(None, validation_alias="MIGRATION_MASK_SALT_SECRET_ID")

    @model_validator(mode="before")
    @classmethod
    def _read_salt(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Fetch the salt that a secret's id stands for; one that is given goes before it."""
        # By their variables where they come from the environment, by their fields from a caller.
        secret_id = given.get("MIGRATION_MASK_SALT_SECRET_ID") or given.get("mask_salt_secret_id")
        if secret_id and not given.get("MIGRATION_MASK_SALT") and not given.get("mask_salt"):
            from migration_assets.secrets_source import read_password

            return {**given, "MIGRATION_MASK_SALT": read_password(secret_id, LakeSettings.load())}
        return given

    @field_validator("mask_salt")
    @classmethod
    def _long_enough(cls, salt: SecretStr | None) -> SecretStr | None:
        if salt is not None and len(salt.get_secret_value()) < LEAST_SALT:
            raise ValueError(f"a salt has {LEAST_SALT} characters or more")
        return salt

    @field_validator("user", mode="before")
    @classmethod
    def _is_no_blank(cls, value: object) -> object:
        """Refuse blanks before they are cut off: then it looks as if no user were given."""
        if isinstance(value, str) and value and not value.strip():
            raise PydanticCustomError("string_too_short", "String should have at least 1 character")
        return value

    @field_validator("user", "password")
    @classmethod
    def _is_needed(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse to go without what the way to sign in needs."""
        way = info.data.get("authentication")
        is_given = bool(value.get_secret_value() if isinstance(value, SecretStr) else value)
        if not is_given and way is not None and way.has_password:
            raise PydanticCustomError("missing", "Field required")
        return value

    @property
    def login(self) -> str:
        """Who signs in, for messages."""
        return self.user or self.authentication.value

    @property
    def server(self) -> str:
        r"""`host,port`, or `host\\instance` as given: a named instance finds its own port."""
        return self.host if "\\" in self.host else f"{self.host},{self.port}"

    @property
    def verifies(self) -> bool:
        """Whether the server must prove who it is; `strict` demands it whatever is trusted."""
        return self.encrypt is EncryptMode.STRICT or (
            self.encrypt is EncryptMode.YES and not self.trust_server_certificate
        )


class LakeSettings(_Settings):
    """Object store and Iceberg catalog."""

    region: str = Field("us-east-1", validation_alias="AWS_REGION")
    access_key_id: str | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    session_token: SecretStr | None = Field(None, validation_alias="AWS_SESSION_TOKEN")
    profile: str | None = Field(None, validation_alias="AWS_PROFILE")
    endpoint_url: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL")
    ca_bundle: str | None = Field(None, validation_alias="AWS_CA_BUNDLE")
    bucket: Bucket | None = Field(None, validation_alias="S3_BUCKET")
    warehouse_path: WarehousePath = Field("warehouse", validation_alias="S3_WAREHOUSE_PATH")
    catalog_type: CatalogType = Field(CatalogType.GLUE, validation_alias="ICEBERG_CATALOG_TYPE")
    catalog_uri: str | None = Field(None, validation_alias="ICEBERG_CATALOG_URI")
    connect_timeout_s: Seconds = Field(DEFAULT_TIMEOUT_S, validation_alias="S3_CONNECT_TIMEOUT_S")
    request_timeout_s: Seconds = Field(60, validation_alias="S3_REQUEST_TIMEOUT_S")
    max_attempts: int = Field(10, ge=1, validation_alias="S3_MAX_ATTEMPTS")

    @property
    def local(self) -> bool:
        """Whether the warehouse is a local folder (`ICEBERG_CATALOG_TYPE=sql` without a bucket)."""
        return self.catalog_type is CatalogType.SQL and self.bucket is None

    @property
    def warehouse(self) -> str:
        """URI of the warehouse, without a trailing slash.

        Raises:
            ConfigurationError: no bucket, and the catalog is not a local one.
        """
        path = self.warehouse_path.strip("/")
        if self.bucket is not None:
            return f"s3://{self.bucket}/{path}" if path else f"s3://{self.bucket}"
        if self.local:
            # Not `as_uri`: pyiceberg takes the path of a URI as it stands, without decoding it.
            return f"file://{Path(self.warehouse_path).resolve()}"
        raise ConfigurationError(
            "Settings: S3_BUCKET is not set.",
            code="MA-CF-001",
            next_step=SET_IT,
        )


class StarRocksSettings(_PasswordSettings):
    """How to reach StarRocks, and how StarRocks itself reaches Glue and S3."""

    model_config = SettingsConfigDict(env_prefix="STARROCKS_")

    host: Host
    port: int = Field(9030, ge=1, le=65535)
    user: str = Field(min_length=1)
    password: SecretStr = SecretStr("")
    tls: Annotated[TlsMode, BeforeValidator(encryption_mode)] = TlsMode.PREFER
    tls_ca_file: str | None = None
    tls_trust_server_certificate: bool = False
    catalog: str = "lake"
    pool_size: int = Field(2, ge=1)
    pool_timeout_s: Seconds = DEFAULT_TIMEOUT_S
    connect_timeout_s: Seconds = DEFAULT_TIMEOUT_S
    insert_timeout_s: int = Field(14_400, ge=1, le=MAX_STARROCKS_SECONDS)
    query_timeout_s: int = Field(300, ge=1, le=MAX_STARROCKS_SECONDS)
    replication_num: int = Field(3, ge=1)
    aws_role_arn: str | None = None
    aws_use_instance_profile: bool = True
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_region: str | None = None
    aws_endpoint_url: str | None = None


class SparkSettings(_Settings):
    """How Spark is started; the names are those that users of the old script have."""

    model_config = SettingsConfigDict(env_prefix="SPARK_")

    master: str = "local[*]"
    driver_memory: str = "2g"
    executor_memory: str = "2g"
    sql_shuffle_partitions: int = Field(50, ge=1)
    reader: Reader = Reader.ARROW
    mssql_connections: int = Field(8, ge=1)
    recycle_tables: int = Field(50, ge=1)
    start_timeout_s: Seconds = 600
    python: str | None = None
    jdbc_fetch_size: int | None = Field(None, ge=1, validation_alias="JDBC_FETCH_SIZE")

    @property
    def local(self) -> bool:
        """Whether Spark runs in the driver's process, without a cluster."""
        return self.master.startswith("local")


class RetrySettings(_Settings):
    """How often and how long a step whose fault is transient is tried again."""

    model_config = SettingsConfigDict(env_prefix="MIGRATION_RETRY_")

    retries: int = Field(5, ge=0, validation_alias="MIGRATION_RETRIES")
    first_wait_s: float = Field(1.0, gt=0)
    longest_wait_s: float = Field(60.0, gt=0)
    within_s: float = Field(7200.0, gt=0)

    def wait_s(self, retry_number: int, *, at_least_s: float, draw: float) -> float:
        """Seconds to wait before a retry: doubled each time, bounded, and spread by half.

        Args:
            retry_number: 1 for the first.
            at_least_s: what the fault's rule asks for; bounded as well.
            draw: a random number from 0 to 1, so that steps that failed together do not come back
                together.
        """
        doubled = min(self.first_wait_s * 2.0 ** min(retry_number - 1, 32), self.longest_wait_s)
        return max(doubled * (0.5 + draw / 2), self.bounded(at_least_s) * (1 + draw / 2))

    def bounded(self, wait_s: float) -> float:
        """What a fault's rule asks for, so that half of it more is still no longer than allowed."""
        return min(wait_s, self.longest_wait_s / 1.5)


class AlertSettings(_Settings):
    """Where alerts go; docs/alerts.md."""

    model_config = SettingsConfigDict(env_prefix="MIGRATION_ALERT_")

    webhook_url: SecretUrl | None = None
    format: AlertFormat = AlertFormat.JSON
    timeout_s: Seconds = 10


class ProjectSettings(_Settings):
    """Where the project's own files are."""

    plan: FileLocation = Field("migration_plan.json", validation_alias="MIGRATION_PLAN")
    rules: str = Field("migration.yaml", validation_alias="MIGRATION_RULES")
    concurrent_runs: int | None = Field(
        None, ge=1, le=MAX_CONCURRENT_RUNS, validation_alias="MIGRATION_CONCURRENT_RUNS"
    )
    memory_mb: int = Field(
        DEFAULT_MEMORY_MB, ge=LEAST_MEMORY_MB, validation_alias="MIGRATION_MEMORY_MB"
    )
    window: Hours | None = Field(None, validation_alias="MIGRATION_WINDOW")
    window_timezone: TimeZone = Field("UTC", validation_alias="MIGRATION_WINDOW_TIMEZONE")
    max_extractions: int | None = Field(
        None, ge=1, le=MAX_POOL_LIMIT, validation_alias="MSSQL_MAX_EXTRACTIONS"
    )
    table_jobs: bool = Field(True, validation_alias="MIGRATION_TABLE_JOBS")  # noqa: FBT003
    jars: str | None = Field(None, validation_alias="MIGRATION_JARS")
    log_format: LogFormat = Field(LogFormat.TEXT, validation_alias="MIGRATION_LOG_FORMAT")
    maven_url: str = Field("https://repo1.maven.org/maven2", validation_alias="MIGRATION_MAVEN_URL")

    @property
    def run_slots(self) -> int:
        """How many runs go at once: as many as there are cores, unless set."""
        return self.concurrent_runs or os.cpu_count() or 1

    @property
    def hours(self) -> ExtractionHours | None:
        """When extractions may begin; None for always."""
        if self.window is None:
            return None
        return ExtractionHours.parse(self.window, self.window_timezone)


SETTINGS: tuple[type[BaseSettings], ...] = (
    MssqlSettings,
    LakeSettings,
    StarRocksSettings,
    SparkSettings,
    RetrySettings,
    AlertSettings,
    ProjectSettings,
)
"""Every class that reads variables."""


def variables(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """Each environment variable that a class reads, with its field."""
    return {_variable(settings, name): field for name, field in settings.model_fields.items()}


def export_env_file(path: Path = Path(".env")) -> None:
    """Put what `.env` sets, and the environment does not, into the environment.

    Dagster's `EnvVar`s and the AWS libraries look nowhere else. Empty values count as not set. Our
    own variables are exported in capitals, as they look for them: in the file case does not matter.

    Raises:
        ConfigurationError: the file, or a line of it, cannot be read.
    """
    ours = {name for settings in SETTINGS for name in variables(settings)}
    given = {
        name.upper() if name.upper() in ours else name: value  # of several the last counts
        for name, value in read_env_file(path).items()
        if value
    }
    for name, value in given.items():
        if not os.environ.get(name):
            os.environ[name] = value
