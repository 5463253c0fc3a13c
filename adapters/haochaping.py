"""好差评: one review of a government service, as the provincial system passes it on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from adapters.fields import NAME_CHARS, NUMBER_CHARS, PHONE_CHARS, Fields
from service.domain.complaint import Complaint, Contact, Kind, Review, Urgency
from service.domain.ports import Gazetteer, Source

SYSTEM_DEFAULT = "7"  # pf: nobody rated, the system filled the grade in
_TASK_CHARS = 150  # leaves room for the word before it in the title


class Haochaping:
    """Turns a review into a complaint that carries a `Review`.

    A 差评 is a 投诉; any other grade is kept as 表扬 and is not worked. A second review (追评,
    assessNumber 2) with the evaluateId of the first is the same matter: same source number, changed
    content, so the desk adds it to the ticket. With an evaluateId of its own it is a matter of its
    own, and `Review.project_no` tells the two belong together. `promiseTime` stays text in `extra`:
    its codes differ between systems.
    """

    FIELDS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "evaluateId": "评价编号",
            "areaCode": "区划代码",
            "areaName": "区划名称",
            "deptCode": "部门编码",
            "proDepart": "受理部门",
            "taskCode": "事项编码",
            "taskName": "事项名称",
            "projectNo": "办件编号",
            "pf": "评价渠道",
            "satisfaction": "满意度",
            "writingEvaluation": "文字评价",
            "assessTime": "评价时间",
            "assessNumber": "评价次数",
            "userName": "评价人",
            "contactPhone": "联系电话",
            # Kept in Complaint.extra.
            "evalDetail": "评价详情",
            "userProp": "评价人类型",
            "proStatus": "办件状态",
            "acceptDate": "受理日期",
            "promiseTime": "承诺时限",
        }
    )
    TIMES: ClassVar[Mapping[str, str]] = MappingProxyType({"accepted_at": "assessTime"})
    NEEDED: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("evaluateId",),
        ("assessTime",),
        ("areaCode", "areaName"),
        ("satisfaction",),
        ("deptCode", "proDepart"),
    )
    ALSO: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "evaluateId": "评价流水号 编号",
            "areaName": "所属区域 所属地区",
            "proDepart": "被评价单位 评价部门 办理部门",
            "satisfaction": "评价等级 评价分值",
            "writingEvaluation": "评价内容 评价意见",
            "userName": "办事人 评价人姓名",
            "contactPhone": "手机号码 手机号 电话",
        }
    )

    def __init__(self, gazetteer: Gazetteer) -> None:
        self._gazetteer = gazetteer

    def complaint(self, payload: Mapping[str, Any], source: Source) -> Complaint:
        """Return the complaint, or raise PayloadRejected with every field that is wrong."""
        fields = Fields(payload, source, self.FIELDS, self.TIMES)
        source_no = fields.code("evaluateId", required=True)
        accepted_at = fields.moment("assessTime", required=True)
        region = fields.region("areaCode", "areaName", self._gazetteer, asked="areaCode")
        rating = fields.rating("satisfaction")
        unit_code = fields.code("deptCode")
        unit = fields.text(
            "proDepart", NAME_CHARS, required=not unit_code and not fields.is_faulty("deptCode")
        )
        task = fields.text("taskName", _TASK_CHARS)
        task_code = fields.code("taskCode", NUMBER_CHARS)
        project_no = fields.code("projectNo")
        clock_from, sender_due_at = fields.clock("clock_from"), fields.clock("sender_due_at")
        platform = fields.code("pf")
        times_rated = fields.whole("assessNumber", 1, 99)
        written = fields.content("writingEvaluation")
        user = fields.text("userName", NAME_CHARS)
        phone = fields.code("contactPhone", PHONE_CHARS)
        fields.settle()
        assert accepted_at is not None
        assert rating is not None
        named = bool(user) and "匿名" not in user
        review = Review(
            rating=rating,
            evaluated_unit=unit,
            unit_code=unit_code,
            task_name=task,
            task_code=task_code,
            project_no=project_no,
            system_default=platform == SYSTEM_DEFAULT,
            named=named,
        )
        title = f"{'差评' if review.is_bad else '评价'}：{task or unit or unit_code}"
        kept = {"pf": platform, "assessNumber": str(times_rated or "")}
        return Complaint(
            source=source.name,
            source_no=source_no,
            channel=source.channel,
            region=region,
            kind=Kind.COMPLAINT if review.is_bad else Kind.PRAISE,
            urgency=Urgency.NORMAL,
            title=title,
            content=written or title,
            accepted_at=accepted_at,
            clock_from=clock_from,
            sender_due_at=sender_due_at,
            contact=Contact(name=user if named else "", phone=phone),
            anonymous=not named,
            review=review,
            coordinator=source.coordinator,
            extra=fields.extra() | {name: text for name, text in kept.items() if text},
        )
