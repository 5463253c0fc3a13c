"""Bytes from outside: what is read, what is refused, and what counts as the same payload."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters import payload
from adapters.payload import (
    BATCH_ITEMS,
    ITEM_BYTES,
    PARTS,
    Undecodable,
    decode,
    decode_batch,
    fingerprint,
)

TICKET = {"title": "路灯不亮", "content": "高兴镇圩上的路灯坏了快半个月", "n": 3, "x": None}
TEXT = json.dumps(TICKET, ensure_ascii=False)


def refusal(body: bytes, content_type: str = "") -> str:
    with pytest.raises(Undecodable) as caught:
        decode(body, content_type)
    return caught.value.detail


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8", ""),
        ("utf-8", "application/json"),
        ("utf-8-sig", "application/json"),
        ("utf-8", 'application/json; charset="UTF-8"'),
        ("gb18030", ""),
        ("gbk", "application/json"),
        ("gb18030", "application/json; charset=GB18030"),
        ("gb2312", "application/json;charset=gb2312"),
        ("gbk", "text/json; Charset=GBK; x=y"),
    ],
)
def test_an_object_is_read_in_utf_8_and_gb18030(encoding: str, content_type: str) -> None:
    assert decode(TEXT.encode(encoding), content_type) == TICKET


@pytest.mark.parametrize(
    ("body", "content_type", "word"),
    [
        (b"", "", "为空"),
        (b" \r\n\xef\xbb\xbf", "", "为空"),
        (b"[1]", "", "JSON 对象"),
        (b"null", "", "JSON 对象"),
        (b'"a"', "", "JSON 对象"),
        (b'{"a": 1,}', "", "不是合法的 JSON"),
        (b'{"a": 1} {"a": 2}', "", "不是合法的 JSON"),
        (b'{"a": 1, "a": 2}', "", "重复"),
        (b'{"b": [{"a": 1, "a": 1}]}', "", "重复"),
        (b'{"a": NaN}', "", "NaN"),
        (b'{"a": [-Infinity]}', "", "NaN"),
        (b'{"a": 1e999}', "", "超出范围"),
        (b'{"a": ' + b"9" * 33 + b"}", "", "过大"),
        (b'{"a": ' + b"9" * 5000 + b"}", "", "过大"),
        (b'{"a": "' + "灯".encode("gb18030") + b'\xff"}', "", "既不是"),
        (TEXT.encode("utf-16"), "", "既不是"),
        (TEXT.encode("gb18030"), "application/json; charset=utf-8", "所声明的字符集 UTF-8"),
        (TEXT.encode(), "application/json; charset=big5", "不支持"),
        (TEXT.encode() + b"\xff", "application/json; charset=gbk", "所声明的字符集 GB18030"),
    ],
)
def test_what_is_no_object_is_refused(body: bytes, content_type: str, word: str) -> None:
    assert word in refusal(body, content_type)


def test_a_character_cut_in_two_is_not_taken_for_gb18030() -> None:
    cut = '{"content": "高兴镇圩上那条街的路灯坏了'.encode()[:-1] + b'"}'
    cut.decode("gb18030", "replace")
    assert "残缺" in refusal(cut)


@pytest.mark.parametrize("depth", [17, 900, 90_000])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_bomb_of_depth_is_refused(depth: int, opened: bytes, closed: bytes) -> None:
    body = b'{"a":' + opened * depth + b"1" + closed * depth + b"}"
    assert "嵌套" in refusal(body)


def test_sixteen_levels_are_read() -> None:
    body = b'{"a":' + b"[" * 15 + b"1" + b"]" * 15 + b"}"
    assert set(decode(body)) == {"a"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_batch_is_an_array_or_lines(encoding: str) -> None:
    array = f"\n [{TEXT}, {TEXT}]\n"
    lines = f"{TEXT}\r\n\n{TEXT}\n"
    assert decode_batch(array.encode(encoding), "application/json") == [TICKET, TICKET]
    assert decode_batch(lines.encode(encoding), "application/x-ndjson") == [TICKET, TICKET]


def test_one_bad_line_harms_no_other() -> None:
    lines = [b'{"a": 1}', b"{", b'{"b": "\xff"}', b"[]", b'{"a": 1, "a": 1}', TEXT.encode("gbk")]
    found = decode_batch(b"\n".join(lines), "application/x-ndjson")
    assert [isinstance(item, Undecodable) for item in found] == [False, *[True] * 4, False]
    assert found[-1] == TICKET


def test_one_bad_item_of_an_array_harms_no_other() -> None:
    found = decode_batch(b'[{"a": 1}, 7, {"a": 1, "a": 1}, {"a": [NaN]}, {"a": 2}]')
    assert [isinstance(item, Undecodable) for item in found] == [False, True, True, True, False]
    assert (found[0], found[4]) == ({"a": 1}, {"a": 2})


@pytest.mark.parametrize("body", [b"", b"\n \n", b"[]", b"[1,", b"[{}] x"])
def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_batch(body)


def test_a_batch_has_a_thousand_items_at_most() -> None:
    assert len(decode_batch(b"{}\n" * BATCH_ITEMS)) == BATCH_ITEMS
    for body in (b"{}\n" * (BATCH_ITEMS + 1), b"[" + b"{}," * BATCH_ITEMS + b"{}]"):
        with pytest.raises(Undecodable, match="1000"):
            decode_batch(body)


@pytest.mark.parametrize(
    "body", [b"{},", b'{"a":1}, ', b"[],", b"[[[]]],", b'"' + b"x" * 9 + b'",']
)
def test_the_first_item_too_many_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    read: list[int] = []
    value = payload._value

    def counted(text: str, at: int) -> tuple[Any, int]:
        read.append(at)
        return value(text, at)

    monkeypatch.setattr(payload, "_value", counted)
    with pytest.raises(Undecodable, match="1000"):
        decode_batch(b"[" + body * 20_000 + b"{}]")
    assert len(read) == BATCH_ITEMS + 1
    with pytest.raises(Undecodable, match="1000"):
        decode_batch((body + b"\n") * 20_000 if not body.startswith(b"[") else b"{}\n" * 20_000)
    assert len(read) == BATCH_ITEMS + 1


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("letter", ["x", "灯"])
def test_an_item_of_a_batch_is_held_to_the_measure_of_a_payload(array: bool, letter: str) -> None:
    frame = len(b'{"a": ""}')
    fits = (ITEM_BYTES - frame) // len(letter.encode())
    rows = [f'{{"a": "{letter * (fits + more)}"}}' for more in (0, 1 + (letter == "x"), -9)]
    body = f"[{','.join(rows)}]" if array else "\n".join(rows)
    found = decode_batch(body.encode())
    assert [isinstance(item, Undecodable) for item in found] == [False, True, False]


def test_a_payload_has_ten_thousand_values_at_most() -> None:
    assert len(decode(json.dumps({"a": [0] * (PARTS - 2)}).encode())["a"]) == PARTS - 2
    overs: list[dict[str, Any]] = [{"a": [0] * (PARTS - 1)}, {str(n): [] for n in range(PARTS)}]
    for over in overs:
        body = json.dumps(over).encode()
        with pytest.raises(Undecodable, match="10000"):
            decode(body)
        for batch in (b"[" + body + b",{}]", body + b"\n{}\n"):
            first, second = decode_batch(batch)
            assert isinstance(first, Undecodable)
            assert second == {}


@pytest.mark.parametrize("part", ["[],", "{},", "0,", "[[]],"])
def test_what_has_values_without_measure_is_never_parsed(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def never(_text: str, _at: int) -> tuple[Any, int]:
        raise AssertionError("it may not be parsed")

    monkeypatch.setattr(payload, "_value", never)
    many = f'{{"a":[{part * 150_000}0]}}'
    with pytest.raises(Undecodable):
        decode(many.encode())
    for batch in (f"[{many}" + f",{many}" * 8 + "]", f"{many}\n" * 8):
        found: list[Any] = []
        with suppress(Undecodable):
            found = decode_batch(batch.encode())
        assert all(isinstance(item, Undecodable) for item in found)


@given(
    text=st.lists(st.sampled_from([*'[]{},:1 "\n', '"a"', '"a":', "{}"]), max_size=12).map("".join)
)
def test_an_array_is_read_item_by_item_as_it_is_read_whole(text: str) -> None:
    body = f"[{text}"
    try:
        whole = json.loads(body)
    except json.JSONDecodeError:
        whole = []
    try:
        found = decode_batch(body.encode())
    except Undecodable:
        assert whole == []
        return
    assert len(found) == len(whole)
    assert all(a == b or isinstance(a, Undecodable) for a, b in zip(found, whole, strict=True))


BYTES = (
    st.binary(max_size=60)
    | st.text(alphabet='{}[]",:0123456789.eE-+\\unNaI \n\ufeff灯', max_size=60).map(str.encode)
    | st.text(max_size=20).map(lambda text: json.dumps({"a": text}).encode("gb18030"))
)
TYPES = st.sampled_from(["", "application/json", "a/b; charset=gbk", "charset=utf8"]) | st.text()


@given(body=BYTES, content_type=TYPES)
@example(body=b"[" * 100_000, content_type="")
@example(body=b'{"a": "\\ud800"}', content_type="")
def test_no_bytes_raise_anything_else(body: bytes, content_type: str) -> None:
    try:
        assert isinstance(decode(body, content_type), dict)
    except Undecodable as fault:
        fault.detail.encode()
    try:
        items = decode_batch(body, content_type)
    except Undecodable:
        return
    assert all(isinstance(item, dict | Undecodable) for item in items)


@pytest.mark.parametrize(
    "same",
    [
        {"x": None, "n": 3, "content": TICKET["content"], "title": TICKET["title"]},
        {key: value for key, value in TICKET.items() if key != "x"},
        TICKET | {"title": " 路灯不亮\n"},
        TICKET | {"x": "", "list": [], "more": {"a": None}},
        TICKET | {"syncTime": "2026-11-18 09:12:33"},
    ],
)
def test_a_repeated_push_has_the_same_fingerprint(same: dict[str, Any]) -> None:
    assert fingerprint(same) == fingerprint(TICKET)


@pytest.mark.parametrize(
    "changed",
    [
        TICKET | {"title": "路灯不 亮"},
        TICKET | {"n": 4},
        TICKET | {"n": "3"},
        TICKET | {"x": False},
        TICKET | {"x": 0},
        TICKET | {"list": [None]},
        {"Title" if key == "title" else key: value for key, value in TICKET.items()},
    ],
)
def test_changed_content_has_another_fingerprint(changed: dict[str, Any]) -> None:
    assert fingerprint(changed) != fingerprint(TICKET)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert (
        fingerprint({"b": 1, "a": "灯"})
        == "942c1fdf6c8b709004d227866b41a667a1c3c8cf39278535a8862b045183e85f"
    )
