"""The same stream in Python, as well as it goes there: confluent-kafka, orjson, onnxruntime, batches.

The fifteen features of the handbook, exactly: per customer the last 30 days, per terminal the 30 days before the
delay of 7, from sorted times and prefix sums with bisect, and the known frauds from labels read beside the input; one
model call per batch; one transaction per batch; predictions with the fields, key and headers of fraud-stream's.
It leaves out what fraud-stream does besides: late events, content of duplicates, reasons, validation, order between
partitions, snapshots, recovery, dead letters, metrics.

    stream_peer.py BROKERS INPUT LABELS OUTPUT COUNT MODEL.onnx
"""

import gc
import os
import sys
import time
from array import array
from bisect import bisect_right, insort
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


class Customer:
    """Times in order and running sums; what is too old is cut off now and then."""

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


class Terminal:
    """Times of transactions and of known frauds, in order: partitions are read at different speeds."""

    __slots__ = ("times", "frauds")

    def __init__(self):
        self.times, self.frauds = [], []

    def add(self, at):
        times = self.times
        if times and at < times[-1]:
            insort(times, at)
        else:
            times.append(at)
        if len(times) > 256 and times[128] < at - KEEP:
            del times[: bisect_right(times, at - KEEP)]


def features(customer, terminal, at, amount):
    customer.add(at, amount)
    day = at // DAY
    values = [amount, (day + 3) % 7 >= 5, at % DAY < 7 * 3600]
    times, sums = customer.times, customer.sums
    end = len(times)
    for window in WINDOWS:
        begin = bisect_right(times, at - window)
        values.append(end - begin)
        values.append((sums[end] - sums[begin]) / (end - begin))
    times, frauds = terminal.times, terminal.frauds
    end = bisect_right(times, at - DELAY)
    last = bisect_right(frauds, at - DELAY) if frauds else 0
    for window in WINDOWS:
        begin = bisect_right(times, at - DELAY - window, 0, end)
        values.append(end - begin)
        known = last - bisect_right(frauds, at - DELAY - window, 0, last) if last else 0
        values.append(known / (end - begin) if known else 0.0)
    terminal.add(at)
    return values


def seconds_of(row):
    text = row.get("tx_datetime")
    if text is None:
        return row["tx_time_seconds"]
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())


def partitions(consumer, topic):
    return [TopicPartition(topic, number, 0) for number in range(len(consumer.list_topics(topic).topics[topic].partitions))]


def main():
    brokers, source, labelled, target, wanted, model = sys.argv[1:]
    wanted = int(wanted)
    gc.disable()  # nothing here is a cycle, and the state would be walked through again and again
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    probabilities = next((output for output in outputs if "prob" in output), outputs[-1])
    reading = {
        "bootstrap.servers": brokers, "group.id": "peer", "enable.auto.commit": False,
        "isolation.level": "read_committed", "fetch.wait.max.ms": 100, "queued.min.messages": 50_000,
    }
    consumer, labels = Consumer(reading), Consumer(reading)
    producer = Producer({
        "bootstrap.servers": brokers, "transactional.id": "peer", "linger.ms": 1,
        "batch.num.messages": 20_000, "queue.buffering.max.messages": 200_000,
    })
    producer.init_transactions(30)
    consumer.assign(partitions(consumer, source))
    labels.assign(partitions(labels, labelled))
    customers, terminals, seen = {}, {}, {}
    done, begin = 0, None
    while done < wanted:
        messages = consumer.consume(BATCH, WAIT)
        if not messages:
            continue
        begin = begin or time.perf_counter()
        for message in labels.consume(BATCH, 0):
            label = orjson.loads(message.value())
            place = seen.get(str(label["transaction_id"]))
            if place and label["label"]:
                insort(place[0].frauds, place[1])
        rows, ends, matrix = [], {}, array("d")
        for message in messages:
            row = orjson.loads(message.value())
            at, key = seconds_of(row), row["transaction_id"]
            customer = customers.get(row["customer_id"])
            if customer is None:
                customer = customers[row["customer_id"]] = Customer()
            terminal = terminals.get(row["terminal_id"])
            if terminal is None:
                terminal = terminals[row["terminal_id"]] = Terminal()
            matrix.extend(features(customer, terminal, at, row["tx_amount"]))
            key = str(key)
            duplicate = key in seen
            seen[key] = (terminal, at)
            rows.append((key, duplicate, message))
            ends[message.partition()] = message.offset() + 1
        batch = numpy.frombuffer(matrix).reshape(len(rows), 15).astype(numpy.float32)
        answer = session.run([probabilities], {name: batch})[0]
        scores = answer[:, -1] if getattr(answer, "ndim", 1) == 2 else [row[1] for row in answer]
        producer.begin_transaction()
        for (key, duplicate, message), score in zip(rows, scores.tolist() if hasattr(scores, "tolist") else scores):
            value = orjson.dumps({
                "transaction_id": key, "fraud_probability": score,
                "risk_level": "high" if score >= 0.7 else "medium" if score >= 0.3 else "low",
                "decision": "decline" if score >= 0.7 else "review" if score >= 0.3 else "approve",
                "decision_source": "model", "reasons": [], "duplicate": duplicate, "late": False,
                "history_complete": True, "model_version": "peer", "model_type": "onnx", "policy_version": "default",
                "confidence_score": max(score, 1 - score),
            })
            headers = [
                ("model-version", b"peer"), ("schema-version", b"1"),
                ("input", f"{message.partition()}:{message.offset()}"), ("record-time", str(message.timestamp()[1])),
            ]
            producer.produce(target, value, key, headers=headers)
        producer.flush()
        positions = [TopicPartition(source, partition, offset) for partition, offset in ends.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()
        done += len(rows)
    seconds = time.perf_counter() - begin
    print(f"scored {done} in {seconds:.3f} s: {done / seconds:.0f}/s, {sum(os.times()[:2]):.2f} CPU-s")


main()
