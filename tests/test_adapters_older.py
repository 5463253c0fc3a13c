"""Forms and XML: what older systems send, and what is refused of it."""

from pathlib import Path
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.payload import (
    BATCH_ITEMS,
    ITEM_BYTES,
    Undecodable,
    WrongMedia,
    decode,
    decode_batch,
)

XML = "application/xml"
FORM = "application/x-www-form-urlencoded"
TICKET = {"bh": "GD-1", "bt": "路灯不亮", "nr": "高兴镇圩上的路灯坏了快半个月 & 没人修 <急>"}
ORDER = (
    "<order><bh>GD-1</bh><bt>路灯不亮</bt>"
    "<nr>高兴镇圩上的路灯坏了快半个月 &amp; 没人修 <![CDATA[<急>]]></nr></order>"
)


def refusal(body: bytes, content_type: str) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(body, content_type)
    return caught.value.detail


@pytest.mark.parametrize(
    ("head", "encoding", "content_type"),
    [
        ("", "utf-8", XML),
        ("", "utf-8-sig", "text/xml"),
        ("", "gbk", "text/xml; charset=gb2312"),
        ("", "gb18030", "application/soap+xml"),
        ('<?xml version="1.0" encoding="GB2312"?>\n', "gbk", XML),
        ("<?xml version='1.0' encoding='UTF-8' standalone='yes'?>", "utf-8", XML),
        # Who forwards a document changes its charset, and never its first line.
        ('<?xml version="1.0" encoding="GBK"?>', "utf-8", "text/xml; charset=utf-8"),
    ],
)
def test_xml_is_read_in_the_charset_it_comes_in(
    head: str, encoding: str, content_type: str
) -> None:
    assert decode((head + ORDER).encode(encoding), content_type) == TICKET


