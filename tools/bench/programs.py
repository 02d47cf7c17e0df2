"""The benches: which server, which client, and how to read what the client says."""
import csv
import json
import os
import re

import host
import net

PAGE_BYTES = 64
CLIENT_PATIENCE_S = 60


def figures(rate, p50_us, p99_us, cost):
    return {"rate": rate, "p50_us": p50_us, "p99_us": p99_us, **cost}


# -- redis ----------------------------------------------------------------------------------------

def parse_redis_csv(text):
    """What redis-benchmark --csv says of GET: requests/s, p50 and p99 in microseconds."""
    for row in csv.DictReader(text.splitlines()):
        if row["test"] == "GET":
            return (float(row["rps"]), 1000 * float(row["p50_latency_ms"]),
                    1000 * float(row["p99_latency_ms"]))
    raise ValueError("no GET in %r" % text[-300:])


class Redis:
    """GET of a value of 64 bytes. The client counts requests, not time: a short run tells how
    many make the time asked for."""

    needs = ("redis-server", "redis-benchmark")
    unit = "requests/s"
    op = "request"
    port = 6379

    def __init__(self, name, title, connections, pipeline):
        self.name, self.title = name, title
        self.connections, self.pipeline = connections, pipeline

    def client(self, side, test, requests):
        command = side.client_command(
            host.find_program("redis-benchmark"), "-h", net.SERVER_IP, "-t", test,
            "-n", str(requests), "-d", str(PAGE_BYTES), "-c", str(self.connections),
            "-P", str(self.pipeline), "--csv")
        return host.Client(command, side.pids(), CLIENT_PATIENCE_S)

    def run(self, side, seconds):
        side.serve("redis-server", self.port, host.find_program("redis-server"),
                   "--bind", net.SERVER_IP, "--port", str(self.port), "--save", "",
                   "--appendonly", "no", "--protected-mode", "no", "--dir", side.directory)
        self.client(side, "set", self.connections)
        rate = parse_redis_csv(self.client(side, "get", 2000 * self.pipeline).output)[0]
        rate = parse_redis_csv(self.client(side, "get", int(rate) // 2 + 1).output)[0]
        requests = max(1000, int(rate * seconds))
        client = self.client(side, "get", requests)
        return figures(*parse_redis_csv(client.output), client.cost(requests))


# -- lighttpd -------------------------------------------------------------------------------------

UNITS_US = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}


def parse_wrk(text):
    """What wrk --latency says: requests, requests/s, p50 and p99 in microseconds, errors."""
    def latency_us(percent):
        found = re.search(r"^\s*%d%%\s+([\d.]+)(\w+)$" % percent, text, re.M)
        return float(found[1]) * UNITS_US[found[2]] if found else None

    requests = re.search(r"^\s*(\d+) requests in", text, re.M)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)$", text, re.M)
    if not requests or not rate:
        raise ValueError("no result in %r" % text[-300:])
    errors = re.search(r"^\s*(Socket errors.*|Non-2xx.*)$", text, re.M)
    return (int(requests[1]), float(rate[1]), latency_us(50), latency_us(99),
            errors[1] if errors else None)


LIGHTTPD_CONF = """\
server.document-root = "{directory}/www"
server.bind = "{address}"
server.port = {port}
server.max-keep-alive-requests = 65535
server.max-connections = 2048
server.max-fds = 4096
"""


class Wrk:
    needs = ("lighttpd", "wrk")
    unit = "requests/s"
    op = "request"
    port = 80

    def __init__(self, name, title, connections, header=()):
        self.name, self.title = name, title
        self.connections, self.header = connections, header

    def configure(self, directory):
        os.makedirs(os.path.join(directory, "www"), exist_ok=True)
        with open(os.path.join(directory, "www", "page"), "wb") as page:
            page.write(b"x" * PAGE_BYTES)
        path = os.path.join(directory, "lighttpd.conf")
        with open(path, "w", encoding="ascii") as conf:
            conf.write(LIGHTTPD_CONF.format(directory=directory, address=net.SERVER_IP,
                                            port=self.port))
        return path

    def run(self, side, seconds):
        side.serve("lighttpd", self.port, host.find_program("lighttpd"), "-D", "-f",
                   self.configure(side.directory))
        command = side.client_command(
            host.find_program("wrk"), "-t1", "-c%d" % self.connections, "-d%ds" % seconds,
            "--latency", *self.header, "http://%s:%d/page" % (net.SERVER_IP, self.port))
        client = host.Client(command, side.pids(), seconds + CLIENT_PATIENCE_S)
        requests, rate, p50_us, p99_us, errors = parse_wrk(client.output)
        result = figures(rate, p50_us, p99_us, client.cost(requests))
        if errors:
            result["error"] = errors
        return result


# -- iperf3 ---------------------------------------------------------------------------------------

def parse_iperf(text):
    """What iperf3 -J says: bytes that arrived, Gbit/s."""
    answer = json.loads(text)
    if "error" in answer:
        raise ValueError(answer["error"])
    received = answer["end"]["sum_received"]
    return received["bytes"], received["bits_per_second"] / 1e9


class Iperf:
    needs = ("iperf3",)
    unit = "Gbit/s"
    op = "MB"
    port = 5201

    def __init__(self, name, title, options=()):
        self.name, self.title, self.options = name, title, options

    def run(self, side, seconds):
        side.serve("iperf3", self.port, host.find_program("iperf3"), "-s", "-B", net.SERVER_IP)
        command = side.client_command(host.find_program("iperf3"), "-c", net.SERVER_IP,
                                      "-t", str(seconds), "-J", *self.options)
        client = host.Client(command, side.pids(), seconds + CLIENT_PATIENCE_S)
        size_bytes, rate = parse_iperf(client.output)
        return figures(rate, None, None, client.cost(size_bytes / 1e6))


BENCHES = (
    Redis("redis-get", "redis GET of 64 B, 50 connections", 50, 1),
    Redis("redis-get-1", "redis GET of 64 B, 1 connection", 1, 1),
    Redis("redis-get-p16", "redis GET of 64 B, 50 connections, 16 in flight on each", 50, 16),
    Wrk("wrk-keepalive", "lighttpd, page of 64 B, 64 connections kept alive", 64),
    Wrk("wrk-close", "lighttpd, page of 64 B, a connection a request, 64 at once", 64,
        ("-H", "Connection: close")),
    Iperf("iperf-receive", "iperf3, one stream towards the variant"),
    Iperf("iperf-send", "iperf3 -R, one stream from the variant", ("-R",)),
)
