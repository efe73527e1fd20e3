"""Real clusters of several nodes on this machine."""

import subprocess
import sys
from contextlib import contextmanager

from tests.prefect_server import free_port


@contextmanager
def ray_cluster(nodes):
    """Nodes of one core each; yields the address of the first."""
    from ray.cluster_utils import Cluster

    one_core = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=one_core)
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


@contextmanager
def dask_cluster(nodes):
    """Workers of one thread each, with one GPU as far as Dask knows; yields the scheduler's."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    worker = ["dask_worker", address, "--nthreads", "1", "--resources", "GPU=1", "--no-nanny"]
    commands = [
        ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        *[[*worker, "--no-dashboard"]] * nodes,
    ]
    processes = [
        subprocess.Popen([sys.executable, "-m", f"distributed.cli.{name}", *rest])
        for name, *rest in commands
    ]
    try:
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


CLUSTERS = {"ray": ray_cluster, "dask": dask_cluster}
