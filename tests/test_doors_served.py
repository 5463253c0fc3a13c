"""The doors as they are served: the sign-in page, `banjie user`, and what a browser may do there."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from service import cli_user
from service.domain.access import Actor, Role
from service.domain.sign_in import FREE, Counted, Record
from service.passwords import hashed
from service.store import accounts, sessions, tokens
from service.store.sessions import Recorded
from service.store.tokens import Use
from service.terminal import Refused
from tests.served import Served, served, sqlite
from tests.test_web import HERE, MARKET, Browser, form_of, new_token, receive, sign_in, signed_in
from tests.worlds import at

PASSWORD = "correct horse battery staple"
ENCODED = hashed(PASSWORD)
WHO = Actor("李某", Role.HANDLER, (MARKET,), region="360732")
ACTION = "/desk/sign-in/password"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with served(sqlite(tmp_path)) as running:
        running.client.follow_redirects = False

        async def add(parts: Any) -> None:
            await parts.store.run(lambda c: accounts.add(c, "li.si", WHO, ENCODED, parts.now()))

        running.run(add)
        yield running


def enter(service: Served, account: str = "li.si", password: str = PASSWORD, **more: str) -> Any:
    return Browser(service).press(
        "/desk/sign-in", ACTION, account=account, password=password, **more
    )


def test_an_account_and_its_password_open_the_desk(service: Served) -> None:
    answer = enter(service, " Li.Si ", next="/desk/tickets?q=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk/tickets?q=a")
    page = service.client.get("/desk/queue").text
    assert "李某" in page
    [session] = [c for c in answer.headers.get_list("set-cookie") if "banjie_session" in c]
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    assert "Path=/desk" in session
    assert "Max-Age=43200" in session


def test_a_wrong_password_an_unknown_account_and_none_read_alike(service: Served) -> None:
    found = []
    for account, password in (("li.si", "wrong"), ("nobody", PASSWORD), ("", "")):
        answer = enter(service, account, password)
        assert answer.status_code == 401
        assert "banjie_session" not in answer.headers.get("set-cookie", "")
        assert password not in answer.text or not password
        found.append(re.sub(r'value="\w+"', "", answer.text))
    assert len(set(found)) == 1


def test_who_tries_too_often_is_told_how_long_to_wait(service: Served) -> None:
    service.client.cookies.clear()
    for _ in range(FREE[Counted.PAIR] + 1):
        assert enter(service, password="wrong").status_code == 401
    answer = enter(service)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 31
    assert "请 1 分钟后再试" in answer.text
    service.clock.time += timedelta(seconds=31)
    assert enter(service).status_code == 303


def test_a_sign_in_form_that_was_not_shown_to_this_browser_is_refused(service: Served) -> None:
    forms = {
        ACTION: {"account": "li.si", "password": PASSWORD},
        "/desk/sign-in": {"token": service.tokens["handler"]},
    }
    for action, fields in forms.items():
        service.client.cookies.clear()
        assert service.client.post(action, data=fields, headers=HERE).status_code == 403
        another = form_of(service.client.get("/desk/sign-in").text, action)
        service.client.cookies.clear()
        service.client.get("/desk/sign-in")
        answer = service.client.post(action, data=another | fields, headers=HERE)
        assert answer.status_code == 403
        assert PASSWORD not in answer.text
        assert "banjie_session" not in answer.headers.get("set-cookie", "")


def test_a_sign_in_ends_the_session_that_the_browser_had(service: Served) -> None:
    enter(service)
    before = service.client.cookies["banjie_session"]
    enter(service)
    assert service.client.cookies["banjie_session"] != before
    assert service.client.get("/desk/queue").status_code == 200
    service.client.cookies.clear()
    service.client.cookies.set("banjie_session", before, path="/desk")
    assert service.client.get("/desk/queue").status_code == 303


def test_a_removed_persons_open_page_is_no_good(service: Served) -> None:
    no = receive(service)
    enter(service)
    page = f"/desk/tickets/{no}"
    form = form_of(service.client.get(page).text, f"{page}/acts/sign")

    async def remove(parts: Any) -> None:
        await parts.store.run(lambda c: accounts.remove(c, "li.si"))

    service.run(remove)
    answer = service.client.post(f"{page}/acts/sign", data=form, headers=HERE)
    assert answer.status_code == 401
    assert service.client.get(page).status_code == 303
    history = service.get(f"/v1/tickets/{no}/events").json()["items"]
    assert [event["act"] for event in history] == ["received", "dispatch"]


NEW = "绿水青山就是金山银山我们大家都知道"
ACCOUNT = "/desk/account"


def change(service: Served, password: str = PASSWORD, new: str = NEW, again: str = NEW) -> Any:
    fields = {"password": password, "new": new, "again": again}
    return Browser(service).press(ACCOUNT, ACCOUNT, **fields)


def test_who_changes_the_own_password_goes_on_and_is_out_everywhere_else(service: Served) -> None:
    enter(service)
    elsewhere = service.client.cookies["banjie_session"]
    service.client.cookies.clear()
    enter(service)
    before = service.client.cookies["banjie_session"]
    answer = change(service)
    assert (answer.status_code, answer.headers["location"]) == (303, ACCOUNT)
    assert service.client.cookies["banjie_session"] not in {before, elsewhere}
    assert "密码已更换" in service.client.get(ACCOUNT).text
    for old in (before, elsewhere):
        service.client.cookies.clear()
        service.client.cookies.set("banjie_session", old, path="/desk")
        assert service.client.get("/desk/queue").status_code == 303
    service.client.cookies.clear()
    assert enter(service).status_code == 401
    assert enter(service, password=NEW).status_code == 303
    log = service.run(lambda parts: parts.store.read(_log))
    assert [each.what for each in log].count(Record.ACCOUNT_CHANGED) == 1


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"password": "wrong"}, 422, "原密码不对"),
        ({"again": NEW + "！"}, 422, "两次输入的新密码不同"),
        ({"new": "short", "again": "short"}, 422, "至少 15 个字符"),
        ({"new": "li.si.li.si.li.si", "again": "li.si.li.si.li.si"}, 422, "太容易猜到"),
        ({"new": PASSWORD, "again": PASSWORD}, 422, "新密码与原密码相同"),
    ],
)
def test_a_password_that_will_not_do_changes_nothing(
    service: Served, fields: dict[str, str], status: int, said: str
) -> None:
    enter(service)
    answer = change(service, **fields)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert fields.get("new", NEW) not in answer.text
    assert PASSWORD not in answer.text
    assert service.client.get("/desk/queue").status_code == 200
    service.client.cookies.clear()
    assert enter(service).status_code == 303


def test_guessing_at_the_old_password_is_held_off_like_signing_in(service: Served) -> None:
    enter(service)
    answers = [change(service, password="wrong").status_code for _ in range(FREE[Counted.DEVICE])]
    assert set(answers) == {422}
    assert change(service, password="wrong").status_code == 422
    answer = change(service)
    assert answer.status_code == 429
    assert "retry-after" in answer.headers
    assert "可请系统管理员发一次性登录链接" in answer.text  # the same words as at the door


def test_who_was_let_in_by_a_link_need_not_know_the_old_password(service: Served) -> None:
    async def link(parts: Any) -> str:
        account = await parts.store.read(lambda c: accounts.find(c, "li.si"))
        ends = parts.now() + timedelta(hours=1)
        return str(
            await parts.store.run(
                lambda c: tokens.create(
                    c, WHO, parts.now(), use=Use.LINK, expires_at=ends, account_id=account.id
                )
            )
        )

    door = f"/desk/enter/{service.run(link)}"
    assert Browser(service).press(door, door).status_code == 303
    assert "原密码" not in service.client.get(ACCOUNT).text
    assert change(service, password="").status_code == 303
    # From now on it is known.
    assert change(service, password="", new=PASSWORD, again=PASSWORD).status_code == 422
    service.client.cookies.clear()
    assert enter(service, password=NEW).status_code == 303


def test_who_came_in_by_a_token_has_no_password_to_change(service: Served) -> None:
    signed_in(service, "handler")
    page = service.client.get(ACCOUNT).text
    assert "访问令牌" in page
    assert 'name="new"' not in page


def _log(connection: sa.Connection) -> Sequence[Recorded]:
    return sessions.recorded(connection, at("2026-11-01 00:00"), 100)


def test_the_log_has_no_names_and_no_addresses(
    service: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(service)
    enter(service, password="wrong")
    sign_in(service, token=service.tokens["handler"])
    signed_in(service, "handler").press("/desk/queue", "/desk/sign-out")
    told = "".join(capsys.readouterr())
    assert "sign_in.done" in told
    assert "sign_in.refused" in told
    for secret in ("李某", "li.si", "承办人", "testclient", PASSWORD, service.tokens["handler"]):
        assert secret not in told


@pytest.mark.parametrize("path", ["/desk/sign-in", "/desk/enter/x", "/desk/sign-in/oidc/back"])
def test_the_doors_have_the_headers_of_every_page(service: Served, path: str) -> None:
    answer = service.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "<script" not in answer.text


@pytest.mark.parametrize("region", ['360732"; filename="evil.exe', "360732\r\nX: y", "../../etc"])
def test_no_header_of_a_file_is_made_of_what_was_asked(service: Served, region: str) -> None:
    answer = service.client.get(
        "/v1/bulletins/2026-11",
        params={"region": region, "format": "xlsx"},
        headers=service.headers("admin"),
    )
    assert answer.status_code == 422
    assert "content-disposition" not in answer.headers


def test_a_link_brings_in_who_is_held_off(service: Served) -> None:
    for _ in range(FREE[Counted.PAIR] + 1):
        enter(service, password="wrong")
    assert enter(service).status_code == 429
    address = f"/desk/enter/{new_token(service, WHO, Use.LINK)}"
    assert Browser(service).press(address, address).status_code == 303


# The command line


def test_accounts_are_made_and_removed_at_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", sqlite(tmp_path))
    runner = CliRunner()

    def run(*arguments: str, typed: str = "") -> tuple[int, str]:
        """Return how a command ended, and all that it said."""
        ended = runner.invoke(cli_user.app, arguments, input=typed)
        if isinstance(ended.exception, Refused):
            return ended.exception.code, str(ended.exception)
        return ended.exit_code, ended.output

    add = [
        *("add", "li.si", "--name", "李某", "--role", "handler"),
        *("--unit", MARKET, "--region", "360732"),
    ]
    assert run(*add, typed="short\n")[0] == 2
    made = run(*add, typed=f"{PASSWORD}\n")
    assert made == (0, "已添加账号 li.si（李某，承办人）\n")
    assert run(*add, typed=f"{PASSWORD}\n") == (1, "已有账号“li.si”")
    assert run("add", "li.si", "--name", "某", "--role", "metrics")[0] == 2
    assert run("add", "li.si", "--name", "某", "--role", "boss")[0] == 2
    listed = json.loads(run("list", "--json")[1])
    assert [(each["account"], each["name"], each["units"]) for each in listed] == [
        ("li.si", "李某", [MARKET])
    ]
    assert "argon2" not in json.dumps(listed)
    assert run("password", "li.si", typed="another long sentence\n")[0] == 0
    assert run("password", "nobody", typed="another long sentence\n")[0] == 1
    assert run("remove", "li.si")[0] == 0
    assert run("remove", "li.si")[0] == 1
    kept = json.loads(run("log", "--json")[1])
    assert [each["what"] for each in kept] == [
        "account_removed",
        "account_changed",
        "account_added",
    ]
