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
    NEEDED: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("workOrderNo",),
        ("acceptTime",),
        ("areaCode", "areaName"),
        ("title", "content"),
    )
    ALSO: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "workOrderNo": "工单号 工单编码 工单流水号 流水号 受理编号 诉求编号 业务编号 案件编号 编号",
            "title": "诉求标题 诉求主题 事项标题 标题 主题",
            "content": "诉求描述 诉求详情 问题描述 来电内容 反映内容 工单内容 主要内容 内容",
            "acceptTime": "来电时间 来件时间 登记时间 诉求时间 提交时间 创建时间 受理日期 来电日期 登记日期",
            "areaCode": "行政区划代码 区划代码 区域代码",
            "areaName": "所属区域 所属地区 所属区县 所属县区 事发区域 诉求地区 行政区划 区县 县区 区域",
            "address": "诉求详细地址 事件发生地 事发地点 发生地址 发生地点 详细地址 地址",
            "appealTypeName": "工单类型 业务类型 诉求性质 工单类别 类型",
            "urgency": "缓急程度 紧急级别",
            "category": "问题分类 事项分类",
            "contactName": "求助人员 来电人 来电人姓名 诉求人 诉求人姓名 反映人 联系人姓名 姓名",
            "contactPhone": "求助号码 来电号码 来电电话 诉求人电话 联系方式 联系号码 手机号码 手机号 电话",
            "replyDeadline": "要求办结时间 应办结时间 规定办结时间 办理期限 处理期限 截止时间 到期时间",
            "relatedNo": "关联工单",
            "source": "诉求来源 工单来源 受理渠道 来源渠道 来源",
        }
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
