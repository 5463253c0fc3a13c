"""What pydantic finds wrong with what somebody wrote, as Chinese sentences."""

from typing import Any

# What pydantic finds, as a sentence for who wrote it. Its own message stands in for what is not here.
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
    "int_parsing_size": "应为整数，现在的太大",
    "int_from_float": "应为整数",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "finite_number": "应为数字",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "不能小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "不能大于 {le}",
    "list_type": "应为列表",
    "tuple_type": "应为列表",
    "frozen_set_type": "应为列表",
    "too_short": "不能少于 {min_length} 项",
    "too_long": "不能超过 {max_length} 项",
    "dict_type": "应为对象",
    "model_type": "应为“名称: 内容”的形式",
    "model_attributes_type": "应为对象",
    "enum": "应为 {expected} 之一",
    "literal_error": "应为 {expected} 之一",
    "union_tag_invalid": "不认识“{tag}”，可用的有 {expected_tags}",
    "union_tag_not_found": "缺少 {discriminator}",
    "value_error": "{error}",  # a sentence of ours
    "date_type": "应为日期，例如 2026-11-18",
    "date_parsing": "应为日期，例如 2026-11-18",
    "date_from_datetime_parsing": "应为日期，例如 2026-11-18",
    "date_from_datetime_inexact": "应为日期，例如 2026-11-18",
    "time_type": "应为时刻，例如 08:30",
    "time_parsing": "应为时刻，例如 08:30",
    "datetime_type": "应为时间，例如 2026-11-18 09:12:33",
    "datetime_parsing": "应为时间，例如 2026-11-18 09:12:33",
    "datetime_from_date_parsing": "应为时间，例如 2026-11-18 09:12:33",
}

# Of a name or word that somebody made up, what is repeated: it may be a mebibyte.
QUOTED_CHARS = 64


def sentence(fault: Any) -> str:
    """Return one of pydantic's findings as a Chinese sentence.

    The value itself is never repeated: it may be somebody's telephone number.
    """
    found = _SENTENCES.get(fault["type"])
    if found is None:
        return str(fault["msg"])
    if fault["type"] == "string_too_short" and (fault.get("ctx") or {}).get("min_length") == 1:
        return "不能为空"
    context = _Lenient(
        {
            name: value[:QUOTED_CHARS] if name == "tag" else value
            for name, value in (fault.get("ctx") or {}).items()
        }
    )
    if "expected" in context:
        context["expected"] = context["expected"].replace(" or ", "、").replace(", ", "、")
    return found.format_map(context).replace("'", "")


class _Lenient(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"（{key}）"
