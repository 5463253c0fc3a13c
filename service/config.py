"""Settings, all from the environment as `BANJIE_*`; the table in docs/settings.md is made of this."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ROUNDING = 1e-9


class Settings(BaseSettings):
    """What an operator may set. Secrets are never in a file of ours."""

    model_config = SettingsConfigDict(env_prefix="BANJIE_")

    database_url: str = Field(
        "sqlite:///var/banjie.db",
        description="Database: `sqlite:///path` or `postgresql://user@host/db`.",
    )
    migrate: bool = Field(
        True,
        description=(
            "Whether a start brings the schema up to date; else one that is older stops the start, and"
            " `banjie migrate` is for you to run."
        ),
    )
    closed_after_days: int = Field(
        730,
        ge=0,
        le=36_500,
        description=(
            "How long after its end a ticket's documents and deliveries are kept apart by month; 0 for"
            " never."
        ),
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
        1.0,
        gt=0,
        le=60,
        description="How often due milestones, and new events of the feed, are looked for.",
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
    feed_streams: int = Field(
        64,
        ge=0,
        le=10_000,
        description="How many streams of events are kept open at once; more are answered with 503.",
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
    rank_floor: int = Field(
        30, ge=1, le=1_000_000, description="How many cases a rate needs to be ranked."
    )
    score_response: float = Field(
        0.1, ge=0, le=1, description="Weight of 首次联系率 in the 三率 score."
    )
    score_satisfied: float = Field(0.4, ge=0, le=1, description="Weight of 满意率 in it.")
    score_solved: float = Field(
        0.5, ge=0, le=1, description="Weight of 解决率 in it; the three make 1."
    )
    score_basically: float = Field(
        0.9, ge=0, le=1, description="What a 基本满意 counts of a 满意 in it."
    )

    bulletin_praise_on_time: float = Field(
        0.98, ge=0, le=1, description="按时办结率 from which on the bulletin praises a unit."
    )
    bulletin_praise_satisfied: float = Field(
        0.95, ge=0, le=1, description="满意率 that it needs as well."
    )
    bulletin_praise_cases: int = Field(
        10, ge=1, le=1_000_000, description="How many cases each of these two must rest on."
    )
    bulletin_criticise_on_time: float = Field(
        0.85,
        ge=0,
        le=1,
        description="按时办结率 below which the bulletin criticises a unit; 0 for never.",
    )
    bulletin_criticise_cases: int = Field(
        10, ge=1, le=1_000_000, description="How many cases that must rest on."
    )
    bulletin_criticise_red: int = Field(
        1,
        ge=1,
        le=1_000_000,
        description="How many red cards of the month put a unit on the list of criticised ones.",
    )
    bulletin_criticise_back_refused: int = Field(
        3,
        ge=1,
        le=1_000_000,
        description="How many send-backs of the month that came back to the unit do so.",
    )

    @field_validator("bulletin_criticise_on_time")
    @classmethod
    def _criticise_below_praise(cls, share: float, others: ValidationInfo) -> float:
        if share > others.data.get("bulletin_praise_on_time", 1):
            msg = "批评线不能高于表扬线 BULLETIN_PRAISE_ON_TIME，否则同一单位既该表扬又该批评"
            raise ValueError(msg)
        return share

    @field_validator("score_solved")
    @classmethod
    def _weights_make_one(cls, solved: float, others: ValidationInfo) -> float:
        weights = (
            others.data.get("score_response", 0),
            others.data.get("score_satisfied", 0),
            solved,
        )
        if abs(sum(weights) - 1) > _ROUNDING:
            msg = "SCORE_RESPONSE、SCORE_SATISFIED、SCORE_SOLVED 三项权重之和应为 1"
            raise ValueError(msg)
        return solved
