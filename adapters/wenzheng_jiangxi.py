"""问政江西: a public web message on the provincial media platform."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from adapters.fields import NAME_CHARS, PHONE_CHARS, Fields
from service.domain.complaint import Complaint, Contact, Kind
from service.domain.ports import Gazetteer, Source


class WenzhengJiangxi:
    """Turns a web message into a complaint.

    The clock starts at the 督办 (`superviseTime`) where there is one, so a message whose stage is
    `supervised` must bring it. The platform sends no kind: every message is taken as 投诉, the
    public way to ask what a unit has failed to do, unless the source maps a field of its own to
    `appealTypeName`. A nickname with 匿名 in it is nobody's.
    """

    FIELDS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "receiptno": "受理编号",
            "title": "标题",
            "content": "留言内容",
            "nickname": "网名",
            "posttime": "发帖时间",
            "areaName": "所属地区",
            "areaCode": "所属地区代码",
            "stage": "办理阶段",
            "superviseTime": "督办时间",
            "processtime": "办理期限",
            "contactPhone": "联系电话",
            "appealTypeName": "诉求类型",
            "urgency": "紧急程度",
            # Kept in Complaint.extra.
            "forumUrl": "帖子地址",
        }
    )
    TIMES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "accepted_at": "posttime",
            "clock_from": "superviseTime",
            "sender_due_at": "processtime",
        }
    )
    NEEDED: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("receiptno",),
        ("posttime",),
        ("areaCode", "areaName"),
        ("title", "content"),
    )
    ALSO: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "receiptno": "留言编号 帖子编号 工单编号 编号",
            "title": "留言标题 帖子标题 主题",
            "content": "帖子内容 诉求内容 内容",
            "nickname": "昵称 留言人 发帖人",
            "posttime": "留言时间 提交时间 发布时间",
            "areaName": "所属区域 留言地区 区县",
            "contactPhone": "手机号码 手机号 电话 联系方式",
            "appealTypeName": "留言类型 类型",
        }
    )

    def __init__(self, gazetteer: Gazetteer) -> None:
        self._gazetteer = gazetteer

    def complaint(self, payload: Mapping[str, Any], source: Source) -> Complaint:
        """Return the complaint, or raise PayloadRejected with every field that is wrong."""
        fields = Fields(payload, source, self.FIELDS, self.TIMES)
        source_no = fields.code("receiptno", required=True)
        title, content = fields.title_and_content("title", "content")
        accepted_at = fields.moment("posttime", required=True)
        region = fields.region("areaCode", "areaName", self._gazetteer, asked="areaName")
        stage = fields.text("stage", NAME_CHARS)
        supervised_at = fields.clock("clock_from", required=stage == "supervised")
        if stage not in {"", "posted", "supervised"}:
            fields.finding("办理阶段的写法不在对照表中，计时只看督办时间，请核对")
        kind = fields.kind("appealTypeName", usual=Kind.COMPLAINT)
        urgency = fields.urgency("urgency")
        sender_due_at = fields.clock("sender_due_at")
        nickname = fields.text("nickname", NAME_CHARS)
        phone = fields.code("contactPhone", PHONE_CHARS)
        fields.settle()
        assert accepted_at is not None
        return Complaint(
            source=source.name,
            source_no=source_no,
            channel=source.channel,
            region=region,
            kind=kind,
            urgency=urgency,
            title=title,
            content=content,
            accepted_at=accepted_at,
            clock_from=supervised_at,
            sender_due_at=sender_due_at,
            contact=Contact(name=nickname, phone=phone),
            anonymous=not nickname or "匿名" in nickname,
            coordinator=source.coordinator,
            extra=fields.extra() | ({"stage": stage} if stage else {}),
        )
