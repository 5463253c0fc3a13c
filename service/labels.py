"""What the wire's ASCII values are called in Chinese: the one table of labels."""

from service.domain.access import Ask, Reach, Role
from service.domain.complaint import Decision, Kind, Urgency
from service.domain.lifecycle import Act, State
from service.domain.personal import Sort
from service.domain.policy import Measures
from service.domain.proposal import Sort as ProposalSort
from service.domain.proposal import Standing as ProposalStanding
from service.domain.sample import CheckedBy, Standing
from service.domain.sign_in import Record, Way
from service.domain.similar import Relation
from service.domain.ticket import (
    Decided,
    DeliveryState,
    Level,
    MilestoneKind,
    Outcome,
    Recipient,
    Stage,
    Word,
)

KINDS: dict[str, str] = {
    Kind.CONSULTATION: "咨询",
    Kind.HELP: "求助",
    Kind.COMPLAINT: "投诉",
    Kind.REPORT: "举报",
    Kind.SUGGESTION: "建议",
    Kind.PRAISE: "表扬",
}
URGENCIES: dict[str, str] = {
    Urgency.NORMAL: "一般",
    Urgency.URGENT: "次紧急",
    Urgency.EMERGENCY: "紧急",
}
STATES: dict[str, str] = {
    State.RECEIVED: "已受理",
    State.SORTING: "待人工派单",
    State.DISPATCHED: "待签收",
    State.SIGNED: "办理中",
    State.PAUSED: "挂起",
    State.RESOLVED: "已办结待回访",
    State.CLOSED: "已结案",
    State.NOT_ACCEPTED: "不予受理",
    State.REFERRED: "已转紧急专线",
    State.MERGED: "已并单",
}
ACTS: dict[str, str] = {
    Act.DISPATCH: "派单",
    Act.SIGN: "签收",
    Act.SEND_BACK: "退单",
    Act.RULE: "裁定",
    Act.CONTACT: "首次联系",
    Act.REQUEST_EXTENSION: "申请延期",
    Act.DECIDE_EXTENSION: "审批延期",
    Act.PAUSE: "挂起",
    Act.RESUME: "恢复办理",
    Act.RESOLVE: "办结",
    Act.CALL_BACK: "回访",
    Act.CLOSE: "结案",
    Act.REOPEN: "重办",
    Act.MERGE: "并单",
    Act.SUPERVISE: "督办",
    Act.RECLASSIFY: "更正分类",
    Act.NOTE: "备注",
    Act.CHECK: "抽查",
    # What happens without a person.
    "received": "受理",
    "supplemented": "补充",
    "stage": "时限预警",
    "recalculated": "重算时限",
    "merged_here": "并入",
    "imported": "历史导入",
    "anonymised": "匿名化",
    # What is asked for beside the acts.
    Ask.INTAKE: "推送工单",
    Ask.TICKETS: "查看工单",
    Ask.HISTORY: "查看办理记录",
    Ask.READ_CONTACT: "查看联系方式",
    Ask.BY_PHONE: "按电话查找",
    Ask.NOT_SAME: "不并单",
    Ask.QUEUE: "查看队列",
    Ask.SORTING: "查看待派单",
    Ask.OVERVIEW: "查看总览",
    Ask.GROUPS: "查看群体性诉求",
    Ask.UNITS: "查看责任单位",
    Ask.EXPLAIN: "试算派单和时限",
    Ask.EVENTS: "查看事件流",
    Ask.KPIS: "查看考核指标",
    Ask.BULLETINS: "查看通报",
    Ask.DELIVERIES: "查看投递",
    Ask.REDELIVER: "重新投递",
    Ask.SUPERVISION: "查看督办",
    Ask.DRAW: "抽取抽查样本",
    Ask.PROPOSALS: "查看规则提议",
    Ask.PROPOSE: "提议补充职责或别名",
    Ask.DECIDE_PROPOSAL: "对规则提议作出决定",
    Ask.SOURCES: "查看来源",
    Ask.AUDIT: "查看审计链头",
    Ask.METRICS: "查看监控指标",
    Ask.DESK: "使用工作台",
}
ROLES: dict[str, str] = {
    Role.SOURCE: "来源系统",
    Role.DISPATCHER: "分拨员",
    Role.HANDLER: "承办人",
    Role.SUPERVISOR: "督办员",
    Role.AUDITOR: "审计员",
    Role.ADMIN: "管理员",
    Role.METRICS: "监控系统",
}
REACHES: dict[str, str] = {
    Reach.SENT: "本来源推送的",
    Reach.LED: "本单位主办的",
    Reach.UNITS: "本单位主办和协办的",
    Reach.REGION: "本辖区的",
    Reach.MASKED: "本辖区的（个人信息脱敏）",
    Reach.ALL: "可以",
}
WAYS: dict[str, str] = {
    Way.PASSWORD: "账号密码",
    Way.OIDC: "统一身份认证",
    Way.TOKEN: "访问令牌",
    Way.LINK: "一次性链接",
}
RECORDS: dict[str, str] = {
    Record.SIGNED_IN: "登录",
    Record.SIGNED_OUT: "退出",
    Record.REFUSED: "登录被拒",
    Record.HELD_OFF: "登录暂停",
    Record.ACCOUNT_ADDED: "添加账号",
    Record.ACCOUNT_CHANGED: "更换密码",
    Record.ACCOUNT_REMOVED: "删除账号",
}
MILESTONES: dict[str, str] = {
    MilestoneKind.SIGN: "签收",
    MilestoneKind.CONTACT: "首次联系",
    MilestoneKind.RESOLVE: "办结",
    MilestoneKind.CALL_BACK: "回访",
}
STAGES: dict[str, str] = {
    Stage.NORMAL: "正常",
    Stage.WARN: "临期",
    Stage.OVERDUE: "超期",
    Stage.YELLOW: "黄牌",
    Stage.RED: "红牌",
}
MEASURES: dict[str, str] = {
    Measures.REMIND: "催办",
    Measures.SUPERVISE: "普通督办",
    Measures.YELLOW: "黄牌",
    Measures.RED: "红牌",
    Measures.BULLETIN: "通报",
}
LEVELS: dict[str, str] = {
    Level.ORDINARY: "普通督办",
    Level.YELLOW: "黄牌",
    Level.RED: "红牌",
}
WAYS_OF_CHECKING: dict[str, str] = {
    CheckedBy.PHONE: "电话抽查",
    CheckedBy.ON_SPOT: "现场抽查",
}
CHECK_STATES: dict[str, str] = {
    Standing.WAITING: "待查",
    Standing.UNREACHED: "未联系上",
    Standing.CHECKED: "已查",
}
PROPOSED: dict[str, str] = {
    ProposalSort.DUTY: "职责",
    ProposalSort.ALIAS: "别名",
}
PROPOSAL_STATES: dict[str, str] = {
    ProposalStanding.WAITING: "待定",
    ProposalStanding.ACCEPTED: "已同意",
    ProposalStanding.REFUSED: "不同意",
    ProposalStanding.WITHDRAWN: "已撤回",
}
FATES: dict[str, str] = {
    "taken": "接收",
    "rejected": "内容退回",
    "unproven": "签名或令牌不对",
    "too_fast": "超过限速",
}
PRESSINGS: dict[str, str] = {
    "due_today": "今日到期",
    "overdue": "超期",
    "yellow": "黄牌",
    "red": "红牌",
}
DECIDED: dict[str, str] = {
    Decided.PENDING: "待批",
    Decided.GRANTED: "同意",
    Decided.REFUSED: "不同意",
    Decided.LAPSED: "失效",
}
OUTCOMES: dict[str, str] = {
    Outcome.ON_TIME: "按时",
    Outcome.LATE: "超时",
    Outcome.MISSED: "未做",
    Outcome.WITHDRAWN: "撤销",
}
DECISIONS: dict[str, str] = {
    Decision.AUTO: "自动派单",
    Decision.MANUAL: "人工派单",
    Decision.NOT_ACCEPTED: "不予受理",
    Decision.EMERGENCY_LINE: "转紧急专线",
}
RELATIONS: dict[str, str] = {
    Relation.PROPOSED: "建议并单",
    Relation.REPEAT: "重复诉求",
    Relation.MERGED: "已并入本单",
}
PERSONAL: dict[str, str] = {
    Sort.PHONE: "电话号码",
    Sort.ID_CARD: "身份证号",
    Sort.BANK_CARD: "银行卡号",
    Sort.PLATE: "车牌号",
    Sort.EMAIL: "电子邮箱",
}
WORDS: dict[str, str] = {
    Word.ACCEPTED: "受理",
    Word.DISPATCHED: "派单",
    Word.WITHDRAWN: "收回",
    Word.EXTENDED: "延期",
    Word.RESOLVED: "办结",
    Word.CLOSED: "结案",
    Word.REOPENED: "重办",
    Word.NOT_ACCEPTED: "不予受理",
    Word.REFERRED: "转紧急专线",
    Word.MERGED: "并单",
    Word.SUPPLEMENTED: "补充",
    Word.STAGE: "时限预警",
    Word.SUPERVISION: "督办",
}
DELIVERY_STATES: dict[str, str] = {
    DeliveryState.PENDING: "待投递",
    DeliveryState.DELIVERED: "已送达",
    DeliveryState.DEAD: "投递失败",
    DeliveryState.UNADDRESSED: "无接收方",
}
RECIPIENTS: dict[str, str] = {
    Recipient.SOURCE: "来源系统",
    Recipient.UNIT: "责任单位",
    Recipient.SUPERVISOR: "热线承办",
    Recipient.CITIZEN: "诉求人",
}