def test_elements_and_attributes_become_fields() -> None:
    body = b"""
    <s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:i="urn:i">
      <s:Body><push xmlns="urn:x"><bh type="string">1</bh><row k="a" i:nil="true"/>
      <f>1</f><f>2</f><none/><mixed>t<u>v</u></mixed></push></s:Body>
    </s:Envelope>"""
    assert decode(body, XML) == {
        "Body": {
            "push": {
                "bh": "1",
                "bh.type": "string",
                "row": {"k": "a"},
                "f": ["1", "2"],
                "none": "",
                "mixed": {"u": "v", "text": "t"},
            }
        }
    }


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]><lolz><a>&lol2;</a></lolz>"""


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (LAUGHS, "DOCTYPE"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><b>&x;</b></a>', "DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a><b>1</b></a>', "DOCTYPE"),
        (b"<a><b>&x;</b></a>", "XML"),
        (b"<a>" * 17 + b"<b>1</b>" + b"</a>" * 17, "嵌套"),
        (b"<a>" * 40_000 + b"</a>" * 40_000, "嵌套"),
        (b"<a>" + b"<b/>" * 10_000 + b"</a>", "10000"),
        (b"<a>" + b"<b/>" * 150_000 + b"</a>", "10000"),
        (b"<a " + b" ".join(b'a%d=""' % n for n in range(20_000)) + b"/>", "10000"),
        (b"<a><b>1</a>", "第 1 行第"),
        (b"<a>1</a>", "字段"),
        (b"<a/><a/>", "XML"),
        (b"", "为空"),
        (b'<?xml version="1.0" encoding="big5"?><a/>', "不支持"),
        (b'<?xml version="1.0" encoding="utf-16"?><a/>', "不支持"),
        ("<a><b>灯</b></a>".encode("utf-16"), "既不是"),
        (b"<a><b>\x00</b></a>", "XML"),
        (b'{"a": 1}', "Content-Type"),
        (b"a=1&b=2", "Content-Type"),
    ],
)
def test_xml_that_is_unsound_is_refused(body: bytes, word: str) -> None:
    assert word in refusal(body, XML)


def test_no_document_reaches_for_another(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("绝密", "utf-8")
    body = f'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{secret}"/></a>'
    assert decode(body.encode(), XML) == {"include": {"href": str(secret)}}


def test_a_batch_of_xml_is_what_lies_below_its_root() -> None:
    items = decode_batch(f"<orders>{ORDER}<order>甲</order>{ORDER}</orders>".encode(), XML)
    assert isinstance(items[1], Undecodable)
    assert (items[0], items[2]) == (TICKET, TICKET)


def test_a_tag_without_measure_is_never_parsed() -> None:
    tag = b"<a " + b" ".join(b'a%d=""' % n for n in range(20_001)) + b"/>"
    with pytest.raises(Undecodable, match="10000"):
        decode_batch(b"<l><a><b>1</b></a>" + tag + b"</l>", XML)
    text = b"<l><a><b>" + b"=" * 20_000 + b"</b></a></l>"
    assert decode_batch(text, XML) == [{"b": "=" * 20_000}]


def test_a_batch_of_xml_has_a_measure() -> None:
    with pytest.raises(Undecodable, match="1000"):
        decode_batch(b"<l>" + b"<o><a>1</a></o>" * (BATCH_ITEMS + 1) + b"</l>", XML)
    long = b"<o><a>" + b"x" * ITEM_BYTES + b"</a></o>"
    first, second = decode_batch(b"<l>" + long + b"<o><a>1</a></o></l>", XML)
    assert isinstance(first, Undecodable)
    assert second == {"a": "1"}
    with pytest.raises(Undecodable, match="过多"):
        decode_batch(b"<l>" + b"<o/>" * 1_100_000 + b"</l>", XML)
    with pytest.raises(Undecodable, match="为空"):
        decode_batch(b"<l/>", XML)


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8", FORM),
        ("utf-8", f"{FORM}; charset=UTF-8"),
        ("gb18030", FORM),
        ("gbk", f"{FORM};charset=GBK"),
    ],
)
def test_a_form_is_read_in_either_charset(encoding: str, content_type: str) -> None:
    body = urlencode(TICKET, encoding=encoding).encode()
    assert decode(body, content_type) == TICKET
    raw = "&".join(f"{k}={quote_plus(v, safe='灯')}" for k, v in {"bt": "路灯"}.items())
    assert decode(raw.encode("utf-8"), FORM) == {"bt": "路灯"}


def test_a_name_that_comes_twice_in_a_form_is_a_list() -> None:
    assert decode(b"fl=a&fl=b&x=", FORM) == {"fl": ["a", "b"], "x": ""}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "为空"),
        (b"abc", "名称=值"),
        (b"a=1&b", "名称=值"),
        (b"=1", "名称=值"),
        (b"&&", "名称=值"),
        (b'{"a": 1}', "Content-Type"),
        (b' [{"a": 1}]', "Content-Type"),
        (b"<a>1</a>", "Content-Type"),
        (b"a=%B5%C6%FF", "既不是"),
        (b"&".join(b"a%d=1" % n for n in range(10_001)), "10000"),
        (b"&".join(b"a" for _ in range(10_001)), "10000"),
        (b"a=1&" * 150_000, "10000"),
    ],
)
def test_a_form_that_is_none_is_refused(body: bytes, word: str) -> None:
    assert word in refusal(body, FORM)
    with pytest.raises(WrongMedia, match="逐条"):
        decode_batch(body, FORM)


@pytest.mark.parametrize("body", [b"<a><b>1</b></a>", b"\xef\xbb\xbf<a/>", b"gd.bh=1&bt=%E7%81%AF"])
@pytest.mark.parametrize("content_type", ["", "application/json", "application/x-ndjson"])
def test_what_is_said_to_be_json_is_held_to_it(body: bytes, content_type: str) -> None:
    assert "Content-Type" in refusal(body, content_type)
    try:
        (found,) = decode_batch(body, content_type)
    except Undecodable as whole:
        found = whole
    assert isinstance(found, Undecodable)
    assert "Content-Type" in found.detail


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/octet-stream", "multipart/form-data; boundary=x", "image/png", "?"],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    for read in (decode, decode_batch):
        with pytest.raises(WrongMedia, match="application/json"):
            read(b"{}", content_type)


PIECES = st.lists(
    st.sampled_from(
        [
            "<a>",
            "</a>",
            "<b\tx='1'>",
            "</b>",
            "<a/>",
            "&amp;",
            "&#0;",
            "&x;",
            "<!DOCTYPE\ta>",
            "]]>",
            "<![CDATA[",
            "<!--",
            "-->",
            "<?xml\tversion='1.0'?>",
            "灯",
            "\x00",
            "=",
            "&",
            "%",
            "%B5",
        ]
    ),
    max_size=20,
).map("".join)
TYPES = st.sampled_from([XML, FORM, "text/xml; charset=gbk", f"{FORM}; charset=utf-8", "a/b+xml"])


@given(body=st.binary(max_size=60) | PIECES.map(str.encode), content_type=TYPES)
@example(body=b"<a>" * 60_000, content_type=XML)
@example(body=b"%", content_type=FORM)
def test_no_bytes_raise_anything_else(body: bytes, content_type: str) -> None:
    for read in (decode, decode_batch):
        try:
            read(body, content_type)
        except Undecodable as fault:
            fault.detail.encode()


TEXTS = st.text(st.characters(codec="gb18030", exclude_categories=["Cc", "Cs"])).map(str.strip)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@given(fields=st.dictionaries(NAMES, TEXTS, min_size=1, max_size=6))
def test_what_a_form_says_arrives_in_both_charsets(fields: dict[str, str]) -> None:
    for charset in ("utf-8", "gb18030"):
        body = urlencode(fields, encoding=charset).encode()
        assert decode(body, f"{FORM}; charset={charset}") == fields
