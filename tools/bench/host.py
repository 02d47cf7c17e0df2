"""The machine: processes pinned to a CPU that die with us, CPU time, what to say about it."""
import ctypes
import datetime
import os
import shutil
import signal
import subprocess
import time

SERVER_CPU = 0
CLIENT_CPU = 1
CONGESTION_CONTROL = "reno"

PR_SET_PDEATHSIG = 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Something that was asked for could not be had or measured."""


def find_program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def run(*command, check=True, timeout_s=60):
    """Runs a short command; its output. Failure, with what it said, if its status is not 0."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s)
    if check and done.returncode != 0:
        raise Failure("%s: %s" % (" ".join(command), done.stderr.strip() or done.stdout.strip()))
    return done.stdout


def succeeds(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0


def child_setup(cpu):
    """For preexec_fn: the child and its own run on that CPU, and end if we are killed."""
    def setup():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {cpu})
    return setup


def start(command, cpu, log, env=None):
    """Starts a server; its output goes to the file log."""
    with open(log, "ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=output, preexec_fn=child_setup(cpu),
                                   env={**os.environ, **(env or {})})
    process.log = log
    return process


def last_words(process):
    with open(process.log, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    return lines[-1] if lines else "nothing said"


def stop(process, patience_s=5):
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(condition, what, process=None, patience_s=15):
    end = time.monotonic() + patience_s
    while not condition():
        if process is not None and process.poll() is not None:
            raise Failure("%s ended with status %d: %s" % (what, process.returncode,
                                                           last_words(process)))
        if time.monotonic() > end:
            raise Failure("%s: not there after %d s" % (what, patience_s))
        time.sleep(0.02)


def stat_s(pid):
    """User and system time of a process, all its threads, in seconds."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def cpus_busy_s():
    """Time that our two CPUs were not idle since boot, in seconds."""
    busy = 0
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            name, *ticks = line.split()
            if name in ("cpu%d" % SERVER_CPU, "cpu%d" % CLIENT_CPU):
                busy += sum(int(t) for t in ticks[:8]) - int(ticks[3]) - int(ticks[4])
    return busy / TICKS_PER_S


def ksoftirqd_pids():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid, encoding="ascii", errors="replace") as file:
                if file.read().startswith("ksoftirqd/"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


KSOFTIRQD = ksoftirqd_pids()


class Client:
    """A client run to its end: output, and what CPU time it and the others took meanwhile.
    client_pids: what else works for the client, its daemon."""

    def __init__(self, command, server_pids, client_pids, timeout_s):
        threads = KSOFTIRQD
        server_s = sum(map(stat_s, server_pids))
        daemon_s = sum(map(stat_s, client_pids))
        soft_s = sum(map(stat_s, threads))
        busy_s = cpus_busy_s()
        begin_s = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=child_setup(CLIENT_CPU))
        self.output, self.complaint = self.communicate(timeout_s)
        self.elapsed_s = time.monotonic() - begin_s
        usage = os.times()
        self.client_s = usage.children_user + usage.children_system - self.children_before_s
        self.client_s += sum(map(stat_s, client_pids)) - daemon_s
        self.server_s = sum(map(stat_s, server_pids)) - server_s
        self.soft_s = sum(map(stat_s, threads)) - soft_s
        other_s = cpus_busy_s() - busy_s - self.client_s - self.server_s - self.soft_s
        self.other_percent = max(0.0, 100 * other_s / (2 * self.elapsed_s))

    def communicate(self, timeout_s):
        usage = os.times()
        self.children_before_s = usage.children_user + usage.children_system
        try:
            output = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Failure("the client did not end within %d s" % timeout_s) from None
        except BaseException:
            self.process.kill()
            raise
        if self.process.returncode != 0:
            raise Failure("the client ended with status %d: %s"
                          % (self.process.returncode, (output[1] or output[0])[-300:].strip()))
        return output

    def cost(self, operations):
        """Figures that every bench gives; operations is what they are divided by."""
        micro = 1e6 / max(operations, 1)
        return {
            "server_cpu_us": self.server_s * micro,
            "client_cpu_us": self.client_s * micro,
            "ksoftirqd_cpu_us": self.soft_s * micro,
            "total_cpu_us": (self.server_s + self.client_s + self.soft_s) * micro,
            "other_cpu_percent": self.other_percent,
        }


def first_field(path, name):
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return "unknown"


def environment(source, build):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": os.uname().release,
        "cpu": first_field("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "commit": run("git", "-C", source, "-c", "safe.directory=*", "describe", "--always",
                      "--dirty", check=False).strip() or "unknown",
        "build": os.path.relpath(build, source),
        "hugepages": int(first_field("/proc/meminfo", "HugePages_Free")),
        "load_before": os.getloadavg()[0],
        "server_cpu": SERVER_CPU,
        "client_cpu": CLIENT_CPU,
        "congestion_control": CONGESTION_CONTROL,
    }
