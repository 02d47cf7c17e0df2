"""The network of a comparison: two namespaces and a veth between them.

Everything carries the process id in its name and goes when the context ends, however it ends; if
this process was killed outright, its children die with it and the next comparison removes what
is left of the namespaces and files.
"""
import glob
import os
import re
import shutil
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


def set_offloads(namespace, interface, state):
    for feature in OFFLOADS:
        host.run("ip", "netns", "exec", namespace, "ethtool", "-K", interface, feature, state,
                 check=False)


class Network:
    """Both namespaces and the veth between them, without addresses: sides.py gives them out."""

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
        for namespace, interface in self.ends():
            host.run("ip", "-n", namespace, "link", "set", interface, "up")

    def ends(self):
        return ((self.client_ns, CLIENT_IF), (self.server_ns, SERVER_IF))

    def offloads(self, state):
        for namespace, interface in self.ends():
            set_offloads(namespace, interface, state)

    def address(self, namespace, interface, address):
        host.run("ip", "-n", namespace, "addr", "replace", address + "/24", "dev", interface)

    def clear(self):
        """As if new: no address, no neighbour."""
        for namespace, interface in self.ends():
            host.run("ip", "-n", namespace, "addr", "flush", "dev", interface)
            host.run("ip", "-n", namespace, "neigh", "flush", "all")
