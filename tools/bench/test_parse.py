#!/usr/bin/python3
"""Unit tests of what reads the programs' words and of what sums the runs up."""
import sys

sys.dont_write_bytecode = True

import unittest

import programs
import report

REDIS = '''"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",\
"p99_latency_ms","max_latency_ms"
"GET","25641.03","0.112","0.024","0.103","0.239","0.327","0.551"
'''

WRK = """Running 1s test @ http://127.0.0.1:8099/64
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   227.21us  560.19us   5.67ms   93.50%
    Req/Sec    33.18k     4.60k   39.18k    63.64%
  Latency Distribution
     50%   78.00us
     75%  120.00us
     90%  286.00us
     99%    3.16ms
  36298 requests in 1.10s, 7.86MB read
Requests/sec:  32862.19
Transfer/sec:      7.11MB
"""

IPERF = '{"end": {"sum_received": {"bytes": 2500000, "bits_per_second": 2e9}}}'


AB = """Concurrency Level:      4
Time taken for tests:   0.125 seconds
Complete requests:      3000
Failed requests:        0
Requests per second:    24006.15 [#/sec] (mean)
"""

AB_CSV = """Percentage served,Time in ms
0,0.048
50,0.130
99,0.412
"""


class Bench:
    name, title, unit, op = "b", "a bench", "requests/s", "request"


BASES = {"kernel": None, "mtcpd": "kernel", "mtcpd-virtio": "kernel-offload"}


def result(rate, **more):
    return {"rate": rate, "p50_us": None, "p99_us": 2 * rate, "server_cpu_us": 3.0,
            "client_cpu_us": 4.0, "ksoftirqd_cpu_us": 0.0, "total_cpu_us": 7.0,
            "other_cpu_percent": 1.0, **more}


class ParseTest(unittest.TestCase):
    def test_redis_csv_gives_rate_and_microseconds(self):
        self.assertEqual(programs.parse_redis_csv(REDIS), (25641.03, 103.0, 327.0))

    def test_redis_set_is_found_by_name(self):
        text = REDIS.replace("GET", "SET")
        self.assertEqual(programs.parse_redis_csv(text, "SET"), (25641.03, 103.0, 327.0))

    def test_redis_without_get_is_refused(self):
        with self.assertRaises(ValueError):
            programs.parse_redis_csv("WARNING: could not connect\n")

    def test_wrk_gives_requests_rate_and_microseconds(self):
        self.assertEqual(programs.parse_wrk(WRK), (36298, 32862.19, 78.0, 3160.0, None))

    def test_wrk_errors_are_told(self):
        text = WRK + "  Socket errors: connect 0, read 3, write 0, timeout 1\n"
        self.assertIn("read 3", programs.parse_wrk(text)[4])

    def test_wrk_without_result_is_refused(self):
        with self.assertRaises(ValueError):
            programs.parse_wrk("unable to connect\n")

    def test_ab_gives_requests_and_rate(self):
        self.assertEqual(programs.parse_ab(AB), (3000, 24006.15, None))

    def test_ab_failures_are_told(self):
        text = AB.replace("Failed requests:        0", "Failed requests:        7")
        self.assertEqual(programs.parse_ab(text)[2], "7 requests failed")
        self.assertEqual(programs.parse_ab(AB + "Non-2xx responses:      2\n")[2],
                         "2 requests failed")

    def test_ab_without_result_is_refused(self):
        with self.assertRaises(ValueError):
            programs.parse_ab("apr_socket_connect(): Connection refused (111)\n")

    def test_ab_percentiles_are_microseconds(self):
        self.assertEqual(programs.parse_ab_percentiles(AB_CSV), (130.0, 412.0))

    def test_iperf_gives_bytes_and_gigabits(self):
        self.assertEqual(programs.parse_iperf(IPERF), (2500000, 2.0))

    def test_iperf_error_is_refused(self):
        with self.assertRaises(ValueError):
            programs.parse_iperf('{"error": "unable to connect"}')


