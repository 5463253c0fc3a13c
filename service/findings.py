"""What pydantic finds wrong with what was sent, as Chinese sentences."""

from typing import Any

from service.domain.lifecycle import Act
from service.domain.ports import FieldProblem

# What pydantic finds, as a sentence for the sender. Its own message stands in for what is not here.
_SENTENCES: dict[str, str] = {
    "missing": "缺少此项",
    "extra_forbidden": "不认识此项",
    "string_type": "应为文本",
    "string_too_short": "不能短于 {min_length} 个字",
    "string_too_long": "不能超过 {max_length} 个字",
    "string_pattern_mismatch": "格式不对，或含有不可见的控制字符",
    "string_unicode": "含有无法表示的字符",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "list_type": "应为列表",
    "too_long": "不能超过 {max_length} 项",
    "dict_type": "应为对象",
    "model_attributes_type": "应为对象",
    "enum": "应为 {expected} 之一",
    "literal_error": "应为 {expected} 之一",
    "union_tag_invalid": "没有“{tag}”这种操作；可用的有 {expected_tags}",
    "union_tag_not_found": "缺少 act，无法知道要做什么",
    "value_error": "{error}",  # a sentence of ours
    "datetime_type": "应为时间，例如 2026-11-18 09:12:33",
    "datetime_parsing": "应为时间，例如 2026-11-18 09:12:33",
    "datetime_from_date_parsing": "应为时间，例如 2026-11-18 09:12:33",
}


# Of a name or word that the sender made up, what is repeated: it may be a mebibyte.
QUOTED_CHARS = 64


def field_problem(fault: Any) -> FieldProblem:
    """Return one of pydantic's findings as a pointer and a Chinese sentence.

    The value itself is never repeated: it may be somebody's telephone number.
    """
    where = [str(part)[:QUOTED_CHARS] for part in fault["loc"] if part != "body"]
    if len(where) > 1 and where[0] in set(Act):
        # pydantic puts the chosen act before its field; the sender's JSON has no such level.
        where = where[1:]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in where)
    sentence = _SENTENCES.get(fault["type"])
    context = _Lenient(
        {
            name: value[:QUOTED_CHARS] if name == "tag" else value
            for name, value in (fault.get("ctx") or {}).items()
        }
    )
    detail = sentence.format_map(context).replace("'", "") if sentence else fault["msg"]
    return FieldProblem(pointer[:QUOTED_CHARS], detail)


class _Lenient(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"（{key}）"
