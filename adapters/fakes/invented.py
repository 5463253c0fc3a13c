"""Invented complaints as each adapter reads them. No person, number or case in them is real."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

REGION = "360732"
# How often each is drawn.
_SHARES = {"hotline_12345": 80, "wenzheng_jiangxi": 8, "haochaping": 12}

# Kind, urgency, title, content, place. All of it is invented.
_HOTLINE: list[tuple[str, str, str, str, str]] = [
    (
        "求助",
        "一般",
        "路灯不亮",
        "圩镇主街的路灯坏了十来天，晚上接孩子放学看不清路。",
        "高兴镇圩镇主街",
    ),
    (
        "投诉",
        "一般",
        "工地半夜施工",
        "小区旁边工地夜里一点还在打混凝土，吵得老人睡不着。",
        "潋江镇红军路附近",
    ),
    (
        "投诉",
        "一般",
        "拖欠工资",
        "在工业园做了四个月木工，包工头一直拖着工资不发，说没回款。",
        "兴国经济开发区",
    ),
    (
        "投诉",
        "一般",
        "烧烤摊油烟",
        "楼下烧烤摊天天摆到凌晨，油烟直往家里灌，窗户都不敢开。",
        "潋江镇文明大道",
    ),
    (
        "求助",
        "次紧急",
        "小区停水两天",
        "整栋楼停水两天了，打自来水公司电话说在修，没人说什么时候来水。",
        "潋江镇滨江花园",
    ),
    (
        "咨询",
        "一般",
        "医保报销比例",
        "想问一下在赣州住院，城乡居民医保回来能报多少，要带什么材料。",
        "",
    ),
    (
        "投诉",
        "一般",
        "物业不作为",
        "电梯坏了一个星期没人修，物业说没有维修资金，老人上下楼很困难。",
        "潋江镇御景新城",
    ),
    (
        "求助",
        "一般",
        "低保申请",
        "家里老人常年卧床，想申请低保，不知道找哪里办、要哪些证明。",
        "长冈乡",
    ),
    (
        "投诉",
        "一般",
        "超市短斤少两",
        "买了两斤排骨，回家称只有一斤七两，找超市不认账。",
        "潋江镇平川大道",
    ),
    (
        "投诉",
        "一般",
        "出租车绕路不打表",
        "从火车站打车到汽车站，司机不打表，开口要五十块。",
        "兴国西站",
    ),
    (
        "举报",
        "一般",
        "河道倒垃圾",
        "有人夜里用三轮车往河边倒建筑垃圾，已经堆了一大片。",
        "埠头乡河边",
    ),
    (
        "投诉",
        "一般",
        "村道破损",
        "村里通组公路被大货车压得坑坑洼洼，下雨积水，骑车摔了几个人。",
        "城岗乡",
    ),
    (
        "求助",
        "一般",
        "公交站太少",
        "新区这边公交站隔得太远，老人孩子出门不方便，能不能加一站。",
        "潋江镇新区",
    ),
    (
        "投诉",
        "一般",
        "校外培训退费难",
        "孩子报的英语班关门了，剩下的课时费六千多不退，电话也不接。",
        "潋江镇",
    ),
    (
        "投诉",
        "一般",
        "快递送到门口不通知",
        "快递放在楼下丢了，快递站说系统显示已签收，不肯赔。",
        "潋江镇",
    ),
    (
        "咨询",
        "一般",
        "不动产证办理",
        "买的房子交房两年了，想问不动产证什么时候能办，要不要排队。",
        "潋江镇",
    ),
    (
        "求助",
        "次紧急",
        "井盖缺失",
        "人行道上一个井盖不见了，晚上很危险，只有居民插了根树枝。",
        "潋江镇迎宾大道",
    ),
    (
        "投诉",
        "一般",
        "广场舞扰民",
        "楼下广场舞音响开得很大，每天到十点，孩子没法写作业。",
        "潋江镇将军广场",
    ),
    ("投诉", "一般", "养猪场臭气", "村边养猪场污水直接排到沟里，臭得不敢开窗。", "龙口镇"),
    ("投诉", "一般", "停车收费不规范", "路边停车没有收费公示，收费员要十块钱还不给票。", "潋江镇"),
    ("咨询", "一般", "养老保险转移", "以前在广东交的养老保险，想转回来，要怎么办。", ""),
    (
        "求助",
        "一般",
        "农田灌溉渠堵了",
        "水渠被塌下来的土堵了一段，下面几十亩田放不到水。",
        "杰村乡",
    ),
    ("投诉", "一般", "餐馆不给发票", "吃饭三百多块，老板说开发票要加税点，不加不开。", "潋江镇"),
    (
        "建议",
        "一般",
        "建议增设红绿灯",
        "学校门口的路口车多人多，建议装个红绿灯。",
        "潋江镇第五小学",
    ),
    (
        "表扬",
        "一般",
        "表扬窗口工作人员",
        "办社保卡的窗口工作人员很耐心，帮老人填表，特来表扬。",
        "",
    ),
    ("投诉", "一般", "违章搭建", "邻居在楼顶搭铁皮房，挡了光，下雨声音很大，怕掉下来。", "潋江镇"),
    (
        "求助",
        "一般",
        "残疾人补贴没到账",
        "父亲的残疾人护理补贴这两个月没有到账，想问什么原因。",
        "江背镇",
    ),
    (
        "投诉",
        "一般",
        "办营业执照跑了三趟",
        "开办企业材料都交齐了，窗口让回去等，第三趟还没拿到执照和公章。",
        "潋江镇县市民中心",
    ),
    (
        "投诉",
        "一般",
        "惠企补贴迟迟不兑现",
        "园区企业申报的设备补贴公示几个月了，一直没有拨付。",
        "兴国经济开发区",
    ),
    (
        "举报",
        "一般",
        "反映热线办件弄虚作假",
        "上个月反映的问题没人联系过，短信却说已经办结满意，请上级核查。",
        "",
    ),
    ("求助", "一般", "想找人说说", "就是心里烦，想找个人说说，也没什么具体的事。", ""),
    ("咨询", "一般", "信号不好", "听不清，信号断断续续，说了几句挂断了。", ""),
    (
        "求助",
        "一般",
        "外省社保问题",
        "在湖北武汉交的社保，那边单位欠缴，想让你们去催武汉的单位。",
        "武汉市",
    ),
    (
        "求助",
        "紧急",
        "楼道起火",
        "楼道里电动车正在着火，烟很大，楼上有人下不来！",
        "潋江镇金福小区",
    ),
]
_FORUM: list[tuple[str, str]] = [
    (
        "开发区企业补贴何时兑现",
        "<p>公司落户开发区一年多，招商时承诺的补贴一直在走流程。</p><p>希望有个准信。</p>",
    ),
    ("新区学校什么时候开学招生", "<p>新区小学建好了，一直没有招生的消息，家长很着急。</p>"),
    ("县城到乡镇的班车减少了", "<p>以前半小时一班，现在两个小时才一班，老人看病很不方便。</p>"),
    ("楼盘延期交房一年", "<p>合同约定去年交房，现在工地没几个人，请主管部门管一管预售资金。</p>"),
    ("河边散步道没有灯", "<p>江边新修的步道晚上一片漆黑，建议装上路灯。</p>"),
    ("垃圾中转站臭味", "<p>垃圾中转站离居民楼太近，夏天臭得受不了。</p>"),
]
_REVIEWS: list[tuple[str, str, str]] = [
    ("兴国县市场监督管理局", "公司设立登记", "让我重复交了两次一样的材料"),
    ("兴国县人力资源和社会保障局", "失业登记", "等了一上午没人叫号"),
    ("兴国县自然资源局", "不动产首次登记", "窗口说法前后不一致"),
    ("兴国县医疗保障局", "异地就医备案", "打电话一直没人接"),
]
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周钟谢曾肖邱"


def _week(day: date, days: int) -> date:
    return day + timedelta(days=days + 2)


def payload(
    rng: random.Random,
    at: datetime,
    number: int,
    adapter: str = "",
    due_on: Callable[[date, int], date] = _week,
) -> tuple[str, dict[str, Any]]:
    """Return the name of an adapter, drawn unless it is given, and a payload for it of `at`, a time in
    Shanghai.

    `due_on` says when so many working days after a day are over. Raises KeyError for an adapter that
    nothing is invented for.
    """
    written = f"{at:%Y-%m-%d %H:%M:%S}"
    named = rng.random() < 0.85
    name = f"{rng.choice(_FAMILY_NAMES)}某" if named else ""
    phone = f"138000{rng.randrange(100_000):05}" if named else ""
    place = {"areaCode": REGION, "areaName": "兴国县"}
    adapter = adapter or rng.choices([*_SHARES], [*_SHARES.values()])[0]
    if adapter not in _SHARES:
        raise KeyError(adapter)
    if adapter == "hotline_12345":
        return adapter, _hotline(rng, at, number, due_on) | {
            "contactName": name,
            "contactPhone": phone,
            "anonymous": not named,
            **place,
        }
    if adapter == "wenzheng_jiangxi":
        title, content = rng.choice(_FORUM)
        return adapter, {
            "receiptno": f"WZ-{at:%Y}-{number:06}",
            "title": title,
            "content": content,
            "nickname": "匿名网友",
            "posttime": written,
            "areaName": "兴国县",
            "stage": "posted",
            "contactPhone": phone,
        }
    unit, task, words = rng.choice(_REVIEWS)
    rating = rng.choices((1, 2, 3, 4, 5), (8, 12, 10, 20, 50))[0]
    return adapter, {
        "evaluateId": f"HCP{at:%Y%m%d}-{number:05}",
        "proDepart": unit,
        "taskName": task,
        "proStatus": "3",
        "pf": "7" if rating == 5 and rng.random() < 0.4 else "4",
        "userName": name,
        "contactPhone": phone,
        "satisfaction": str(rating),
        "writingEvaluation": words if rating < 3 else "",
        "assessTime": written,
        "assessNumber": "1",
        **place,
    }


def _hotline(
    rng: random.Random, at: datetime, number: int, due_on: Callable[[date, int], date]
) -> dict[str, Any]:
    kind, urgency, title, content, where = rng.choice(_HOTLINE)
    deadline = due_on(at.date(), rng.choice((5, 5, 10)))
    return {
        "workOrderNo": f"XG{at:%Y%m%d}{number:06}",
        "acceptTime": f"{at:%Y-%m-%d %H:%M:%S}",
        "source": rng.choice(("电话", "电话", "微信", "网页")),
        "appealTypeName": kind,
        "urgency": urgency,
        "title": title,
        "content": content,
        "address": where,
        "confidential": rng.random() < 0.1,
        "replyDeadline": f"{deadline} 17:30:00" if rng.random() < 0.5 else None,
    }
