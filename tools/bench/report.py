"""Medians, spread and ratios, as JSON (keys: compare --help) and as a table."""
import statistics

FIGURES = ("rate", "p50_us", "p99_us", "p999_us", "late_p99_us", "server_cpu_us",
           "client_cpu_us", "ksoftirqd_cpu_us", "total_cpu_us", "other_cpu_percent")
COMPARED = ("rate", "p50_us", "p99_us", "p999_us", "server_cpu_us", "client_cpu_us",
            "total_cpu_us")
QUIET_PERCENT = 5


def spread(runs, key):
    values = [run[key] for run in runs if run.get(key) is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "runs": values}


def variant_summary(runs):
    good = [run for run in runs if "error" not in run]
    summary = {key: spread(good, key) for key in FIGURES}
    summary["failed"] = len(runs) - len(good)
    summary["errors"] = [run["error"] for run in runs if "error" in run]
    return summary


def ratio(variant, base):
    """Median over median of what both have; null where there is nothing to divide by."""
    result = {}
    for key in COMPARED:
        a, b = variant[key], base[key]
        result[key] = a["median"] / b["median"] if a and b and b["median"] else None
    return result


def ratio_by_round(runs, base_runs):
    """Each round's rate over the base's of the same round: what the machine's speed did from
    round to round cancels out."""
    pairs = [{"rate": a["rate"] / b["rate"]} for a, b in zip(runs, base_runs)
             if "error" not in a and "error" not in b and b["rate"]]
    return spread(pairs, "rate")


def pair(name, base, results, variants):
    """A variant of mtcpd beside the kernel's that it is held against."""
    by_round = ratio_by_round(results[name], results[base])

    def rate(variant):
        return variants[variant]["rate"]["median"] if variants[variant]["rate"] else None

    return {"base": base, "kernel": rate(base), "mtcpd": rate(name),
            "ratio": by_round["median"] if by_round else None, "ratio_by_round": by_round,
            "medians": ratio(variants[name], variants[base])}


def base_of(name, bases, there):
    """The kernel variant to hold this one against, of those there are; None for one of them."""
    wanted = bases.get(name)
    if wanted and wanted not in there:
        wanted = "kernel"
    if name == "kernel-offload":
        wanted = "kernel"
    return wanted if wanted in there else None


def bench_summary(bench, results, bases):
    variants = {name: variant_summary(runs) for name, runs in results.items()}
    pairs = {name: pair(name, base_of(name, bases, results), results, variants)
             for name in results if base_of(name, bases, results)}
    first = next((pairs[n] for n in pairs if n.startswith("mtcpd")), {})
    return {"title": bench.title, "unit": bench.unit, "op": bench.op,
            "rate_asked": getattr(bench, "rate", None),
            **{key: first.get(key) for key in ("kernel", "mtcpd", "ratio")},
            "variants": variants, "pairs": pairs}


def summary(environment, settings, benches, results, bases):
    return {"schema": 2, "environment": environment, "settings": settings,
            "benches": {b.name: bench_summary(b, results[b.name], bases) for b in benches}}


# -- text -----------------------------------------------------------------------------------------

def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return "%d" % round(value)
    return "%.3g" % value if value < 10 else "%.1f" % value


def one_line(bench, result):
    """Progress: one run."""
    if "error" in result:
        return "failed: " + result["error"]
    return "%s %s, p50 %s us, p99 %s us, others' CPU %.0f%%" % (
        number(result["rate"]), bench.unit, number(result["p50_us"]), number(result["p99_us"]),
        result["other_cpu_percent"])


def cell(figure):
    if figure is None:
        return "-"
    return "%s (%s..%s)" % tuple(number(figure[k]) for k in ("median", "min", "max"))


def median(figure):
    return number(figure["median"]) if figure else "-"


def ratio_cell(bench, name):
    seen = bench["pairs"].get(name, {})
    figure = seen.get("ratio_by_round")
    if not figure:
        return ""
    return "%.2f (%.2f..%.2f)%s" % (figure["median"], figure["min"], figure["max"],
                                    "" if seen["base"] == "kernel" else " to offload")


def row(bench_name, bench, name):
    v = bench["variants"][name]
    return (bench_name, name, cell(v["rate"]), ratio_cell(bench, name), cell(v["p50_us"]),
            cell(v["p99_us"]), median(v["p999_us"]), median(v["server_cpu_us"]), median(v["total_cpu_us"]),
            "%.0f" % v["other_cpu_percent"]["median"] if v["other_cpu_percent"] else "-",
            str(v["failed"]) if v["failed"] else "")


HEAD = ("bench", "variant", "rate: median (min..max)", "ratio", "p50 us", "p99 us",
        "p99.9 us", "server CPU", "total CPU", "others %", "failed")


def notes(report):
    env, settings = report["environment"], report["settings"]
    yield ("%(date)s, commit %(commit)s, Linux %(kernel)s, %(cpu)s, %(cpus)d CPUs, "
           "%(hugepages)d free hugepages" % env)
    yield ("%d rounds of %d s, alternated; server and engine on CPU %d, client on CPU %d; "
           "kernel sockets use %s; load %.1f before, %.1f after"
           % (settings["rounds"], settings["seconds"], env["server_cpu"], env["client_cpu"],
              env["congestion_control"], env["load_before"], env["load_after"]))
    yield "rate in requests/s, of iperf in Gbit/s; CPU in us a request, of iperf a MB, daemons " \
        "included; ratio is to the kernel's rate of the same round, where it says so to that " \
        "of kernel-offload"
    others = [v["other_cpu_percent"]["median"] for b in report["benches"].values()
              for v in b["variants"].values() if v["other_cpu_percent"]]
    if others and max(others) > QUIET_PERCENT:
        yield "NOT QUIET: other processes took up to %.0f%% of the two CPUs" % max(others)
    for name, bench in report["benches"].items():
        for variant, v in bench["variants"].items():
            for error in v["errors"]:
                yield "FAILED %s on %s: %s" % (name, variant, error)


def table(report):
    """Markdown that reads as plain text."""
    rows = [row(name, bench, variant) for name, bench in report["benches"].items()
            for variant in bench["variants"]]
    widths = [max(len(r[i]) for r in [HEAD] + rows) for i in range(len(HEAD))]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join(list(notes(report)) + ["", line(HEAD), rule] + [line(r) for r in rows])
