"""Settings, all from the environment as `BANJIE_*`; the table in docs/settings.md is made of this."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may set. Secrets are never in a file of ours."""

    model_config = SettingsConfigDict(env_prefix="BANJIE_")

    database_url: str = Field(
        "sqlite:///var/banjie.db",
        description="Database: `sqlite:///path` or `postgresql://user@host/db`.",
    )
    sources: Path | None = Field(
        None, description="Path of a sources.yaml in place of the shipped one."
    )
    rules: Path | None = Field(
        None, description="Folder of rules laid over those shipped in routing_rules/data."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is logged, to standard error, one JSON object a line."
    )
    tick_seconds: float = Field(
        1.0, gt=0, le=60, description="How often due milestones are looked for."
    )
    intake_in_flight: int = Field(
        512,
        ge=1,
        le=100_000,
        description=(
            "How many pushes are worked on at once, three quarters of them of one source; more are"
            " answered with 503."
        ),
    )
    refresh_seconds: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="How often new rulings and calendar files are looked for.",
    )
    figures_seconds: float = Field(
        10.0,
        ge=0,
        le=300,
        description="How long the figures on /metrics are kept before recounting.",
    )
