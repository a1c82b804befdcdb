"""Runs a load, then asks once: how long the first answer after it takes, and for whom the service worked.

    after_load.py ADDRESS OUT.json -- http_load …
"""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

address, out = sys.argv[1:3]
host, port = address.rsplit(":", 1)


def predictions():
    """How many predictions the service has made."""
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    return sum(float(value) for value in re.findall(r"^ml_model_predictions_total\{.*\} (\S+)$", text, re.M))


body = b'{"transaction_id": "after-%d", "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16, "tx_datetime": "%s"}' % (
    time.time_ns(),
    time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()).encode(),
)
request = b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
before = predictions()
# The load client waits for its last answers for as long as its clients do: what is asked for is the time after the
# last request was sent, so the first question comes while it still waits.
load = subprocess.run(sys.argv[4:], check=True, capture_output=True, text=True)
start = time.perf_counter()
with socket.create_connection((host, int(port)), timeout=30) as connection:
    connection.sendall(request)
    status = int(connection.recv(4096).split(b" ")[1])
first_ms = (time.perf_counter() - start) * 1e3
run = json.loads(load.stdout)
run["first_after_ms"], run["first_after_status"] = round(first_ms, 1), status
run["predictions"] = predictions() - before - 1
json.dump(run, open(out, "w"))
