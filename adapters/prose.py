"""What a citizen wrote, as plain text: no markup, no invisible characters, one sort of line end."""

import html
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

# Each element more costs the tree more, most of all when it lies in the one before. No editor comes
# near this for what a citizen types; past it the tags are taken out one by one, and no text is lost.
MOST_BRACKETS = 1_500
_STRIPPED = re.compile(rf"<(?:{_TAG}|(?P<comment>!--))", re.IGNORECASE)
_BLOCK_NAMES = frozenset(_BLOCKS.split("|"))
_DROPPED_END = {
    **{
        name: re.compile(rf"</{name}(?=[\s/>])[^<>]*>", re.IGNORECASE)
        for name in _DROPPED.split("|")
    },
    "!--": re.compile("-->"),
}

# C0 but tab and newline, DEL, C1, the zero-width characters that editors leave in words, and the
# controls of writing direction, which make a text read otherwise than it was stored.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]"
)
_SPACES = re.compile(r"[^\S\n]+")


def lines(text: str) -> str:
    """Return what a reader sees of a text or a piece of HTML, in trimmed lines, none of them empty.

    Block elements and line breaks become lines, entities are decoded, scripts and styles are
    dropped. A bracket that opens no HTML tag is text.
    """
    if _MARKUP.search(text):
        text = _visible(text) if text.count("<") <= MOST_BRACKETS else _stripped(text)
    return _trimmed(text)


def rough(text: str) -> str:
    """Return the same as `lines` for ordinary HTML, without building its tree.

    For text that is only kept: a `>` within an attribute ends the tag, and the rest is shown.
    """
    return _trimmed(_stripped(text) if _MARKUP.search(text) else text)


def _trimmed(text: str) -> str:
    text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    shown = [_SPACES.sub(" ", line).strip() for line in text.split("\n")]
    return "\n".join(filter(None, shown))


def line(text: str) -> str:
    """Return the same as `lines`, in one line."""
    return " ".join(lines(text).split("\n"))


def plain(text: str) -> str:
    """Return a short text in one line as it was written: brackets and entities are not markup."""
    return " ".join(_INVISIBLE.sub("", text).split())


def _stripped(written: str) -> str:
    """Return the text between the tags, in one pass over them."""
    kept: list[str] = []
    at = 0
    unclosed: set[str] = set()
    for found in _STRIPPED.finditer(written):
        if found.start() < at:
            continue
        name = (found["name"] or found["comment"]).lower()
        until = found.end()
        if name in _DROPPED_END and not written.startswith("</", found.start()):
            end = None
            if name not in unclosed:
                # `<!-->` opens and closes with the same two dashes.
                end = _DROPPED_END[name].search(written, found.start() + 2)
            if end is None:
                unclosed.add(name)
                continue
            until = end.end()
        kept.append(written[at : found.start()])
        if name in _BLOCK_NAMES:
            kept.append("\n")
        at = until
    return html.unescape("".join([*kept, written[at:]]))


def _visible(written: str) -> str:
    lower = written.lower()
    closed_at = {name: lower.rfind(f"</{name}") for name in _DROPPED.split("|")}
    closed_at["!--"] = lower.rfind("-->")

    def bracket(found: re.Match[str]) -> str:
        name = (found["name"] or found["comment"] or "").lower()
        is_tag = name and found.start() <= closed_at.get(name, len(written))
        return "<" if is_tag else "&lt;"

    tree = LexborHTMLParser(_BRACKET.sub(bracket, written))
    for node in tree.css(_DROPPED.replace("|", ",")):
        node.decompose()
    for node in tree.css(_BLOCKS.replace("|", ",")):
        node.insert_before("\n")
        node.insert_after("\n")
    return tree.body.text(deep=True) if tree.body else ""
