"""One's own account: who the service takes one for, and another password."""

from fastapi import APIRouter
from starlette.responses import Response

from service.doors import Busy, HeldOff, NoPassword, Refused, Weak
from service.labels import WAYS
from service.web.refusals import refusal
from service.web.sessions import PATH, Signed, SignedForm, Visit
from service.web.sign_in import come_in, comer, later
from service.web.words import PASSWORD_CHANGED

router = APIRouter()

_PAGE = f"{PATH}/account"


@router.get("/desk/account")
async def shown(visit: Signed) -> Response:
    """Show who one is signed in as."""
    return await _shown(visit)


@router.post("/desk/account")
async def change(visit: Signed, form: SignedForm) -> Response:
    """Give the own account another password; its other sessions end."""
    old, new = form.one("password"), form.one("new")
    if new != form.one("again"):
        return await _shown(visit, 422, "两次输入的新密码不同，请重新输入。", "again")
    if new == old:
        return await _shown(visit, 422, "新密码与原密码相同，请另选一个。", "new")
    try:
        session = await visit.app.doors.change_password(
            visit.session, old, new, comer(visit.request)
        )
    except Weak as error:
        return await _shown(visit, 422, f"{error}。", "new")
    except Refused:
        return await _shown(visit, 422, "原密码不对，密码没有更换。", "password")
    except NoPassword:
        return await _shown(visit, 409, "您不是用密码登录的，没有可以更换的密码。")
    except (HeldOff, Busy) as error:
        why = refusal(error)
        return later(error, await _shown(visit, why.status, why.detail))
    return come_in(visit.request, visit.app, session, _PAGE, PASSWORD_CHANGED)


async def _shown(visit: Visit, status: int = 200, refused: str = "", at: str = "") -> Response:
    account = await visit.app.doors.account(visit.session)
    return visit.page(
        "account.html",
        status,
        account=account,
        way=visit.session.way,
        WAYS=WAYS,
        region_name=visit.app.gazetteer.name,
        units=[visit.unit_name(unit) for unit in visit.by.units],
        refused=refused,
        at=at,
    )
