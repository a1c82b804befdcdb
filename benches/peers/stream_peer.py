"""The same stream in Python, as well as it goes there: confluent-kafka, orjson, onnxruntime, batches.

The fifteen features of the handbook, exactly: per customer the last 30 days, per terminal the 30 days before the
delay of 7, from sorted times and prefix sums with bisect; one model call per batch; one transaction per batch.
It leaves out what fraud-stream does besides: late events, duplicates, labels, snapshots, recovery, dead letters.

    stream_peer.py BROKERS INPUT OUTPUT COUNT MODEL.onnx
"""

import sys
import time
from bisect import bisect_right
from datetime import datetime, timezone

import numpy
import onnxruntime
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

BATCH, WAIT = 10_000, 0.005
DAY = 86_400
WINDOWS = (DAY, 7 * DAY, 30 * DAY)
DELAY = 7 * DAY
KEEP = DELAY + 30 * DAY + DAY


class Series:
    """Times in order and running sums of one key; what is too old is cut off now and then."""

    __slots__ = ("times", "sums")

    def __init__(self):
        self.times, self.sums = [], [0.0]

    def add(self, at, amount):
        self.times.append(at)
        self.sums.append(self.sums[-1] + amount)
        if len(self.times) > 256 and self.times[128] < at - KEEP:
            cut = bisect_right(self.times, at - KEEP)
            del self.times[:cut]
            del self.sums[:cut]


def features(customers, terminals, row, out):
    at, amount = row["tx_time"], row["tx_amount"]
    moment = datetime.fromtimestamp(at, timezone.utc)
    customer = customers.get(row["customer_id"])
    if customer is None:
        customer = customers[row["customer_id"]] = Series()
    terminal = terminals.get(row["terminal_id"])
    if terminal is None:
        terminal = terminals[row["terminal_id"]] = Series()
    customer.add(at, amount)
    values = [amount, moment.weekday() >= 5, moment.hour <= 6]
    times, sums = customer.times, customer.sums
    end = len(times)
    for window in WINDOWS:
        begin = bisect_right(times, at - window)
        values.append(end - begin)
        values.append((sums[end] - sums[begin]) / (end - begin))
    times = terminal.times
    end = bisect_right(times, at - DELAY)
    for window in WINDOWS:
        begin = bisect_right(times, at - DELAY - window, 0, end)
        values.append(end - begin)
        values.append(0.0)  # without labels the share of known frauds is 0
    terminal.add(at, amount)
    out[:] = values


def main():
    brokers, source, target, wanted, model = sys.argv[1:]
    wanted = int(wanted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    probabilities = next((output for output in outputs if "prob" in output), outputs[-1])
    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": "peer", "enable.auto.commit": False,
        "isolation.level": "read_committed", "fetch.wait.max.ms": 100, "queued.min.messages": 50_000,
    })
    producer = Producer({
        "bootstrap.servers": brokers, "transactional.id": "peer", "linger.ms": 1,
        "batch.num.messages": 20_000, "queue.buffering.max.messages": 200_000,
    })
    producer.init_transactions(30)
    count = len(consumer.list_topics(source).topics[source].partitions)
    consumer.assign([TopicPartition(source, partition, 0) for partition in range(count)])
    customers, terminals = {}, {}
    matrix = numpy.zeros((BATCH, 15), dtype=numpy.float64)
    done, begin = 0, None
    while done < wanted:
        messages = consumer.consume(BATCH, WAIT)
        if not messages:
            continue
        begin = begin or time.perf_counter()
        rows, ends = [], {}
        for index, message in enumerate(messages):
            row = orjson.loads(message.value())
            if "tx_time" not in row:
                text = row.get("tx_datetime")
                row["tx_time"] = int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) \
                    if text else row["tx_time_seconds"]
            features(customers, terminals, row, matrix[index])
            rows.append(row)
            ends[message.partition()] = message.offset() + 1
        answer = session.run([probabilities], {name: matrix[: len(rows)].astype(numpy.float32)})[0]
        scores = answer[:, -1] if getattr(answer, "ndim", 1) == 2 else [row[1] for row in answer]
        producer.begin_transaction()
        for row, score in zip(rows, scores):
            p = float(score)
            decision = "decline" if p >= 0.7 else "review" if p >= 0.3 else "approve"
            value = orjson.dumps({
                "transaction_id": str(row["transaction_id"]), "fraud_probability": p, "decision": decision,
                "risk_level": "high" if p >= 0.7 else "medium" if p >= 0.3 else "low",
                "model_version": "peer", "confidence_score": max(p, 1 - p),
            })
            producer.produce(target, value, str(row["transaction_id"]))
        producer.flush()
        positions = [TopicPartition(source, partition, offset) for partition, offset in ends.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()
        done += len(rows)
    seconds = time.perf_counter() - begin
    print(f"scored {done} in {seconds:.3f} s: {done / seconds:.0f}/s")


main()
