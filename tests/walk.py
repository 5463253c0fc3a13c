"""Walk every sample payload through a running service: `python -m tests.walk ADDRESS TOKEN`.

Posts the payloads of all three channels, works ticket XG20261118000731 from dispatch to close, and
looks for it in /metrics. TOKEN is an admin's. Exits 1 and says so if anything is not as it should.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

SAMPLES = Path(__file__).parent / "samples"
CHANNELS = ("hotline-12345", "wenzheng-jiangxi", "haochaping")
WORKED = "XG20261118000731"


class Walk:
    """A caller of the API that stops at the first answer that is not as it should be."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def post_samples(self) -> dict[str, dict[str, Any]]:
        """Post every sample payload; return the tickets by the source's number."""
        tickets = {}
        for channel in CHANNELS:
            for payload in json.loads((SAMPLES / f"{channel}.json").read_text("utf-8")):
                answer = self._client.post(f"/v1/intake/{channel}", json=payload)
                assert answer.status_code in {200, 201}, answer.text
                ticket = answer.json()["ticket"]
                lead = ticket["lead"]["name"] if ticket["lead"] else "待人工派单"
                print(f"{ticket['source_no']} -> {ticket['no']} {ticket['state']} {lead}")
                tickets[ticket["source_no"]] = ticket
        return tickets

    def act(self, ticket: dict[str, Any], act: str, **fields: Any) -> dict[str, Any]:
        """Do one act on the version that was read; return the ticket after it."""
        answer = self._client.post(
            f"/v1/tickets/{ticket['no']}/acts",
            json={"act": act, **fields},
            headers={"If-Match": str(ticket["version"])},
        )
        assert answer.status_code == 200, answer.text
        after: dict[str, Any] = answer.json()["ticket"]
        print(f"  {act}: {after['state']}, version {after['version']}")
        return after

    def work(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Work a ticket from dispatch to close; return it closed."""
        candidates = ticket["route"]["candidates"]
        unit = candidates[0]["unit"]
        assist = [ref["unit"] for ref in ticket["assist"]]
        ticket = self.act(ticket, "dispatch", unit=unit, assist=assist, reason="按派单目录核对无误")
        ticket = self.act(ticket, "sign")
        ticket = self.act(ticket, "contact", text="已电话联系诉求人")
        ticket = self.act(
            ticket, "resolve", public_reply="执照和公章已发放", internal_finding="", solved=True
        )
        ticket = self.act(ticket, "call_back", reached=True, solved=True, grade=5, text="满意")
        return self.act(ticket, "close")

    def closed_total(self, unit: str) -> float:
        """Return how many tickets of a unit the metrics count as closed."""
        lines = self._client.get("/metrics").text.splitlines()
        name = "banjie_tickets_closed_total{"
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name) and f'unit="{unit}"' in line
        )


def walk(address: str, token: str) -> None:
    """Do the whole walk against a running service; raise AssertionError where it goes wrong."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
        walker = Walk(client)
        ticket = walker.post_samples()[WORKED]
        unit = ticket["lead"]["unit"]
        if ticket["state"] == "closed":
            print(f"{WORKED} was closed by an earlier walk")
            return
        before = walker.closed_total(unit)
        ticket = walker.work(ticket)
        assert ticket["state"] == "closed"
        # The figures on /metrics are some seconds old at most.
        for _ in range(30):
            if walker.closed_total(unit) > before:
                break
            time.sleep(1)
        else:
            msg = f"/metrics does not count the closed ticket of {unit}"
            raise AssertionError(msg)
        print(f"{WORKED} is closed and counted in /metrics")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        walk(sys.argv[1], sys.argv[2])
    except AssertionError as error:
        sys.exit(str(error))
