"""Files as other systems export them, for tests of the import: invented people and matters."""

import csv
import io
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import xlsxwriter

ROW = {
    "工单编号": "XG1",
    "来电时间": "2023-03-06 09:12:33",
    "诉求标题": "路灯不亮",
    "诉求内容": "街上的路灯坏了半个月",
    "诉求类型": "求助",
    "所属区域": "兴国县",
    "来电号码": "13800000001",
    "派单时间": "2023-03-06 10:00:00",
    "承办单位": "县住建局",
    "办结期限": "2023-03-13 17:30:00",
    "办结时间": "2023-03-09 16:00:00",
    "答复内容": "已经修好。",
    "是否满意": "满意",
    "工单状态": "已结案",
}
COLUMNS = list(ROW)
# What is not finished has no end and nobody's opinion of it.
OPEN = {"办结时间": "", "答复内容": "", "是否满意": "", "工单状态": "办理中"}


def row(number: str, **changes: Any) -> dict[str, Any]:
    """Return an ordinary closed row with some columns changed."""
    return {**ROW, "工单编号": number, **changes}


def sheet(*rows: dict[str, Any], columns: list[str] | None = None) -> bytes:
    """Return rows as a CSV in UTF-8 with a byte order mark, as Excel saves it."""
    text = io.StringIO(newline="")
    names = columns or list(rows[0] if rows else COLUMNS)
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def many(path: Path, count: int) -> Path:
    """Write a file of closed rows, each of a day and number of its own."""
    first = datetime(2022, 1, 4, 9)  # noqa: DTZ001 - as a file writes it
    rows = []
    for n in range(count):
        at = first + timedelta(hours=n)
        rows.append(
            row(
                f"XG{n:06}",
                来电时间=str(at),
                派单时间=str(at + timedelta(hours=1)),
                办结期限=str(at + timedelta(days=5)),
                办结时间=str(at + timedelta(days=n % 7 + 1)),
            )
        )
    path.write_bytes(sheet(*rows))
    return path


# Faults of the workbook below, by (row, column).
MESSY_FAULTS = {
    (8, ""): "编号与第 7 行相同",
    (9, "来电时间"): "受理时间应为 yyyy-MM-dd HH:mm:ss 或带时区的 ISO 8601 时间",
    (10, "办结时间 （反馈）"): "办结时间早于受理时间",
    (11, "所属区域"): "没有这个地区：诉求区域应为全称，重名的带上级，如“南昌市高新区”",
    (12, "来电时间"): "受理时间晚得不合理，请核对时钟",
    (13, "工单编号*"): "以数字存放且超过 15 位，末几位已被 Excel 改掉，请以文本格式重新导出",
}


def messy(path: Path) -> Path:
    """Write a workbook as offices keep them: a title, a note, two header rows with merged cells,
    numbers for texts, times as dates, serials and words, empty rows below."""
    book = xlsxwriter.Workbook(path)
    page = book.add_worksheet("工单明细")
    notes = book.add_worksheet("说明")
    notes.write(0, 0, "本表由热线系统导出")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "yyyy/m/d h:mm"})
    page.merge_range(0, 0, 0, 11, "兴国县12345热线工单明细表")
    page.write(1, 0, "制表单位：兴国县行政审批局")
    page.merge_range(2, 0, 3, 0, "工单编号*")
    page.merge_range(2, 1, 2, 6, "诉求信息")
    page.merge_range(2, 7, 2, 11, "办理情况")
    below = ["来电时间", "诉求标题", "诉求内容", "诉求类型", "所属区域", "来电号码"]
    below += ["承办单位", "办结时间\n（反馈）", "答复内容", "是否满意", "备注"]
    page.write_row(3, 1, below)
    at = "2019-03-09 10:05"
    usual = ["标题", "内容", "投诉", "兴国县", "", "县公安局", "2019-03-18 10:05", "", "", ""]
    received = datetime(2019, 3, 5, 9, 12, 33)  # noqa: DTZ001 - as a cell has it
    rows: list[list[Any]] = [
        [
            20190305000012,
            received,
            "路灯不亮",
            "路灯坏了",
            "求助",
            "兴国县",
            13800000001,
            "县住建局",
            received + timedelta(days=3),
            "已修复",
            "满意",
            "第二次来电",
        ],
        [
            "XG2",
            "2019/3/5 9:12",
            "无证卖药",
            "有人无证卖药",
            "投诉",
            "赣州市兴国县",
            "",
            "县药监局",
            received.date() + timedelta(days=4),
            "已查处",
            "非常满意",
            "",
        ],
        ["XG3", 43530.5, *usual[:5], "火星管理局", "2019年3月9日 10时5分", "已办", "不满意", ""],
        ["XG3", 43530.5, "另一条", *usual[1:]],
        ["XG4", "昨天", *usual],
        ["XG5", at, *usual[:6], "2019-03-08 10:05", "", "", ""],
        ["XG6", at, *usual[:3], "火星", *usual[4:]],
        ["XG7", "2036-03-09 10:05", *usual[:6], "", "", "", ""],
        [20190305000012345, at, *usual],
        ["XG9", "2026-11-09 10:05", *usual[:6], "-", "", "", ""],
    ]
    for line, cells in enumerate(rows, 4):
        for column, cell in enumerate(cells):
            if isinstance(cell, datetime):
                page.write_datetime(line, column, cell, moment)
            elif isinstance(cell, date):
                page.write_datetime(line, column, cell, day)
            else:
                page.write(line, column, cell)
    for line in range(20, 60):
        page.write_blank(line, 0, None, day)
    book.close()
    return path