class ReportTest(unittest.TestCase):
    def summary(self, kernel, mtcpd, **more):
        environment = {"date": "d", "commit": "c", "kernel": "k", "cpu": "x", "cpus": 2,
                       "hugepages": 0, "server_cpu": 0, "client_cpu": 1,
                       "congestion_control": "reno", "load_before": 0.0, "load_after": 0.0}
        settings = {"rounds": len(kernel), "seconds": 1, "variants": ["kernel", "mtcpd"]}
        return report.summary(environment, settings, [Bench],
                              {"b": {"kernel": kernel, "mtcpd": mtcpd, **more}}, BASES)

    def test_median_spread_and_ratio(self):
        summary = self.summary([result(r) for r in (9, 10, 30)],
                               [result(r) for r in (20, 5, 21)])
        bench = summary["benches"]["b"]
        self.assertEqual(bench["variants"]["kernel"]["rate"],
                         {"median": 10, "min": 9, "max": 30, "runs": [9, 10, 30]})
        pair = bench["pairs"]["mtcpd"]
        self.assertEqual(pair["medians"]["rate"], 2.0)
        self.assertEqual((pair["base"], pair["kernel"], pair["mtcpd"]), ("kernel", 10, 20))
        by_round = pair["ratio_by_round"]
        self.assertEqual(by_round["runs"], [20 / 9, 0.5, 0.7])
        self.assertEqual(by_round["median"], 0.7)
        self.assertEqual((bench["kernel"], bench["mtcpd"], bench["ratio"]), (10, 20, 0.7))
        self.assertIsNone(bench["variants"]["mtcpd"]["p50_us"])
        self.assertIsNone(pair["medians"]["p50_us"])
        self.assertEqual(pair["medians"]["p99_us"], 2.0)

    def test_a_variant_is_held_against_the_kernel_with_the_same_offloads(self):
        runs = {"kernel-offload": [result(40)], "mtcpd-virtio": [result(50)]}
        pairs = self.summary([result(10)], [result(20)], **runs)["benches"]["b"]["pairs"]
        self.assertEqual(pairs["mtcpd-virtio"]["base"], "kernel-offload")
        self.assertEqual(pairs["mtcpd-virtio"]["ratio"], 1.25)
        self.assertEqual(pairs["kernel-offload"]["ratio"], 4.0)
        self.assertNotIn("kernel", pairs)

    def test_a_variant_without_its_base_is_held_against_the_plain_kernel(self):
        summary = self.summary([result(10)], [result(20)], **{"mtcpd-virtio": [result(50)]})
        pair = summary["benches"]["b"]["pairs"]["mtcpd-virtio"]
        self.assertEqual((pair["base"], pair["ratio"]), ("kernel", 5.0))

    def test_a_run_with_errors_counts_as_failed_and_for_nothing_else(self):
        summary = self.summary([result(10), result(10)],
                               [result(99, error="Socket errors"), result(20)])
        mtcpd = summary["benches"]["b"]["variants"]["mtcpd"]
        self.assertEqual((mtcpd["failed"], mtcpd["errors"]), (1, ["Socket errors"]))
        self.assertEqual(mtcpd["rate"]["runs"], [20])
        pair = summary["benches"]["b"]["pairs"]["mtcpd"]
        self.assertEqual(pair["ratio_by_round"]["runs"], [2.0])
        self.assertIn("FAILED b on mtcpd: Socket errors", report.table(summary))

    def test_a_variant_that_always_failed_has_no_figures(self):
        summary = self.summary([result(10)], [{"error": "Failure: mtcpd ended"}])
        bench = summary["benches"]["b"]
        self.assertIsNone(bench["variants"]["mtcpd"]["rate"])
        self.assertIsNone(bench["pairs"]["mtcpd"]["medians"]["rate"])
        self.assertEqual((bench["kernel"], bench["mtcpd"], bench["ratio"]), (10, None, None))
        self.assertIn("| b     | mtcpd   | -", report.table(summary))

    def test_a_noisy_machine_is_told(self):
        noisy = [result(10, other_cpu_percent=40.0)]
        self.assertIn("NOT QUIET", report.table(self.summary(noisy, [result(10)])))
        self.assertNotIn("NOT QUIET", report.table(self.summary([result(10)], [result(10)])))


if __name__ == "__main__":
    unittest.main()
