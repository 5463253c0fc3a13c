"""The acts as forms: which fields a person fills in for each, and how they become an act."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from service.domain.lifecycle import Act
from service.labels import KINDS, LEVELS, URGENCIES, WAYS_OF_CHECKING
from service.orders import ActIn
from service.web.sessions import Form


class Widget(StrEnum):
    """How a field is filled in."""

    TEXT = "text"  # several lines
    CHOICE = "choice"  # one of a few, each to be seen
    UNIT = "unit"  # a unit of the ticket's region, or none
    UNITS = "units"  # the candidates, or units that were looked for
    PAUSES = "pauses"  # one of the reasons that the ticket's policy allows


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an act's form. `choices` are (value as sent, label) pairs."""

    name: str
    label: str
    widget: Widget = Widget.TEXT
    required: bool = True
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ActForm:
    """An act as a form. `explain` tells in a sentence what pressing the button does."""

    act: Act
    explain: str
    fields: tuple[Field, ...] = ()

    def wanted(self, form: Form) -> Any:
        """Return the act that was filled in, or raise pydantic's ValidationError."""
        given: dict[str, Any] = {"act": self.act}
        for name, values in self.typed(form).items():
            if name == "assist":
                given[name] = values
            elif values:
                given[name] = values[0]
        return _ACT.validate_python(given)

    def typed(self, form: Form) -> dict[str, list[str]]:
        """Return what was typed, by field; to be shown again if it is refused."""
        names = [field.name for field in self.fields]
        if self.act is Act.DISPATCH:
            names.append("assist")
        return {name: form.all(name) for name in names}


_ACT: TypeAdapter[Any] = TypeAdapter(ActIn)
_SOLVED = (("true", "已解决"), ("false", "未解决"))

FORMS: dict[Act, ActForm] = {
    form.act: form
    for form in (
        ActForm(
            Act.DISPATCH,
            "交给一个单位主办，可另选协办单位。办结时限不因改派而重新计算。",
            (
                Field("unit", "主办单位", Widget.UNITS),
                Field("reason", "派单说明", required=False, hint="承办单位能看到"),
            ),
        ),
        ActForm(Act.SIGN, "确认由本单位办理。"),
        ActForm(
            Act.CONTACT,
            "记录与诉求人的联系；首次联系计入时限。",
            (Field("text", "联系情况", hint="何时、如何联系，诉求人怎么说"),),
        ),
        ActForm(
            Act.RESOLVE,
            "答复诉求人并办结。",
            (
                Field("public_reply", "公开答复", hint="给诉求人看，请勿写入他人的个人信息"),
                Field("internal_finding", "内部调查情况", required=False, hint="仅内部可见"),
                Field("solved", "问题是否解决", Widget.CHOICE, choices=_SOLVED),
            ),
        ),
        ActForm(
            Act.SEND_BACK,
            "不属于本单位职责时退回，由分拨员重新派单。办结时限继续计算。",
            (
                Field("reason", "退单理由"),
                Field("basis", "依据", hint="文件名称和条款，或三定规定"),
                Field("suggested_unit", "建议改派到", Widget.UNIT, required=False),
            ),
        ),
        ActForm(
            Act.RULE,
            "对退回的工单裁定承办单位并派单；裁定作为今后派单的先例，该单位不能再退单。",
            (
                Field("unit", "裁定由", Widget.UNIT),
                Field("reason", "裁定理由"),
                Field("document", "依据文件", required=False, hint="文件名称和条款"),
            ),
        ),
        ActForm(
            Act.REQUEST_EXTENSION,
            "在到期前申请延长办结时限，由他人审批；批准后告知诉求人。",
            (
                Field("amount", "延长多久", hint="数量加单位，例如“3 工作日”"),
                Field("reason", "延期理由"),
            ),
        ),
        ActForm(
            Act.DECIDE_EXTENSION,
            "审批延期申请；同意后到期时间顺延，原到期时间保留。",
            (
                Field(
                    "granted",
                    "是否同意",
                    Widget.CHOICE,
                    choices=(("true", "同意"), ("false", "不同意")),
                ),
                Field("reason", "审批意见", required=False),
            ),
        ),
        ActForm(
            Act.PAUSE,
            "时限停止计算，到允许的最长期限自动恢复；来件时限不停。",
            (Field("reason", "挂起事由", Widget.PAUSES),),
        ),
        ActForm(Act.RESUME, "时限继续计算，挂起的时间如数顺延。"),
        ActForm(
            Act.CALL_BACK,
            "记录回访结果。",
            (
                Field(
                    "reached",
                    "是否联系上",
                    Widget.CHOICE,
                    choices=(("true", "联系上了"), ("false", "没有联系上")),
                ),
                Field("solved", "诉求人认为", Widget.CHOICE, required=False, choices=_SOLVED),
                Field(
                    "grade",
                    "满意度",
                    Widget.CHOICE,
                    required=False,
                    choices=(
                        ("5", "非常满意"),
                        ("4", "满意"),
                        ("3", "基本满意"),
                        ("2", "不满意"),
                        ("1", "非常不满意"),
                    ),
                ),
                Field("text", "回访记录", required=False),
            ),
        ),
        ActForm(Act.CLOSE, "确认全部事项已办完，归档。"),
        ActForm(
            Act.REOPEN,
            "退回原承办单位重新办理，时限重新计算。",
            (Field("reason", "重办理由"),),
        ),
        ActForm(
            Act.SUPERVISE,
            "督促承办单位；黄牌、红牌显示在办结时限上。",
            (
                Field("level", "督办级别", Widget.CHOICE, choices=tuple(LEVELS.items())),
                Field("text", "督办要求"),
            ),
        ),
        ActForm(
            Act.RECLASSIFY,
            "更正诉求类型或紧急程度；已经开始的时限不变。",
            (
                Field(
                    "kind", "诉求类型", Widget.CHOICE, required=False, choices=tuple(KINDS.items())
                ),
                Field(
                    "urgency",
                    "紧急程度",
                    Widget.CHOICE,
                    required=False,
                    choices=tuple(URGENCIES.items()),
                ),
                Field("reason", "更正理由"),
            ),
        ),
        ActForm(
            Act.MERGE,
            "并入另一张正在办理的工单，本单不再单独办理。",
            (
                Field("into", "并入工单编号", hint="例如 360732-20261118-00001"),
                Field("reason", "并单理由"),
            ),
        ),
        ActForm(
            Act.CHECK,
            "对已结案的工单再看一次：诉求人是否认可、答复是否属实。不改变状态；问题没有解决的，接着重办。",
            (
                Field("way", "方式", Widget.CHOICE, choices=tuple(WAYS_OF_CHECKING.items())),
                Field(
                    "reached",
                    "是否联系上诉求人",
                    Widget.CHOICE,
                    choices=(("true", "联系上了"), ("false", "没有联系上")),
                ),
                Field("solved", "诉求人认为", Widget.CHOICE, required=False, choices=_SOLVED),
                Field(
                    "truthful",
                    "答复是否属实",
                    Widget.CHOICE,
                    required=False,
                    hint="电话没有联系上的，不填以上两项；现场看到的，没有联系上也可填是否属实",
                    choices=(("true", "属实"), ("false", "不属实")),
                ),
                Field("text", "抽查记录", required=False),
            ),
        ),
        ActForm(Act.NOTE, "写入办理记录，不改变状态。", (Field("text", "备注内容"),)),
    )
}
