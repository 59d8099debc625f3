"""Converts a film on two hosts, which are network namespaces with a cable between them.

``python two_hosts.py FILM OUT CACHE OPTION ...`` must run in namespaces of its own, as :data:`ALONE` starts it: then nothing
reaches the system, and all processes end with the script. The second host alone has processors. It does not see the folders of
film and result, and keeps the film in the folder CACHE.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

_SPACES = ("--map-root-user", "--net", "--mount", "--pid")
ALONE = ("unshare", *_SPACES, "--mount-proc", "--fork", "--kill-child")
FIRST, SECOND, PORT, NAME = "10.213.0.1", "10.213.0.2", 6379, "second"
RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block")


def main(film: str, out: str, cache: str, *options: str) -> int:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    host = subprocess.Popen(["unshare", "--net", "--mount", "--uts", "sleep", "600"])
    inside = f"nsenter --target {host.pid} --net --mount --uts"
    while subprocess.run([*inside.split(), "true"], check=False).returncode or same_net(host.pid):
        time.sleep(0.05)
    run(f"ip link add cable type veth peer name cable netns {host.pid}")
    for there, address in (("", FIRST), (inside, SECOND)):
        run(f"{there} ip link set lo up")
        run(f"{there} ip addr add {address}/24 dev cable")
        run(f"{there} ip link set cable up")
    run(f"{inside} hostname {NAME}")
    for folder in {Path(film).parent, Path(out).parent}:
        run(f"{inside} mount -t tmpfs none", str(folder))
    store = f"--object-store-memory={80 << 20}"
    head = (
        *RAY,
        "--head",
        "--include-dashboard=false",
        f"--node-ip-address={FIRST}",
        f"--port={PORT}",
        "--num-cpus=0",
        store,
    )
    worker = (
        *RAY,
        f"--node-ip-address={SECOND}",
        f"--address={FIRST}:{PORT}",
        "--num-cpus=2",
        store,
    )
    subprocess.Popen(head)
    subprocess.Popen([*inside.split(), *worker], env={**os.environ, "SDR2HDR_CACHE": cache})
    command = [sys.executable, "-m", "sdr2hdr", "convert", film, out, *options]
    return subprocess.run([*command, "--cluster", f"{FIRST}:{PORT}"], check=False).returncode


def run(words: str, *more: str) -> None:
    subprocess.run([*words.split(), *more], check=True)


def same_net(pid: int) -> bool:
    """Whether a process is still in our network."""
    return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
