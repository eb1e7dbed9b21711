"""The one settings object: which doors are used and where the embedded default keeps its state.

Read from the environment (``MLOPS_*``), then ``mlops.toml`` in the working directory, then the defaults here. Nothing
else reads the environment.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from mlops_assets.errors import UserError

PREFIX = "MLOPS_"
FILE = "mlops.toml"
#: How near to a setting's name a variable must be to be taken for a misspelling; other programs may use the prefix too.
MISSPELT = 0.75


class Settings(BaseSettings):
    """Every switch of the platform; each has a default with which a laptop needs no account anywhere."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file=FILE, frozen=True, extra="forbid")

    home: Path = Field(default=Path(".mlops"), description="holds everything of the embedded default; removing it resets")
    store_url: str | None = Field(default=None, description="`file:///…` or `s3://bucket/prefix`; None: `<home>/store`")
    s3_endpoint: str | None = Field(
        default=None, description="S3-compatible service other than AWS, e.g. `http://127.0.0.1:9000`"
    )
    mlflow_tracking_uri: str | None = Field(default=None, description="None: SQLite at `<home>/mlflow/mlflow.db`")
    history_folder: Path | None = Field(
        default=None, description="git repository of the training history; None: `<home>/history`"
    )
    language: Literal["auto", "ja", "en"] = Field(default="auto", description="auto follows the issue's own text")
    actor: str | None = Field(default=None, description="who commands typed here act as; None: the operating system's user")
    endpoint_host: str = Field(default="127.0.0.1", description="address that model servers bind to")
    tracker: Literal["folder", "github"] = Field(default="folder", description="where issues live")
    github_repository: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", description="`owner/name`; needed with `tracker = github`"
    )
    github_api_url: str = Field(default="https://api.github.com", description="another one for GitHub Enterprise Server")
    github_token: SecretStr | None = Field(default=None, description="a token that may write issues and contents")
    github_app_id: int | None = Field(default=None, description="a GitHub App instead of a token")
    github_app_private_key: Path | None = Field(default=None, description="PEM file of the GitHub App")
    github_app_installation: int | None = Field(default=None, description="None: the installation on the repository")
    webhook_secret: SecretStr | None = Field(default=None, description="secret of the repository's webhook")
    second_person: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="whether production, or a cost above the cap, needs an approver other than the requester; auto: on GitHub",
    )
    slack_webhook_url: SecretStr | None = Field(default=None, description="incoming webhook of the Slack channel")
    pagerduty_routing_key: SecretStr | None = Field(default=None, description="integration key of a PagerDuty Events v2 service")
    pagerduty_url: str = Field(default="https://events.pagerduty.com/v2/enqueue", description="Events v2 address")
    smtp_host: str | None = Field(default=None, description="mail server of the `email` channel")
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_user: str | None = Field(default=None)
    smtp_password: SecretStr | None = Field(default=None)
    smtp_security: Literal["starttls", "tls", "none"] = Field(default="starttls", description="none: a relay on this machine")
    mail_from: str | None = Field(default=None, description="sender of mails")
    mail_to: Annotated[tuple[str, ...], NoDecode] = Field(default=(), description="recipients of mails, with commas between")
    webserver_url: str = Field(default="http://127.0.0.1:3000", description="Dagster UI, for links")
    mlflow_url: str = Field(default="http://127.0.0.1:5000", description="MLflow UI, for links")
    cost_cap_usd: float | None = Field(
        default=None, ge=0, description="largest cost of one training; None: the request's own cap only"
    )
    memory_limit: str = Field(
        default="2GB", pattern=r"^\d+(MB|GB)$", description="memory of data preparation; beyond it spills to disk"
    )
    training_time_limit_seconds: float = Field(default=24 * 3600.0, gt=0)
    training_retries: int = Field(
        default=3, ge=0, le=10, description="further tries of a training process that was killed from outside"
    )

    @field_validator("mail_to", mode="before")
    @classmethod
    def _separated(cls, addresses: object) -> object:
        if not isinstance(addresses, str):
            return addresses
        if addresses.lstrip().startswith("["):  # as pydantic writes a list into a variable
            return json.loads(addresses)
        return tuple(part.strip() for part in addresses.split(",") if part.strip())

    @field_validator("home", "history_folder", "github_app_private_key")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().resolve()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before ``mlops.toml`` before defaults; no .env files."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def resolved_store_url(self) -> str:
        """The object store's URL, the embedded one included."""
        return self.store_url or (self.home.resolve() / "store").as_uri()

    @property
    def resolved_home(self) -> Path:
        """``home`` as an absolute path, also where the default was taken."""
        return self.home.resolve()


def _is_secret(name: str) -> bool:
    """Whether a setting's value must not be shown, not even a wrong one."""
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def read_settings() -> Settings:
    """The settings of this process and working directory.

    Raises:
        UserError: a value is not allowed, ``mlops.toml`` is unreadable or names an unknown setting, or a variable's name
            is a setting's, misspelt.
    """
    known = list(Settings.model_fields)
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX).lower()
        near = difflib.get_close_matches(name, known, n=1, cutoff=MISSPELT)
        if variable.startswith(PREFIX) and name not in known and near:
            raise UserError(
                "there is no such setting",
                field=variable,
                next_step=f"did you mean {PREFIX}{near[0].upper()}?",
            )
    try:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{FILE} is not TOML", field=FILE, given=error, next_step="mend that line") from error
    except ValidationError as invalid:
        first = invalid.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else FILE
        variable = f"{PREFIX}{name.upper()}"
        place = variable if variable in os.environ else f"{name} in {FILE}"
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                "there is no such setting",
                field=place,
                allowed=known,
                next_step=f"did you mean {near[0]}?" if near else None,
            ) from invalid
        raise UserError(
            f"this setting cannot be used: {first['msg']}",
            field=place,
            given="(a secret)" if _is_secret(name) else first["input"],
            next_step=f"it means: {Settings.model_fields[name].description}" if Settings.model_fields[name].description else None,
        ) from invalid
