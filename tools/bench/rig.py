"""What `scale` and `wake` measure with: a daemon, a peer without state, and one native client.

    bench-peer  <--- net_memif, or a veth with net_af_packet at both ends --->  mtcpd
    on CLIENT_CPU                                                               on SERVER_CPU
                                                    bench-client on CLIENT_CPU ---'

The peer answers for every address (10.80.0.1 is the gateway to all of them), so ports do not run
out. Everything carries the process id in its name and ends with the context.
"""
import json
import os
import shutil
import subprocess
import tempfile
import time

import host
import net

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAEMON_IP, GATEWAY = "10.80.0.2", "10.80.0.1"
REMOTE = "10.81.0.0"
DAEMON_IF, PEER_IF = "bd", "bp"
PORTS = ("memif", "veth")
SLACK = 4096  # of limits beyond the connections that are meant


def available(build):
    """Why this machine or build cannot run; None if it can."""
    programs = ("mtcpd", "mtcpctl", "bench-peer", "bench-client", "bench-hop")
    missing = [p for p in programs if not os.access(os.path.join(build, "bin", p), os.X_OK)]
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if len(os.sched_getaffinity(0)) < 2:
        return "needs two CPUs"
    if missing:
        return "not built: %s" % ", ".join(missing)
    return None


def memory(pid):
    """Bytes of memory of a process: what is its own, what it shares (each page that it has
    touched, in whole), and what it has in huge pages."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        kib = {l.split(":")[0]: int(l.split()[1]) for l in file if l.endswith(" kB\n")}
    return {"own": kib["RssAnon"] * 1024, "shared": kib["RssShmem"] * 1024,
            "huge": kib["HugetlbPages"] * 1024}


def arenas(pid):
    """Bytes of memory in each of the daemon's arenas, touched or not."""
    found = {}
    for number in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, number)
        try:
            name = os.readlink(path)
            if "mtcpd-arena-" in name:
                name = name.partition("mtcpd-arena-")[2].split()[0]
                found[name] = found.get(name, 0) + os.stat(path).st_blocks * 512
        except OSError:
            pass
    return found


def cpu_s(pid):
    """CPU time of a process with all its threads, in seconds, to the nanosecond."""
    total = 0
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, thread), encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


class Talker:
    """A process that answers each line with one of JSON."""

    def __init__(self, command, cpu, log, env=None):
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True,
                preexec_fn=host.child_setup(cpu), env={**os.environ, **(env or {})})

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                said = file.read()[-500:].strip()
            raise host.Failure("%s ended: %s" % (self.process.args[0], said))
        return text

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def ask(self, command):
        self.send(command)
        answer = json.loads(self.line())
        if answer.get("error"):
            raise host.Failure("%s: %s" % (command, answer["error"]))
        return answer

    def end(self):
        """What it said last."""
        self.process.terminate()
        try:
            return self.process.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[0]


