"""The variants: what the server and the client run on.

In `kernel`, `kernel-offload`, `mtcpd`, `mtcpd-xdp` and `mtcpd-tap` the client is on the kernel's
TCP; in the others each side has a daemon of its own, on its own CPU, and both programs run under
mtcp-run.
"""
import contextlib
import os
import shutil
import socket
import sys

import host
import net

TAP_IF = "vt"

# name: (what it is, the kernel variant to hold it against)
VARIANTS = {
    "kernel": ("the kernel over veth, offloads off", None),
    "kernel-offload": ("the kernel over veth with checksum, segmentation and receive offloads",
                       None),
    "mtcpd": ("net_af_packet on the veth; client on the kernel, offloads off", "kernel"),
    "mtcpd-xdp": ("net_af_xdp on the veth; the same client", "kernel"),
    "mtcpd-tap": ("net_tap; client on the kernel's end of the tap, offloads off", "kernel"),
    "mtcpd-memif": ("two daemons, net_memif between them", "kernel"),
    "mtcpd-virtio": ("two daemons, net_vhost (server) and net_virtio_user (client)",
                     "kernel-offload"),
    "mtcpd-virtio-plain": ("the same with the ports' offloads off", "kernel"),
}


class Side:
    """Where programs run. pids are those of all processes that serve, client_pids of those that
    work for the client beside itself."""

    def __init__(self, network, build, settings):
        self.network, self.build, self.settings = network, build, settings
        self.directory = network.directory
        self.processes = []
        self.client_pids = []

    def begin(self, name):
        raise NotImplementedError

    def pids(self):
        return [p.pid for p in self.processes if p.pid not in self.client_pids]

    def start(self, name, namespace, cpu, command, env=None):
        log = os.path.join(self.directory, name + ".log")
        process = host.start(["ip", "netns", "exec", namespace, *command], cpu, log, env)
        self.processes.append(process)
        return process

    def start_server(self, name, *command):
        return self.start(name, self.network.server_ns, host.SERVER_CPU, command)

    def serve(self, name, port, *command):
        """Starts a server and waits until the client's side can connect to it, through the
        network that is measured."""
        process = self.start_server(name, *command)
        host.wait_until(lambda: self.reachable(port), name, process)

    def reachable(self, port):
        return connects(self.network.client_ns, port)

    def client(self, timeout_s, *command):
        return host.Client(["ip", "netns", "exec", self.network.client_ns, *command],
                           self.pids(), self.client_pids, timeout_s)

    def end(self):
        for process in reversed(self.processes):
            host.stop(process)
        self.processes = []


def connects(namespace, port):
    """True if a connection from the kernel of that namespace to the server comes about."""
    back = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + namespace, os.O_RDONLY)
    try:
        if host.LIBC.setns(there, 0) != 0:
            raise host.Failure("cannot enter namespace " + namespace)
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((net.SERVER_IP, port)) == 0
    finally:
        host.LIBC.setns(back, 0)
        os.close(back)
        os.close(there)


class Kernel(Side):
    def begin(self, name):
        network = self.network
        network.offloads("on" if name == "kernel-offload" else "off")
        network.address(network.client_ns, net.CLIENT_IF, net.CLIENT_IP)
        network.address(network.server_ns, net.SERVER_IF, net.SERVER_IP)


