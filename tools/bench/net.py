"""The network of a comparison: two namespaces, a veth, and the server's side in its variants.

Everything carries the process id in its name and goes when the context ends, however it ends; if
this process was killed outright, its children die with it and the next comparison removes what
is left of the namespaces and files.
"""
import contextlib
import glob
import os
import re
import shutil
import socket
import tempfile

import host

CLIENT_IP = "10.78.0.1"
SERVER_IP = "10.78.0.2"
CLIENT_IF, SERVER_IF = "vc", "vs"
OFFLOADS = ("tx", "rx", "tso", "gso", "gro", "tx-udp-segmentation")


def remove_leftovers():
    """What a comparison that was killed could not remove."""
    names = re.findall(r"^(bench(\d+)[cs])\b", host.run("ip", "netns", "list"), re.M)
    names += [(d, d.rpartition(".")[2].partition("-")[0]) for d in glob.glob("/tmp/mtcpd-bench.*-*")]
    for name, pid in names:
        if not pid.isdigit() or os.path.exists("/proc/%s" % pid):
            continue
        if name.startswith("/"):
            shutil.rmtree(name, ignore_errors=True)
        else:
            host.run("ip", "netns", "del", name, check=False)


class Network:
    """Both namespaces and the veth between them; the server's end is set up by variant()."""

    def __init__(self):
        self.client_ns = "bench%dc" % os.getpid()
        self.server_ns = "bench%ds" % os.getpid()
        self.directory = None

    def __enter__(self):
        try:
            remove_leftovers()
            self.directory = tempfile.mkdtemp(prefix="mtcpd-bench.%d-" % os.getpid(), dir="/tmp")
            os.chmod(self.directory, 0o755)
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for namespace in (self.client_ns, self.server_ns):
            host.run("ip", "netns", "del", namespace, check=False)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def build(self):
        for namespace in (self.client_ns, self.server_ns):
            host.run("ip", "netns", "add", namespace)
            host.run("ip", "-n", namespace, "link", "set", "lo", "up")
            host.run("ip", "netns", "exec", namespace, "sysctl", "-qw",
                     "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
                     "net.core.somaxconn=4096",
                     "net.ipv4.tcp_congestion_control=%s" % host.CONGESTION_CONTROL)
        host.run("ip", "-n", self.client_ns, "link", "add", CLIENT_IF,
                 "address", "02:00:00:00:78:01", "type", "veth",
                 "peer", "name", SERVER_IF, "address", "02:00:00:00:78:02",
                 "netns", self.server_ns)
        host.run("ip", "-n", self.client_ns, "addr", "add", CLIENT_IP + "/24", "dev", CLIENT_IF)
        for namespace, interface in ((self.client_ns, CLIENT_IF), (self.server_ns, SERVER_IF)):
            host.run("ip", "-n", namespace, "link", "set", interface, "up")

    def offloads(self, state):
        for namespace, interface in ((self.client_ns, CLIENT_IF), (self.server_ns, SERVER_IF)):
            for feature in OFFLOADS:
                host.run("ip", "netns", "exec", namespace, "ethtool", "-K", interface, feature,
                         state, check=False)

    @contextlib.contextmanager
    def variant(self, name, build, settings):
        """The server's side of that name: a Side whose servers end with the context."""
        self.offloads("on" if name == "kernel-offload" else "off")
        host.run("ip", "-n", self.client_ns, "neigh", "flush", "all")
        host.run("ip", "-n", self.server_ns, "addr", "flush", "dev", SERVER_IF)
        side = (Kernel if name.startswith("kernel") else Mtcpd)(self)
        try:
            side.begin(name, build, settings)
            yield side
        finally:
            side.end()


class Side:
    """Where servers run; pids are those of all processes that serve."""

    def __init__(self, network):
        self.network = network
        self.directory = network.directory
        self.processes = []

    def pids(self):
        return [process.pid for process in self.processes]

    def start(self, name, prefix, command, env=None):
        log = os.path.join(self.directory, name + ".log")
        process = host.start(["ip", "netns", "exec", self.network.server_ns, *prefix, *command],
                             host.SERVER_CPU, log, env)
        self.processes.append(process)
        return process

    def client_command(self, *command):
        return ["ip", "netns", "exec", self.network.client_ns, *command]

    def wait_for_port(self, name, process, port):
        """Connects from the client's namespace, through the network that is measured."""
        def reachable():
            return socket_test(self.network.client_ns, port)
        host.wait_until(reachable, name, process)

    def end(self):
        for process in reversed(self.processes):
            host.stop(process)
        self.processes = []


def socket_test(namespace, port):
    """True if a connection to the server comes about."""
    back = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + namespace, os.O_RDONLY)
    try:
        if host.LIBC.setns(there, 0) != 0:
            raise host.Failure("cannot enter namespace " + namespace)
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((SERVER_IP, port)) == 0
    finally:
        host.LIBC.setns(back, 0)
        os.close(back)
        os.close(there)


class Kernel(Side):
    def begin(self, name, build, settings):
        host.run("ip", "-n", self.network.server_ns, "addr", "add", SERVER_IP + "/24",
                 "dev", SERVER_IF)

    def serve(self, name, port, *command):
        self.wait_for_port(name, self.start(name, [], command), port)


class Mtcpd(Side):
    def begin(self, name, build, settings):
        self.runtime = os.path.join(self.directory, "run")
        self.drop_behind_tap("add")
        self.mtcp_run = os.path.join(build, "bin", "mtcp-run")
        conf = os.path.join(self.directory, "mtcpd.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(self.configuration(name, settings))
        daemon = self.start("mtcpd", [], [os.path.join(build, "bin", "mtcpd"), "--config", conf])
        ready = os.path.join(self.runtime, "mtcpctl.sock")
        host.wait_until(lambda: os.path.exists(ready), "mtcpd", daemon)

    def drop_behind_tap(self, operation):
        """A packet socket gets a copy of each frame; the kernel would go on to look at its own,
        for no address that it has, on the client's CPU. Frames end there instead."""
        tc = ["ip", "netns", "exec", self.network.server_ns, "tc"]
        host.run(*tc, "qdisc", operation, "dev", SERVER_IF, "ingress", check=operation == "add")
        if operation == "add":
            host.run(*tc, "filter", "add", "dev", SERVER_IF, "parent", "ffff:", "protocol", "all",
                     "bpf", "da", "bytecode", "1,6 0 0 2")

    def configuration(self, name, settings):
        if name == "mtcpd-xdp":
            device = "net_af_xdp0,iface=%s" % SERVER_IF
        else:
            device = "net_af_packet0,iface=%s,qdisc_bypass=1" % SERVER_IF
        lines = ["[daemon]", "runtime_dir = " + self.runtime, "group = nogroup",
                 "shutdown_timeout_s = 0",
                 "[port]", "device = " + device, "address = %s/24" % SERVER_IP,
                 "[engine]", "cores = %d" % host.SERVER_CPU]
        for setting in settings:
            key, _, value = setting.partition("=")
            section, _, key = key.partition(".")
            lines += ["[%s]" % section, "%s = %s" % (key, value)]
        return "\n".join(lines) + "\n"

    def serve(self, name, port, *command):
        process = self.start(name, [self.mtcp_run], command,
                             {"MTCPD_SOCKET": os.path.join(self.runtime, "mtcpd.sock")})
        self.wait_for_port(name, process, port)

    def end(self):
        super().end()
        self.drop_behind_tap("del")
        shutil.rmtree(self.runtime, ignore_errors=True)
