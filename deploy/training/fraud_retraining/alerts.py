"""Tells Alertmanager that a step failed. Standard library only: Airflow's own Python runs it."""

import json
import urllib.request
from datetime import UTC, datetime, timedelta

TIMEOUT = 10


def post(url: str, labels: dict[str, str], annotations: dict[str, str], lasts: timedelta = timedelta(hours=1)) -> None:
    """One alert to `url` (Alertmanager's address), which resolves by itself after `lasts`. Raises `OSError`."""
    now = datetime.now(UTC)
    alert = {
        "labels": labels,
        "annotations": annotations,
        "startsAt": now.isoformat(),
        "endsAt": (now + lasts).isoformat(),
    }
    request = urllib.request.Request(
        f"{url.rstrip('/')}/api/v2/alerts",
        data=json.dumps([alert]).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        answer.read()
