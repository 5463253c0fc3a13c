"""What a sources file says, held against the units, the regions and the environment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapters.fields import clock_fields
from adapters.signature import BadSecret, keys, sm3_available
from adapters.sources import ADAPTERS, SourceFile, SourceFileError
from service.domain.ports import Clocks, Gazetteer, Router, Source

# Standard Webhooks asks for 24 to 64 bytes.
_SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend (`grave`) or to know about a source; `line` is where, 0 for the whole."""

    line: int
    source: str
    text: str
    grave: bool = True


def check(
    file: SourceFile, router: Router, gazetteer: Gazetteer, environ: Mapping[str, str]
) -> list[Finding]:
    """Return what is wrong with the sources of a file and their secrets."""
    faults = [Finding(fault.line, "", fault.reason) for fault in file.faults]
    for source in file.sources.values():
        faults += _unknown(file, source, router, gazetteer)
        faults += _secrets(file, source, environ)
        faults += _hints(file, source)
    return sorted(faults, key=lambda finding: finding.line)


def require(file: SourceFile, router: Router, gazetteer: Gazetteer) -> dict[str, Source]:
    """Return the sources of a file, or raise SourceFileError for the first thing that must stop the
    start: a fault of the file, or a unit or region that there is not."""
    if file.faults:
        raise file.faults[0]
    for source in file.sources.values():
        for finding in _unknown(file, source, router, gazetteer):
            raise SourceFileError(file.path, finding.line, f"{source.name}：{finding.text}")
    return dict(file.sources)


def signing_keys(source: Source, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return the live keys of a source's signatures; a secret that is not there or no secret is left
    out, and `missing_secrets` tells it."""
    found: list[bytes] = []
    for name in source.secrets:
        if not _why_useless(environ.get(name, "")):
            found += keys(environ[name])
    return tuple(dict.fromkeys(found))


def missing_secrets(sources: Mapping[str, Source], environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each secret that is not set or cannot be used."""
    return [
        f"来源 {source.name} 的密钥 {name}：{why}"
        for source in sources.values()
        for name in source.secrets
        if (why := _why_useless(environ.get(name, "")))
    ]


def _why_useless(secret: str) -> str:
    if not secret.strip():
        return "环境变量没有设置"
    try:
        keys(secret)
    except BadSecret as error:
        return str(error)
    return ""


def _line(file: SourceFile, source: Source, key: str) -> int:
    return file.lines.get(f"{source.name}/{key}", file.lines.get(source.name, 0))


def _unknown(
    file: SourceFile, source: Source, router: Router, gazetteer: Gazetteer
) -> Iterator[Finding]:
    if source.region and gazetteer.find(source.region) != source.region:
        text = f"没有代码为 {source.region} 的地区"
        yield Finding(_line(file, source, "region"), source.name, text)
        return
    for word, code in source.regions.items():
        if gazetteer.find(code) != code:
            text = f"regions 中 {word} 的地区 {code} 不存在"
            yield Finding(_line(file, source, "regions"), source.name, text)
    if source.coordinator:
        for region in sorted({unit.region for unit in router.units(source.region or None)}):
            try:
                router.coordinator(region, source.coordinator)
            except KeyError:
                text = f"coordinator {source.coordinator} 不是条线或单位，或在 {region} 没有单位"
                yield Finding(_line(file, source, "coordinator"), source.name, text)
                return


def _secrets(file: SourceFile, source: Source, environ: Mapping[str, str]) -> Iterator[Finding]:
    line = _line(file, source, "secrets")
    for name in source.secrets:
        secret = environ.get(name, "")
        if why := _why_useless(secret):
            yield Finding(line, source.name, f"密钥 {name}：{why}")
        elif min(len(key) for key in keys(secret)) < _SECRET_BYTES:
            text = f"密钥 {name} 不足 {_SECRET_BYTES} 字节，建议换成更长的随机密钥"
            yield Finding(line, source.name, text, grave=False)
    if source.secrets and not sm3_available():
        text = "本机的 OpenSSL 不支持 SM3，只能验证 v1（HMAC-SHA256）签名"
        yield Finding(line, source.name, text, grave=False)


def _hints(file: SourceFile, source: Source) -> Iterator[Finding]:
    adapter = ADAPTERS[source.adapter]
    times = clock_fields(source, adapter.TIMES)
    for key, attribute in (("limit", "sender_due_at"), ("starts", "clock_from")):
        named = getattr(source.clocks, key)
        if named and named != Clocks.RECEIPT and times[attribute] not in adapter.FIELDS:
            text = f"clocks.{key} 按来源自己的字段 {named} 读取，请核对拼写"
            yield Finding(_line(file, source, "clocks"), source.name, text, grave=False)
    if source.regions and not source.region:
        text = "对照表以外的地区没有去处，将被退回；给出 region 则按它受理并提示"
        yield Finding(_line(file, source, "regions"), source.name, text, grave=False)
