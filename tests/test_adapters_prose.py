"""What is left of a citizen's text once nobody needs a browser to read it."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import prose
from adapters.prose import MOST_BRACKETS, line, lines, plain, rough


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", ""),
        ("一行\r\n\r\n 二行\r三行", "一行\n二行\n三行"),
        ("<p>一</p>二<br>三", "一\n二\n三"),
        ("<ul><li>一<li>二</ul>", "一\n二"),
        ("<table><tr><td>甲</td><td>乙</td></tr></table>", "甲\n乙"),
        ("他说<b>三天</b>办好", "他说三天办好"),
        ("<P CLASS='x'>大写</P>", "大写"),
        ('<p title="a>b">引号里的括号</p>', "引号里的括号"),
        ("A&amp;B&nbsp;&lt;C&gt; &#36335;", "A&B <C> 路"),
        ("A & B; 价格<5元 且 x<y>z", "A & B; 价格<5元 且 x<y>z"),
        ("<p>价格<5元</p>a<b", "价格<5元\na<b"),
        ("<某某小区>没水", "<某某小区>没水"),
        ("<p><某某小区>没水</p>", "<某某小区>没水"),
        ("前<script>if (a<b) x()</script>后<style>p{}</style>", "前后"),
        ("前<!-- <p>注</p> -->后", "前后"),
        ("网站里有<script>代码，请查", "网站里有<script>代码，请查"),
        ("<p>网站里有</p><!-- 请查", "网站里有\n<!-- 请查"),
        ("<textarea>甲<p>乙", "<textarea>甲\n乙"),
        ("甲<o:p></o:p>乙", "甲乙"),
        ("&#0;&#xd800;", "\ufffd\ufffd"),
        ("路\u200b灯\ufeff\x07", "路灯"),
        ("付\u202e元001\u202c，\u2066已\u2069收\u202a\u2067", "付元001，已收"),
    ],
)
def test_text_and_html_become_lines(written: str, shown: str) -> None:
    assert lines(written) == shown
    if "a>b" not in written:  # the rest of an attribute is shown rather than lost
        assert rough(written) == shown
    assert line(written) == " ".join(shown.split("\n"))


def test_a_short_text_is_no_markup() -> None:
    assert plain(" A&amp;B\n<b>\t局\x00 ") == "A&amp;B <b> 局"


def _no_tree(_html: str) -> str:
    raise AssertionError("no tree may be built here")


@pytest.mark.parametrize("tags", ["<ul><li>", "<div>", "<p>", "<b><p></b>", "<table><b>"])
def test_markup_without_measure_is_taken_out_tag_by_tag(
    monkeypatch: pytest.MonkeyPatch, tags: str
) -> None:
    times = MOST_BRACKETS + 1
    nested = f"{tags}灯" * times
    monkeypatch.setattr(prose, "_visible", _no_tree)
    assert lines(nested).replace("\n", "") == "灯" * times


def test_a_script_that_is_never_closed_is_text_however_often_it_is_opened() -> None:
    opened = "<script>" * (MOST_BRACKETS + 1)
    assert lines(opened) == opened
    assert lines(f"前<style>不要</style>{opened}<p>后") == f"前{opened}\n后"


TAGS = "<p> </p> <br/> <script> </script> <!-- --> < > &lt; </template> <title> </title> <td> <svg>"
PIECES = st.lists(st.sampled_from(TAGS.split()) | st.text(max_size=4), max_size=12).map("".join)


@given(
    clean=st.sampled_from([lines, rough]),
    text=PIECES.filter(lambda text: not re.search("[\ud800-\udfff]", text)),
)
def test_lines_are_trimmed_and_never_empty(clean: Callable[[str], str], text: str) -> None:
    shown = clean(text)
    assert all(part == part.strip() and part for part in shown.split("\n")) or not shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", shown)


@given(text=st.text(alphabet="路灯 <>&;a/p!-", max_size=30))
def test_text_without_a_tag_or_entity_loses_nothing(text: str) -> None:
    if not re.search(r"</?[a-z]|<!--|&[a-z]+;", text):
        assert lines(text) == rough(text) == " ".join(text.split())
