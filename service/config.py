"""Settings, all from the environment as `BANJIE_*`; the table in docs/settings.md is made of this."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.domain.sign_in import PERSONS

_ROUNDING = 1e-9
# A letter or two that are wrong, lacking or too many; BANJIE_TEST_DATABASE_URL is another name.
_MISTYPED = 0.92


def pairs(text: str) -> dict[str, str]:
    """Return a small table as a setting has it, `value=meaning,value=meaning`, or raise ValueError."""
    found: dict[str, str] = {}
    for row in filter(None, (row.strip() for row in text.split(","))):
        value, is_row, meaning = (part.strip() for part in row.partition("="))
        if not (value and is_row and meaning) or value in found:
            msg = f"“{row}”应为“值=含义”，每个值只写一次，各行以逗号分开"
            raise ValueError(msg)
        found[value] = meaning
    return found


class Settings(BaseSettings):
    """What an operator may set. Secrets are never in a file of ours."""

    model_config = SettingsConfigDict(env_prefix="BANJIE_")

    database_url: str = Field(
        "sqlite:///var/banjie.db",
        description="Database: `sqlite:///path` or `postgresql://user@host1,host2/db`.",
    )
    database_connections: int = Field(
        16,
        ge=2,
        le=1000,
        description="How many connections to PostgreSQL this replica opens at most.",
    )
    database_connect_seconds: float = Field(
        3.0,
        gt=0,
        le=60,
        description="How long each server of the address has to answer a new connection.",
    )
    database_timeout_seconds: float = Field(
        30.0,
        ge=1,
        le=600,
        description=(
            "How long a transaction on PostgreSQL may take in a served process before it is given up"
            " and answered with 503."
        ),
    )
    keys: Path | None = Field(
        None,
        description=(
            "File with the keys of what people told; made and changed by `banjie keys`. Without it an"
            " SQLite database has one beside it, and PostgreSQL keeps a key within (see operations.md)."
        ),
    )
    anonymise_after_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description=(
            "So long after the last that happened to it a finished ticket is made anonymous; 0 is never."
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
        2000,
        ge=1,
        le=100_000,
        description=(
            "How many complaints wait at once, each line of a batch for itself, three quarters of"
            " them of one source; more are answered with 503."
        ),
    )
    feed_streams: int = Field(
        64,
        ge=0,
        le=10_000,
        description="How many streams of events are kept open at once; more are answered with 503.",
    )
    desk_streams: int = Field(
        256,
        ge=0,
        le=10_000,
        description=(
            "How many pages of the desk are kept up to date at once, four of them for one session;"
            " more look once a minute."
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

    audit_key: Path | None = Field(
        None,
        description=(
            "PEM file with the key (Ed25519) that signs the daily heads of the chain of events; made by"
            " `banjie audit key`."
        ),
    )
    session_idle_minutes: int = Field(
        60, ge=5, le=1440, description="A browser that asks for nothing so long is signed out."
    )
    session_hours: int = Field(
        12, ge=1, le=72, description="After so long a browser is signed out in any case."
    )
    metrics_open: bool = Field(
        True,
        description="Whether /metrics takes no token; else one of the role `metrics` or `admin`.",
    )
    oidc_issuer: str | None = Field(
        None, description="Identity provider (OpenID Connect): its issuer, as it names itself."
    )
    oidc_client_id: str | None = Field(None, description="As what this service is known there.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Its secret there; none for a public client."
    )
    oidc_label: str = Field("统一身份认证", description="What the button on the page says.")
    oidc_scopes: str = Field("openid profile", description="What is asked for.")
    oidc_name_claim: str = Field("name", description="Claim with a person's name.")
    oidc_role_claim: str = Field(
        "roles", description="Claim with roles or groups; a dotted name goes into objects."
    )
    oidc_unit_claim: str = Field("unit", description="Claim with a handler's units.")
    oidc_region_claim: str = Field(
        "region", description="Claim with the region, a GB/T 2260 code; `*` is everywhere."
    )
    oidc_roles: str = Field(
        "", description="Values of the role claim and what they are here: `value=role,value=role`."
    )
    oidc_units: str = Field(
        "",
        description="Values of the unit claim and the unit codes: `value=code`; empty if the same.",
    )
    public_url: str | None = Field(
        None,
        description="Where people reach this service, `https://host`; an identity provider needs it.",
        validate_default=True,
    )

    @field_validator("oidc_issuer", "public_url")
    @classmethod
    def _is_safe(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = urlsplit(address)
        here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if not parts.netloc or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
            msg = "应为 https:// 开头的地址（本机调试可用 http://127.0.0.1）"
            raise ValueError(msg)
        if parts.query or parts.fragment or parts.username:
            msg = "地址不能带用户名、? 或 #"
            raise ValueError(msg)
        return address

    @field_validator("oidc_roles")
    @classmethod
    def _names_roles(cls, text: str) -> str:
        for value, role in pairs(text).items():
            if role not in PERSONS:
                known = "、".join(sorted(PERSONS))
                msg = f"“{value}”对应的“{role}”不是可以登录的角色，应为 {known}"
                raise ValueError(msg)
        return text

    @field_validator("oidc_units")
    @classmethod
    def _names_units(cls, text: str) -> str:
        pairs(text)
        return text

    @field_validator("public_url")
    @classmethod
    def _provider_is_whole(cls, address: str | None, others: ValidationInfo) -> str | None:
        if others.data.get("oidc_issuer") is None:
            return address
        missing = [
            f"BANJIE_{name.upper()}"
            for name in ("oidc_client_id", "oidc_roles")
            if not others.data.get(name)
        ]
        if address is None:
            missing.append("BANJIE_PUBLIC_URL")
        if missing:
            msg = f"设置了 BANJIE_OIDC_ISSUER 就要同时设置 {'、'.join(missing)}"
            raise ValueError(msg)
        return address

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


def mistyped(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield those of these variables of the environment that are almost a setting's name, each with
    that one. Passed over, a mistyped address of the database would be an empty one beside it."""
    prefix = Settings.model_config["env_prefix"]
    known = {f"{prefix}{field}".upper() for field in Settings.model_fields}
    for name in names:
        upper = name.upper()
        if upper.startswith(prefix) and upper not in known:
            for near in get_close_matches(upper, known, 1, _MISTYPED):
                yield name, near
