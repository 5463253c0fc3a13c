"""What a citizen wrote, as plain text: no markup, no invisible characters, one sort of line end."""

import re

from selectolax.lexbor import LexborHTMLParser

# Tags that web editors write. Anything else in angle brackets is the citizen's own and stays.
_BLOCKS = (
    "address|article|aside|blockquote|br|caption|center|dd|div|dl|dt|fieldset|figcaption|figure|"
    "footer|form|h1|h2|h3|h4|h5|h6|header|hr|li|main|nav|ol|p|pre|section|table|tbody|td|tfoot|th|"
    "thead|tr|ul"
)
_INLINE = (
    "a|abbr|b|big|body|button|code|em|font|html|i|img|input|label|link|meta|o:p|s|small|span|strike|"
    "strong|sub|sup|u|video|audio"
)
# Dropped with all they hold, so one that is never closed is text, or the rest would be lost.
_DROPPED = "head|iframe|noscript|object|script|style|template|title"
_TAG = rf"/?(?P<name>{_BLOCKS}|{_INLINE}|{_DROPPED})(?=[\s/>])[^<>]*>"
_ENTITY = r"&(?:[a-z]{2,8}|#[0-9]{1,7}|#x[0-9a-f]{1,6});"
_MARKUP = re.compile(rf"<{_TAG}|<!--|{_ENTITY}", re.IGNORECASE)
_BRACKET = re.compile(rf"<(?:(?={_TAG})|(?=(?P<comment>!--))|)", re.IGNORECASE)

# C0 but tab and newline, DEL, C1, and the zero-width characters that editors leave in words.
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff]")
_SPACES = re.compile(r"[^\S\n]+")


def lines(text: str) -> str:
    """Return what a reader sees of a text or a piece of HTML, in trimmed lines, none of them empty.

    Block elements and line breaks become lines, entities are decoded, scripts and styles are
    dropped. A bracket that opens no HTML tag is text.
    """
    if _MARKUP.search(text):
        text = _visible(text)
    text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    shown = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in shown if line)


def line(text: str) -> str:
    """Return the same as `lines`, in one line."""
    return " ".join(lines(text).split("\n"))


def plain(text: str) -> str:
    """Return a short text in one line as it was written: brackets and entities are not markup."""
    return " ".join(_INVISIBLE.sub("", text).split())


def _visible(html: str) -> str:
    lower = html.lower()
    closed_at = {name: lower.rfind(f"</{name}") for name in _DROPPED.split("|")}
    closed_at["!--"] = lower.rfind("-->")

    def bracket(found: re.Match[str]) -> str:
        name = (found["name"] or found["comment"] or "").lower()
        is_tag = name and found.start() <= closed_at.get(name, len(html))
        return "<" if is_tag else "&lt;"

    tree = LexborHTMLParser(_BRACKET.sub(bracket, html))
    for node in tree.css(_DROPPED.replace("|", ",")):
        node.decompose()
    for node in tree.css(_BLOCKS.replace("|", ",")):
        node.insert_before("\n")
        node.insert_after("\n")
    return tree.body.text(deep=True) if tree.body else ""
