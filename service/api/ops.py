"""For those who run it: alive, ready, and the metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.callers import bearer, caller
from service.domain.access import Ask, check_act
from service.domain.calendar import SHANGHAI
from service.parts import Parts
from service.store import StoreUnavailable
from service.store.engine import Schema

router = APIRouter(tags=["operations"])

_CALENDAR_DAYS = 60
# Balancers wait for three to five seconds.
_ANSWERS_S = 2.0
_SCHEMAS = {
    Schema.NONE: "数据库中还没有表",
    Schema.OLDER: "数据库的结构是较早版本的，或不是本系统的",
    Schema.SAME: "数据库的结构是本版本的",
    Schema.NEWER: "数据库的结构已是下一版本的：本实例可继续工作，请尽快升级",
}


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer as long as the process can."""
    return {"status": "alive"}


@router.get("/readyz", summary="Can it work?", responses={503: {"description": "Not ready"}})
async def readyz(app: Parts) -> JSONResponse:
    """Tell whether the store answers and is migrated, which rules are loaded, and how far the
    calendar reaches. A calendar that ends soon is said and does not make the service unready."""
    checks: dict[str, Any] = {}
    try:
        found = await app.readiness.look(_ANSWERS_S)
        checks["store"] = {"ok": True}
        checks["migrations"] = {"ok": found.works, "detail": _SCHEMAS[found]}
    except StoreUnavailable as error:
        checks["store"] = {"ok": False, "detail": f"数据库不可用：{error}"}
        checks["migrations"] = {"ok": False}
    checks["rules"] = {
        "ok": True,
        "rulebook": app.router.digest,
        "limits": app.times.limits.digest,
        "units": len(app.router.units()),
    }
    checks["sealing"] = {"ok": True}
    if said := app.custody.says:
        checks["sealing"]["detail"] = said
    calendar = app.times.calendar
    left = calendar.days_left(app.now().astimezone(SHANGHAI).date())
    checks["calendar"] = {
        "ok": True,
        "until": calendar.last.isoformat(),
        "days_left": left,
        "covers_next_60_days": left >= _CALENDAR_DAYS,
    }
    if left < _CALENDAR_DAYS:
        checks["calendar"]["detail"] = (
            f"放假安排只录入到 {calendar.last}，此后的到期时间为暂定；公布后请录入下一年"
        )
    ready = all(check["ok"] for check in checks.values())
    body = {"status": "ready" if ready else "not ready", "checks": checks}
    return JSONResponse(body, 200 if ready else 503)


@router.get("/metrics", response_class=PlainTextResponse, summary="For Prometheus")
async def metrics(request: Request, app: Parts) -> Response:
    """Return every series; the figures about tickets are some seconds old at most. A token is needed
    where the operator says so."""
    if not app.metrics_open:
        check_act(await caller(app, await bearer(request)), Ask.METRICS)
    counted_at, figures = await app.figures.at(app.now())
    days_left = app.times.calendar.days_left(counted_at.astimezone(SHANGHAI).date())

    def called(code: str) -> str:
        unit = app.router.unit(code)
        return unit.name if unit else code

    text = app.metrics.render(figures, counted_at, days_left, called)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
