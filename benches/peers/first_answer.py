"""Time from the start of fraud-api to its first 200, and its memory then."""

import os
import socket
import subprocess
import sys
import time

environment = {
    "FRAUD__SERVER__BIND": "127.0.0.1:8103",
    "FRAUD__SERVER__MANAGEMENT": "none",
    "FRAUD__TELEMETRY__LOG_LEVEL": "warn",
}
if len(sys.argv) > 1 and sys.argv[1]:
    environment["FRAUD__MODEL__PATH"] = sys.argv[1]
body = b'{"transaction_id": 1, "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16, "tx_datetime": "2026-01-31 12:00:00"}'
request = b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
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
elapsed = time.perf_counter() - start
pages = int(open(f"/proc/{process.pid}/statm").read().split()[1])
print(f"first 200 after {elapsed * 1e3:.0f} ms, {pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.1f} MiB resident")
process.terminate()
process.wait()
