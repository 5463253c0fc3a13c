"""Regions by GB/T 2260 code: two digits a province, four a city, six a county, more a town."""


def prefix(code: str) -> str:
    """Return the digits that say something: `360000` → `36`, `360700` → `3607`, `360732` → itself."""
    if len(code) == 6:
        if code.endswith("0000"):
            return code[:2]
        if code.endswith("00"):
            return code[:4]
    return code


def covers(outer: str, inner: str) -> bool:
    """Whether `inner` is `outer` or lies in it; "" covers everything."""
    return inner.startswith(prefix(outer))


def parents(code: str) -> tuple[str, ...]:
    """Return the code itself and every region around it, nearest first: county, city, province."""
    chain = [code, code[:6], code[:4] + "00", code[:2] + "0000"]
    return tuple(dict.fromkeys(chain))
