"""12345 政务服务便民热线: the ticket a city's hotline platform pushes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from adapters.fields import NAME_CHARS, PHONE_CHARS, PLACE_CHARS, Fields
from service.domain.complaint import Complaint, Contact
from service.domain.ports import Gazetteer, Source


class Hotline12345:
    """Turns a hotline ticket into a complaint.

    The canonical names are the keys of FIELDS; what a city calls otherwise is renamed by its
    source's field_map. A ticket whose kind is missing or unknown is taken as 求助, with a finding.
    The clock starts at the receipt, unless the source names another time for it (a 转办).
    """

    FIELDS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "workOrderNo": "工单编号",
            "title": "工单标题",
            "content": "诉求内容",
            "acceptTime": "受理时间",
            "areaCode": "诉求区域代码",
            "areaName": "诉求区域",
            "address": "事发地址",
            "appealTypeName": "诉求类型",
            "urgency": "紧急程度",
            "category": "诉求分类",
            "contactName": "联系人",
            "contactPhone": "联系电话",
            "gender": "性别",
            "anonymous": "是否匿名",
            "confidential": "是否保密",
            "transferTime": "转办时间",
            "replyDeadline": "办结期限",
            "relatedNo": "关联工单编号",
            "attachments": "附件",
            # Kept in Complaint.extra.
            "callId": "通话编号",
            "source": "诉求渠道",
            "isRepeat": "是否重复",
        }
    )
    TIMES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"accepted_at": "acceptTime", "sender_due_at": "replyDeadline"}
    )

    def __init__(self, gazetteer: Gazetteer) -> None:
        self._gazetteer = gazetteer

    def complaint(self, payload: Mapping[str, Any], source: Source) -> Complaint:
        """Return the complaint, or raise PayloadRejected with every field that is wrong."""
        fields = Fields(payload, source, self.FIELDS, self.TIMES)
        source_no = fields.code("workOrderNo", required=True)
        title, content = fields.title_and_content("title", "content")
        accepted_at = fields.moment("acceptTime", required=True)
        region = fields.region("areaCode", "areaName", self._gazetteer, asked="areaCode")
        kind = fields.kind("appealTypeName")
        urgency = fields.urgency("urgency")
        place = fields.text("address", PLACE_CHARS)
        clock_from = fields.clock("clock_from")
        sender_due_at = fields.clock("sender_due_at")
        contact = Contact(
            name=fields.text("contactName", NAME_CHARS),
            phone=fields.code("contactPhone", PHONE_CHARS),
            gender=fields.text("gender", NAME_CHARS),
        )
        anonymous = fields.flag("anonymous")
        confidential = fields.flag("confidential")
        category = fields.words("category")
        attachments = fields.attachments("attachments")
        related_no = fields.code("relatedNo")
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
            place=place,
            clock_from=clock_from,
            sender_due_at=sender_due_at,
            contact=contact,
            anonymous=anonymous,
            confidential=confidential,
            category=category,
            attachments=attachments,
            related_no=related_no,
            coordinator=source.coordinator,
            extra=fields.extra(),
        )
