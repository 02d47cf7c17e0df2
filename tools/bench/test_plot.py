#!/usr/bin/python3
"""Unit tests of plot: what it draws of which program's JSON, and that gnuplot takes it."""
import sys

sys.dont_write_bytecode = True

import importlib.machinery
import importlib.util
import os
import tempfile
import unittest

import host

LOADER = importlib.machinery.SourceFileLoader("plot", os.path.join(os.path.dirname(
    os.path.abspath(__file__)), "plot"))
plot = importlib.util.module_from_spec(importlib.util.spec_from_loader("plot", LOADER))
LOADER.exec_module(plot)

ENVIRONMENT = {"date": "2026-01-01 00:00 UTC", "commit": "abc"}


def figure(value):
    return {"median": value, "min": value / 2, "max": value * 2, "runs": [value]}


def bench(rate_asked, p50_us):
    pair = {"base": "kernel", "ratio_by_round": figure(1.5), "medians": {"total_cpu_us": 0.5}}
    variant = {"p50_us": figure(p50_us), "p99_us": figure(2 * p50_us), "p999_us": None}
    return {"rate_asked": rate_asked, "variants": {"kernel": variant, "mtcpd": variant},
            "pairs": {"mtcpd": pair}}


COMPARE = {"environment": ENVIRONMENT, "benches": {"redis-get": bench(None, 40.0),
                                                   "rr-5k": bench(5000, 30.0)}}
CURVE = {"environment": ENVIRONMENT, "benches": {"curve-1k": bench(1000, 30.0),
                                                 "curve-20k": bench(20000, 90.0)}}
ENGINE = {"environment": ENVIRONMENT, "rpc64_cycles": 1500, "runs": [
    {"work": "rpc", "conns": 1, "mtu": 1500, "batch": 32, "cycles": figure(1400)},
    {"work": "rpc", "conns": 1000, "mtu": 1500, "batch": 32, "cycles": figure(1500)},
    {"work": "conn", "conns": 1000, "mtu": 1500, "batch": 32, "cycles": figure(6000)},
    {"work": "conn", "conns": 100000, "mtu": 1500, "batch": 32, "cycles": figure(7000)},
    {"work": "in", "conns": 1, "mtu": 9000, "batch": 32, "cycles": figure(100000)}]}
WAKE = {"environment": ENVIRONMENT, "hop_p50_ns": 400, "hop_p99_ns": 900,
        "wake_engine_p50_us": 10, "wake_engine_p99_us": 40, "wake_client_p50_us": 12,
        "wake_client_p99_us": 50}


def scale(count):
    return {"environment": ENVIRONMENT, "opened": count, "setup_per_s": 50000,
            "idle_conn_bytes": 900, "idle_conn_daemon_bytes": 600, "idle_conn_client_bytes": 300,
            "few": {"p99_us": 90}, "idle": {"p99_us": 100}, "watched": None}


class PlotTest(unittest.TestCase):
    def named(self, *reports):
        return {p.name: p for p in plot.plots(reports)}

    def test_kind_is_told_by_keys(self):
        kinds = [plot.kind(r) for r in (COMPARE, ENGINE, scale(1), WAKE)]
        self.assertEqual(kinds, ["compare", "engine", "scale", "wake"])
        with self.assertRaises(ValueError):
            plot.kind({"other": 1})

    def test_compare_draws_ratios_but_no_rate_of_an_open_loop(self):
        plots = self.named(COMPARE)
        self.assertEqual(set(plots), {"ratio", "cpu"})
        self.assertEqual(plots["ratio"].series,
                         {"mtcpd to kernel": [("redis-get", 1.5, 0.75, 3.0)]})
        self.assertEqual(len(plots["cpu"].series["mtcpd to kernel"]), 2)

    def test_curve_draws_latency_against_load(self):
        plots = self.named(CURVE)
        self.assertEqual(plots["curve-p99"].series["mtcpd"], [(1.0, 60.0), (20.0, 180.0)])
        self.assertEqual(plots["curve-p999"].series, {})

    def test_scale_files_make_one_plot(self):
        plots = self.named(scale(1000), scale(1000000))
        self.assertEqual(plots["scale-bytes"].series["idle_conn_bytes"],
                         [(1000, 900), (1000000, 900)])
        self.assertEqual(set(plots["scale-latency"].series), {"few", "idle"})

    def test_gnuplot_draws_all_of_them(self):
        if not host.find_program("gnuplot"):
            self.skipTest("gnuplot (Debian: gnuplot-nox) is not installed")
        reports = (COMPARE, CURVE, ENGINE, scale(1000), scale(1000000), WAKE)
        with tempfile.TemporaryDirectory() as directory:
            for one in plot.plots(reports):
                path = os.path.join(directory, one.name + ".svg")
                self.assertEqual(plot.draw(one, directory), bool(one.series))
                if one.series:
                    with open(path, encoding="utf-8") as file:
                        self.assertIn("</svg>", file.read())


if __name__ == "__main__":
    unittest.main()