class Rig:
    def __init__(self, build, port, connections, settings=(), peer_options=()):
        self.build, self.port, self.connections = build, port, connections
        self.settings, self.peer_options = settings, list(peer_options)
        self.namespace = "bench%ds" % os.getpid()
        self.directory = self.daemon = self.peer = self.client = None
        self.peer_report = {}

    def __enter__(self):
        try:
            net.remove_leftovers()
            self.directory = tempfile.mkdtemp(prefix="mtcpd-bench.%d-" % os.getpid(), dir="/tmp")
            os.chmod(self.directory, 0o755)
            host.run("ip", "netns", "add", self.namespace)
            if self.port == "veth":
                self.make_veth()
            self.start_daemon()
            self.start_peer()
            self.start_client()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for talker in (self.client, self.peer):
            if talker:
                talker.end()
        if self.daemon:
            host.stop(self.daemon, 60)
        host.run("ip", "netns", "del", self.namespace, check=False)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def make_veth(self):
        """Both ends in one namespace, without addresses; frames end behind the packet sockets."""
        inside = ["ip", "netns", "exec", self.namespace]
        host.run(*inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                 "net.ipv6.conf.default.disable_ipv6=1")
        host.run("ip", "-n", self.namespace, "link", "add", DAEMON_IF, "type", "veth", "peer",
                 "name", PEER_IF)
        for interface in (DAEMON_IF, PEER_IF):
            host.run("ip", "-n", self.namespace, "link", "set", interface, "up")
            host.run(*inside, "tc", "qdisc", "add", "dev", interface, "ingress")
            host.run(*inside, "tc", "filter", "add", "dev", interface, "parent", "ffff:",
                     "protocol", "all", "bpf", "da", "bytecode", "1,6 0 0 2")

    def device(self, role):
        if self.port == "memif":
            return ("net_memif0,role=%s,socket=%s/memif,socket-abstract=no,rsize=11"
                    % ("server" if role == "daemon" else "client", self.directory))
        return ("net_af_packet0,iface=%s,qdisc_bypass=1"
                % (DAEMON_IF if role == "daemon" else PEER_IF))

    def program(self, name):
        return ["ip", "netns", "exec", self.namespace, os.path.join(self.build, "bin", name)]

    def configuration(self):
        most = self.connections + SLACK
        settings = {
            "daemon": {"runtime_dir": self.directory + "/run", "group": "nogroup",
                       "shutdown_timeout_s": 0},
            "port": {"device": self.device("daemon"), "address": DAEMON_IP + "/24",
                     "gateway": GATEWAY},
            "engine": {"cores": host.SERVER_CPU},
            "limits": {"connections": most, "connections_per_session": most},
            "tcp": {"ephemeral_ports": "1024-65535"},
        }
        for setting in self.settings:
            key, _, value = setting.partition("=")
            section, _, key = key.partition(".")
            settings.setdefault(section, {})[key] = value
        return "".join("[%s]\n" % section + "".join("%s = %s\n" % pair for pair in keys.items())
                       for section, keys in settings.items())

    def start_daemon(self):
        conf = self.directory + "/mtcpd.conf"
        with open(conf, "w", encoding="ascii") as file:
            file.write(self.configuration())
        self.daemon = host.start([*self.program("mtcpd"), "--config", conf], host.SERVER_CPU,
                                 self.directory + "/mtcpd.log")
        host.wait_until(lambda: os.path.exists(self.directory + "/run/mtcpctl.sock"), "mtcpd",
                        self.daemon)

    def start_peer(self):
        self.peer = Talker([*self.program("bench-peer"), "-d", self.device("peer"),
                            *self.peer_options], host.CLIENT_CPU, self.directory + "/peer.log")
        self.peer.line()

    def start_client(self):
        self.client = Talker([*self.program("bench-client"), "-a", REMOTE], host.CLIENT_CPU,
                             self.directory + "/client.log",
                             {"MTCPD_SOCKET": self.directory + "/run/mtcpd.sock"})
        self.client.line()

    def stop_peer(self):
        self.peer_report = json.loads(self.peer.end().splitlines()[-1])
        self.peer = None

    def ctl(self, *words):
        return host.run(os.path.join(self.build, "bin", "mtcpctl"), "-s",
                        self.directory + "/run/mtcpctl.sock", *words)

    def held(self):
        """Connections of all kinds but TIME-WAIT, in the engines' own count."""
        engines = json.loads(self.ctl("-j", "engine"))
        return sum(e["conns"] + e["half_open"] for e in engines)

    def pids(self):
        return {"daemon": self.daemon.pid, "client": self.client.process.pid}

    def wait_empty(self, patience_s=120):
        """Seconds until the daemon holds no connection."""
        begin = time.monotonic()
        host.wait_until(lambda: self.held() == 0, "end of all connections", self.daemon,
                        patience_s)
        return time.monotonic() - begin
