"""Regions in memory: a twin of the gazetteer, for tests and demonstrations."""

from collections.abc import Mapping

from service.domain.region import parents

FEW_REGIONS: Mapping[str, str] = {
    "360000": "江西省",
    "360100": "南昌市",
    "360113": "红谷滩区",
    "3601K1": "高新区",
    "360300": "萍乡市",
    "3603K1": "高新区",
    "360700": "赣州市",
    "360732": "兴国县",
    "360732100": "潋江镇",
}


class MemoryGazetteer:
    """A Gazetteer over a table of codes and full names."""

    def __init__(self, names: Mapping[str, str] = FEW_REGIONS) -> None:
        self._names = dict(names)
        self._codes: dict[str, str] = {}
        for code in self._names:
            path = ""
            for outer in (part for part in parents(code) if part in self._names):
                path = self._names[outer] + path
                # A name that two regions share says neither.
                self._codes[path] = "" if path in self._codes else code

    def find(self, name: str) -> str | None:
        """Return the code given it or a name, alone or after the names around it; else None."""
        return name if name in self._names else self._codes.get(name) or None

    def name(self, code: str) -> str:
        """Return the full name of a region."""
        return self._names[code]
