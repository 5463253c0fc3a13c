"""The units that have systems of their own, from receivers.yaml."""

from collections.abc import Mapping
from pathlib import Path

from routing_rules.gazetteer import DATA
from routing_rules.yamlfile import overlaid
from service.domain.delivery import RECEIVER_KEYS, BadReceiver, receiver
from service.domain.ports import Receiver, Router
from service.domain.ticket import of_unit

FILE = "receivers.yaml"


def load_receivers(router: Router, folder: Path | None = None) -> Mapping[str, Receiver]:
    """Return the receivers by destination, with `folder` laid over those shipped.

    Raises RuleFileError for a key or event that means nothing, an address that is none, and a unit
    that the unit table does not have.
    """
    found: dict[str, Receiver] = {}
    for code, row in overlaid([DATA, *([folder] if folder else [])], FILE, "unit").items():
        row.only("unit", *RECEIVER_KEYS)
        if router.unit(code) is None:
            raise row.error(f"责任单位表中没有 {code}", "unit")
        texts = {key: row.text(key, "") for key in RECEIVER_KEYS if key != "events"}
        try:
            made = receiver(of_unit(code), texts, row.texts("events"))
        except BadReceiver as error:
            raise row.error(error.reason, error.key) from error
        found[made.destination] = made
    return found
