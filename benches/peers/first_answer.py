"""Time from the start of fraud-api to its first 200, and its memory then: medians.

    first_answer.py ROUNDS [MODEL.onnx]      without a model: the embedded one
"""

import os
import socket
import statistics
import subprocess
import sys
import time

rounds, model = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
environment = {
    "FRAUD__SERVER__BIND": "127.0.0.1:8103",
    "FRAUD__SERVER__MANAGEMENT": "none",
    "FRAUD__TELEMETRY__LOG_LEVEL": "warn",
}
if model:
    environment["FRAUD__MODEL__PATH"] = model
body = b'{"transaction_id": 1, "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16, "tx_datetime": "2026-01-31 12:00:00"}'
request = b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def once():
    start = time.perf_counter()
    process = subprocess.Popen(["target/release/fraud-api"], env=environment)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", 8103)) as connection:
                connection.sendall(request)
                if connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    break
        except OSError:
            pass
        time.sleep(0.002)
    elapsed = (time.perf_counter() - start) * 1e3
    resident = {}
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith(("RssAnon", "RssFile")):
            resident[line[3:7]] = int(line.split()[1]) / 1024
    process.terminate()
    process.wait()
    return elapsed, resident["Anon"], resident["File"]


runs = [once() for _ in range(rounds)]
elapsed, anonymous, file = (statistics.median(column) for column in zip(*runs))
print(
    f"{os.path.basename(model) or 'embedded model':20} first 200 after {elapsed:.0f} ms (at most {max(run[0] for run in runs):.0f}), "
    f"{anonymous + file:.1f} MiB resident: {anonymous:.1f} its own, {file:.1f} pages of the program"
)