class Mtcpd(Side):
    """A daemon on the server's end of the veth."""

    devices = {
        "mtcpd": "net_af_packet0,iface=%s,qdisc_bypass=1" % net.SERVER_IF,
        "mtcpd-xdp": "net_af_xdp0,iface=%s" % net.SERVER_IF,
        "mtcpd-tap": "net_tap0,iface=%s" % TAP_IF,
    }

    def begin(self, name):
        self.network.offloads("off")
        self.network.address(self.network.client_ns, net.CLIENT_IF, net.CLIENT_IP)
        self.drop_behind_tap("add")
        self.start_daemon("server", self.network.server_ns, self.devices[name])

    def start_daemon(self, role, namespace, device, more=()):
        cpu, address = {"server": (host.SERVER_CPU, net.SERVER_IP),
                        "client": (host.CLIENT_CPU, net.CLIENT_IP)}[role]
        runtime = self.runtime(role)
        conf = os.path.join(self.directory, role + ".conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(configuration(runtime, device, address, cpu, [*more, *self.settings]))
        daemon = self.start("mtcpd-" + role, namespace, cpu,
                            [self.program("mtcpd"), "--config", conf])
        if role == "client":
            self.client_pids.append(daemon.pid)
        ready = os.path.join(runtime, "mtcpctl.sock")
        host.wait_until(lambda: os.path.exists(ready), "mtcpd", daemon)

    def runtime(self, role):
        return os.path.join(self.directory, "run-" + role)

    def program(self, name):
        return os.path.join(self.build, "bin", name)

    def environment(self, role):
        return {"MTCPD_SOCKET": os.path.join(self.runtime(role), "mtcpd.sock")}

    def drop_behind_tap(self, operation):
        """A packet socket gets a copy of each frame; the kernel would go on to look at its own,
        for no address that it has, on the client's CPU. Frames end there instead."""
        tc = ["ip", "netns", "exec", self.network.server_ns, "tc"]
        host.run(*tc, "qdisc", operation, "dev", net.SERVER_IF, "ingress",
                 check=operation == "add")
        if operation == "add":
            host.run(*tc, "filter", "add", "dev", net.SERVER_IF, "parent", "ffff:", "protocol",
                     "all", "bpf", "da", "bytecode", "1,6 0 0 2")

    def start_server(self, name, *command):
        return self.start(name, self.network.server_ns, host.SERVER_CPU,
                          [self.program("mtcp-run"), *command], self.environment("server"))

    def end(self):
        super().end()
        self.drop_behind_tap("del")
        for role in ("server", "client"):
            shutil.rmtree(self.runtime(role), ignore_errors=True)


def configuration(runtime, device, address, cpu, settings):
    lines = ["[daemon]", "runtime_dir = " + runtime, "group = nogroup", "shutdown_timeout_s = 0",
             "[port]", "device = " + device, "address = %s/24" % address,
             "[engine]", "cores = %d" % cpu]
    if not any(setting.startswith("tcp.congestion_control=") for setting in settings):
        lines += ["[tcp]", "congestion_control = newreno"]  # as host.CONGESTION_CONTROL
    for setting in settings:
        key, _, value = setting.partition("=")
        section, _, key = key.partition(".")
        lines += ["[%s]" % section, "%s = %s" % (key, value)]
    return "\n".join(lines) + "\n"


class Tap(Mtcpd):
    """A daemon on a tap, whose kernel end appears in the daemon's namespace, here the client's."""

    def begin(self, name):
        namespace = self.network.client_ns
        self.start_daemon("server", namespace, self.devices[name])
        host.wait_until(lambda: host.run("ip", "-n", namespace, "link", "show", TAP_IF,
                                         check=False), TAP_IF)
        net.set_offloads(namespace, TAP_IF, "off")
        self.network.address(namespace, TAP_IF, net.CLIENT_IP)
        host.run("ip", "-n", namespace, "link", "set", TAP_IF, "up")


PROBE = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"


class Pair(Mtcpd):
    """A daemon for each side, joined by a shared-memory port. Where there is a choice the server
    has the end that serves the port."""

    def begin(self, name):
        path = os.path.join(self.directory, "port")
        if name == "mtcpd-memif":
            server = "net_memif0,role=server,socket=%s,socket-abstract=no,rsize=11" % path
            client = "net_memif0,role=client,socket=%s,socket-abstract=no,rsize=11" % path
        else:
            server = "net_vhost0,iface=%s" % path
            client = "net_virtio_user0,path=%s,queue_size=1024" % path
        more = ["port.offload=no"] if name.endswith("-plain") else []
        self.start_daemon("server", self.network.server_ns, server, more)
        self.start_daemon("client", self.network.client_ns, client, more)

    def client_command(self, *command):
        return ["env", *("%s=%s" % pair for pair in self.environment("client").items()),
                self.program("mtcp-run"), *command]

    def reachable(self, port):
        command = self.client_command(sys.executable, "-c", PROBE, net.SERVER_IP, str(port))
        return host.succeeds("ip", "netns", "exec", self.network.client_ns, *command)

    def client(self, timeout_s, *command):
        return super().client(timeout_s, *self.client_command(*command))


def side_class(name):
    if name.startswith("kernel"):
        return Kernel
    if name == "mtcpd-tap":
        return Tap
    return Mtcpd if name in Mtcpd.devices else Pair


@contextlib.contextmanager
def variant(network, name, build, settings):
    """The Side of that name, whose processes end with the context."""
    network.clear()
    side = side_class(name)(network, build, settings)
    try:
        side.begin(name)
        yield side
    finally:
        side.end()
