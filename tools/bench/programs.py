"""The benches: which server, which client, and how to read what the client says."""
import csv
import json
import os
import re

import host
import net

PAGE_BYTES = 64
CLIENT_PATIENCE_S = 60


def figures(rate, p50_us, p99_us, cost, **more):
    return {"rate": rate, "p50_us": p50_us, "p99_us": p99_us, **more, **cost}


# -- redis ----------------------------------------------------------------------------------------

def parse_redis_csv(text, command="GET"):
    """What redis-benchmark --csv says of it: requests/s, p50 and p99 in microseconds."""
    for row in csv.DictReader(text.splitlines()):
        if row["test"] == command:
            return (float(row["rps"]), 1000 * float(row["p50_latency_ms"]),
                    1000 * float(row["p99_latency_ms"]))
    raise ValueError("no %s in %r" % (command, text[-300:]))


class Redis:
    """GET or SET of a value of 64 bytes. The client counts requests, not time: a short run tells
    how many make the time asked for."""

    needs = ("redis-server", "redis-benchmark")
    unit = "requests/s"
    op = "request"
    port = 6379

    def __init__(self, name, title, command, connections, pipeline):
        self.name, self.title, self.command = name, title, command
        self.connections, self.pipeline = connections, pipeline

    def client(self, side, command, requests):
        return side.client(
            CLIENT_PATIENCE_S, host.find_program("redis-benchmark"), "-h", net.SERVER_IP,
            "-t", command.lower(), "-n", str(requests), "-d", str(PAGE_BYTES),
            "-c", str(self.connections), "-P", str(self.pipeline), "--csv")

    def measure(self, side, requests):
        client = self.client(side, self.command, requests)
        return client, parse_redis_csv(client.output, self.command)

    def run(self, side, seconds):
        side.serve("redis-server", self.port, host.find_program("redis-server"),
                   "--bind", net.SERVER_IP, "--port", str(self.port), "--save", "",
                   "--appendonly", "no", "--protected-mode", "no", "--dir", side.directory)
        self.client(side, "SET", self.connections)
        rate = self.measure(side, 2000 * self.pipeline)[1][0]
        rate = self.measure(side, int(rate) // 2 + 1)[1][0]
        requests = max(1000, int(rate * seconds))
        client, seen = self.measure(side, requests)
        return figures(*seen, client.cost(requests))


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


def parse_ab(text):
    """What ab says: requests, requests/s, failures."""
    def value(name):
        found = re.search(r"^%s:\s+([\d.]+)" % name, text, re.M)
        return float(found[1]) if found else None

    complete, rate = value("Complete requests"), value("Requests per second")
    if not complete or not rate:
        raise ValueError("no result in %r" % text[-300:])
    failed = (value("Failed requests") or 0) + (value("Non-2xx responses") or 0)
    return int(complete), rate, "%d requests failed" % failed if failed else None


def parse_ab_percentiles(text):
    """The file that ab -e writes, milliseconds by percent: p50 and p99 in microseconds."""
    by_percent = {row[0]: row[1] for row in csv.reader(text.splitlines()) if len(row) == 2}
    return 1000 * float(by_percent["50"]), 1000 * float(by_percent["99"])


LIGHTTPD_CONF = """\
server.document-root = "{directory}/www"
server.bind = "{address}"
server.port = {port}
server.max-keep-alive-requests = 65535
server.max-connections = 2048
server.max-fds = 4096
"""


class Lighttpd:
    """What Wrk and Ab have in common: a server with a page of 64 bytes."""

    unit = "requests/s"
    op = "request"
    port = 80
    url = "http://%s:%d/page" % (net.SERVER_IP, port)

    def serve(self, side):
        side.serve("lighttpd", self.port, host.find_program("lighttpd"), "-D", "-f",
                   self.configure(side.directory))

    def configure(self, directory):
        os.makedirs(os.path.join(directory, "www"), exist_ok=True)
        with open(os.path.join(directory, "www", "page"), "wb") as page:
            page.write(b"x" * PAGE_BYTES)
        path = os.path.join(directory, "lighttpd.conf")
        with open(path, "w", encoding="ascii") as conf:
            conf.write(LIGHTTPD_CONF.format(directory=directory, address=net.SERVER_IP,
                                            port=self.port))
        return path


def with_errors(result, errors):
    if errors:
        result["error"] = errors
    return result


class Wrk(Lighttpd):
    needs = ("lighttpd", "wrk")

    def __init__(self, name, title, connections, header=()):
        self.name, self.title = name, title
        self.connections, self.header = connections, header

    def run(self, side, seconds):
        self.serve(side)
        client = side.client(
            seconds + CLIENT_PATIENCE_S, host.find_program("wrk"), "-t1",
            "-c%d" % self.connections, "-d%ds" % seconds, "--latency", *self.header, self.url)
        requests, rate, p50_us, p99_us, errors = parse_wrk(client.output)
        return with_errors(figures(rate, p50_us, p99_us, client.cost(requests)), errors)


class Ab(Lighttpd):
    """A connection a request. The client counts requests, not time."""

    needs = ("lighttpd", "ab")
    connections = 64

    def __init__(self, name, title):
        self.name, self.title = name, title

    def measure(self, side, requests):
        csv_path = os.path.join(side.directory, "ab.csv")
        client = side.client(CLIENT_PATIENCE_S, host.find_program("ab"), "-q", "-n",
                             str(requests), "-c", str(self.connections), "-e", csv_path, self.url)
        with open(csv_path, encoding="ascii") as file:
            return client, *parse_ab(client.output), *parse_ab_percentiles(file.read())

    def run(self, side, seconds):
        self.serve(side)
        rate = self.measure(side, 3000)[2]
        client, requests, rate, errors, p50_us, p99_us = self.measure(
            side, max(1000, int(rate * seconds)))
        return with_errors(figures(rate, p50_us, p99_us, client.cost(requests)), errors)


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

    def __init__(self, name, title, *options):
        self.name, self.title, self.options = name, title, options

    def run(self, side, seconds):
        side.serve("iperf3", self.port, host.find_program("iperf3"), "-s", "-B", net.SERVER_IP)
        client = side.client(seconds + CLIENT_PATIENCE_S, host.find_program("iperf3"), "-c",
                             net.SERVER_IP, "-t", str(seconds), "-J", *self.options)
        size_bytes, rate = parse_iperf(client.output)
        return figures(rate, None, None, client.cost(size_bytes / 1e6))


# -- openloop -------------------------------------------------------------------------------------

class Openloop:
    """Round trips at a fixed rate. Its rate is what was answered in time, its latency counts
    from when a message was due, and falling behind is no error: p99.9 tells it."""

    needs = ()
    unit = "round trips/s"
    op = "round trip"
    port = 7777

    def __init__(self, name, rate, connections, size_bytes=1):
        self.name, self.rate, self.connections = name, rate, connections
        self.size_bytes = size_bytes

    @property
    def title(self):
        return "open loop, %d round trips/s of %d B, connections: %d" % (
            self.rate, self.size_bytes, self.connections)

    def run(self, side, seconds):
        program = os.path.join(side.build, "bin", "openloop")
        side.serve("openloop", self.port, program, "-l", "-a", net.SERVER_IP)
        client = side.client(
            seconds + CLIENT_PATIENCE_S, program, "-a", net.SERVER_IP, "-r", str(self.rate),
            "-t", str(seconds), "-c", str(self.connections), "-b", str(self.size_bytes), "-j")
        seen = json.loads(client.output)
        return figures(seen["rate"], seen["p50_us"], seen["p99_us"],
                       client.cost(self.rate * (seconds + 0.5)), p999_us=seen["p999_us"],
                       late_p99_us=seen["late_p99_us"], rate_asked=seen["rate_asked"])


BENCHES = (
    Redis("redis-get", "redis GET of 64 B, 50 connections", "GET", 50, 1),
    Redis("redis-get-1", "redis GET of 64 B, 1 connection", "GET", 1, 1),
    Redis("redis-get-p16", "redis GET of 64 B, 50 connections, 16 in flight on each", "GET", 50,
          16),
    Redis("redis-set", "redis SET of 64 B, 50 connections", "SET", 50, 1),
    Redis("redis-set-p16", "redis SET of 64 B, 50 connections, 16 in flight on each", "SET", 50,
          16),
    Wrk("wrk-1", "lighttpd, page of 64 B, 1 connection kept alive", 1),
    Wrk("wrk-64", "lighttpd, page of 64 B, 64 connections kept alive", 64),
    Wrk("wrk-1000", "lighttpd, page of 64 B, 1,000 connections kept alive", 1000),
    Wrk("wrk-close", "lighttpd, page of 64 B, a connection a request, 64 at once", 64,
        ("-H", "Connection: close")),
    Ab("ab-close", "ab: lighttpd, page of 64 B, a connection a request, 64 at once"),
    Iperf("iperf-receive", "iperf3, one stream towards the server"),
    Iperf("iperf-receive-8", "iperf3, 8 streams towards the server", "-P", "8"),
    Iperf("iperf-send", "iperf3 -R, one stream from the server", "-R"),
    Iperf("iperf-send-8", "iperf3 -R, 8 streams from the server", "-R", "-P", "8"),
    Openloop("rr-5k", 5000, 1),
    Openloop("rr-20k", 20000, 16),
    Openloop("rr-40k", 40000, 16),
)

# Load against latency.
CURVE = tuple(Openloop("curve-%dk" % k, 1000 * k, 16)
              for k in (1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200))
