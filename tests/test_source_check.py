"""`banjie sources check`, and what of sources.yaml stops a start."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from adapters.sources import SourceFileError, load_sources, read_sources
from service.config import Settings
from service.domain.complaint import UnitRef
from service.main import wire
from service.source_check import Finding, check
from tests.process import banjie, environment
from tests.served import rules, served, sqlite

LONG = "whsec_" + b64encode(b"a secret that is long enough").decode()
CITY = """\
ja-12345:
  adapter: hotline_12345
  channel: hotline-12345
  label: 吉安市12345
  region: "360800"
  field_map: {gd.bh: workOrderNo}
  regions: {"01": "360802"}
  coordinator: government_services
  secrets: [JA_SECRET, JA_SECRET_OLD]
"""


def env(tmp_path: Path, text: str | None = None, **more: str) -> dict[str, str]:
    if text is not None:
        (tmp_path / "sources.yaml").write_text(text, "utf-8")
        more["BANJIE_SOURCES"] = str(tmp_path / "sources.yaml")
    return environment(sqlite(tmp_path), **more)


def test_the_shipped_sources_are_sound_and_each_says_what_it_maps(tmp_path: Path) -> None:
    done = banjie("sources", "check", env=env(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 个来源；0 个错误，0 个提示" in done.stdout
    done = banjie("sources", "check", "--json", env=env(tmp_path))
    document = json.loads(done.stdout)
    assert document["findings"] == []
    told = {source["name"]: source for source in document["sources"]}
    assert set(told) == set(load_sources())
    assert told["tv-exposure"]["resolve"]["limit"] == "3 工作日"
    assert told["supervisor-suggestion"]["resolve"]["limit"] == "10 工作日"
    # 宜春's own 13710 holds for the channels of 宜春.
    assert told["youqiu-biying"]["resolve"]["limit"] == "7 日"
    assert told["wenzheng-ganzhou"]["coordinator"]["unit"].startswith("赣州市“五型”")
    assert told["governor-mailbox"]["clocks"] == {
        "limit": "replyDeadline",
        "starts": "transferTime",
    }


def test_a_sound_source_of_a_city_is_told_whole(tmp_path: Path) -> None:
    secrets = {"JA_SECRET": LONG, "JA_SECRET_OLD": LONG}
    done = banjie("sources", "check", env=env(tmp_path, CITY, **secrets))
    assert done.returncode == 0, done.stdout
    for word in (
        "令牌或签名 JA_SECRET JA_SECRET_OLD",
        "gd.bh → workOrderNo 工单编号",
        "01 → 360802",
        "吉安市行政审批局",
    ):
        assert word in done.stdout
    assert LONG not in done.stdout


def findings(tmp_path: Path, text: str, environ: dict[str, str]) -> list[Finding]:
    (tmp_path / "sources.yaml").write_text(text, "utf-8")
    book, _ = rules(None)
    return check(read_sources(tmp_path / "sources.yaml"), book, book.gazetteer, environ)


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ('region: "360800"', 'region: "369900"', 5, "没有代码为 369900"),
        ('"01": "360802"', '"01": "369902"', 7, "369902 不存在"),
        ("government_services", "goverment_services", 8, "不是条线或单位"),
        ("label: 吉安市12345", "label: 吉安市12345\n  lable: x", 5, "lable"),
        ("JA_SECRET_OLD", "JA_SECRET_NEXT", 9, "JA_SECRET_NEXT：环境变量没有设置"),
        ("JA_SECRET_OLD", "JA_BAD", 9, "JA_BAD：whsec_"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, word: str
) -> None:
    secrets = {"JA_SECRET": LONG, "JA_SECRET_OLD": LONG, "JA_BAD": "whsec_~"}
    (found,) = findings(tmp_path, CITY.replace(old, new), secrets)
    assert (found.line, found.grave) == (line, True)
    assert word in found.text


def test_a_wrong_file_ends_the_command_with_1_and_says_where(tmp_path: Path) -> None:
    given = env(tmp_path, CITY.replace("government_services", "nobody"), JA_SECRET=LONG)
    done = banjie("sources", "check", env=given)
    assert done.returncode == 1
    told = [row for row in done.stdout.splitlines() if row.startswith("错误")]
    assert all(
        f"{tmp_path}/sources.yaml:{n} ja-12345 " in row for n, row in zip((8, 9), told, strict=True)
    )
    document = json.loads(banjie("sources", "check", "--json", env=given).stdout)
    assert [(f["line"], f["grave"]) for f in document["findings"]] == [(8, True), (9, True)]


def test_a_file_that_is_no_yaml_is_told_in_one_document_too(tmp_path: Path) -> None:
    done = banjie("sources", "check", "--json", env=env(tmp_path, "a: ["))
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["line"] > 0
    assert "sources.yaml" in done.stderr


def test_what_may_be_meant_and_may_be_not_is_a_hint(tmp_path: Path) -> None:
    text = CITY.replace('  region: "360800"\n', "  clocks: {limit: qx}\n")
    found = findings(tmp_path, text, {"JA_SECRET": "short", "JA_SECRET_OLD": LONG})
    assert [(hint.line, hint.grave) for hint in found] == [(5, False), (7, False), (9, False)]
    assert "不足 24 字节" in found[2].text
    assert "short" not in str(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [('region: "360800"', 'region: "369900"'), ("government_services", "nobody")],
)
def test_a_source_for_what_there_is_not_stops_the_start(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(CITY.replace(old, new), "utf-8")
    with pytest.raises(SourceFileError, match="ja-12345"):
        wire(Settings(database_url=sqlite(tmp_path), sources=path), rules=rules(None))


def test_a_secret_that_is_not_set_stops_the_start_and_is_named(tmp_path: Path) -> None:
    given = env(tmp_path, CITY, JA_SECRET=LONG)
    done = banjie("serve", "--port", "0", env=given)
    assert done.returncode == 2
    assert "JA_SECRET_OLD：环境变量没有设置" in done.stderr
    assert "Traceback" not in done.stderr
    # Other commands need no secrets.
    made = banjie(
        "token", "create", "--role", "source", "--name", "x", "--source", "ja-12345", env=given
    )
    assert made.returncode == 0, made.stderr


def test_a_channel_s_own_coordinator_has_what_waits_for_sorting(tmp_path: Path) -> None:
    book, _ = rules(None)
    assert book.coordinator("360732").code == "360732-government_services"
    assert book.coordinator("360732", "wuxing_office").code == "360732-wuxing_office"
    assert book.coordinator("360732", "360732-media").code == "360732-media"
    with pytest.raises(KeyError):
        book.coordinator("360732", "nobody")
    vague = {
        "receiptno": "TV-1",
        "title": "有件事",
        "content": "请管一管",
        "posttime": "2026-11-20 20:00:00",
        "areaCode": "360732",
    }
    with served(sqlite(tmp_path), now="2026-11-23 09:00") as service:
        answer = service.post("/v1/intake/tv-exposure", vague)
        assert answer.status_code == 201, answer.text
        ticket = answer.json()["ticket"]
        assert ticket["state"] == "sorting"
        assert {m["unit"] for m in ticket["milestones"]} == {"360732-wuxing_office"}
        lead = UnitRef("360732-market_regulation", "")
        ticket = service.act(ticket, "dispatcher", "dispatch", unit=lead.unit, reason="核对后派单")
        ticket = service.act(ticket, "handler", "sign")
        ticket = service.act(ticket, "handler", "contact", text="已联系")
        ticket = service.act(ticket, "handler", "resolve", public_reply="已整改", solved=True)
    owed = [m for m in ticket["milestones"] if m["kind"] == "call_back"]
    assert [m["unit"] for m in owed] in ([], ["360732-wuxing_office"])


def test_a_list_and_a_call_back_are_told_with_what_they_lack(tmp_path: Path) -> None:
    text = (
        CITY
        + """\
  poll: {url: "https://jian.example/list", every: 5min, token: JA_LIST}
  callback: {url: "https://jian.example/told", secret: JA_TOLD}
"""
    )
    lines = text.splitlines()
    secrets = {"JA_SECRET": LONG, "JA_SECRET_OLD": LONG}
    found = findings(tmp_path, text, secrets)
    assert [(lines[each.line - 1].split(":")[0].strip(), each.grave) for each in found] == [
        ("poll", True),
        ("callback", True),
    ]
    assert "JA_LIST" in found[0].text
    assert "JA_TOLD" in found[1].text
    done = banjie(
        "sources", "check", env=env(tmp_path, text, **secrets, JA_LIST="t0ken", JA_TOLD=LONG)
    )
    assert done.returncode == 0, done.stdout
    assert "列表 https://jian.example/list，每 300 秒" in done.stdout
    assert "回告 https://jian.example/told" in done.stdout
    assert "t0ken" not in done.stdout
