"""Where the head of a RayCluster is: in its own Pod, whatever else its namespace's writers say. Pure.

Whoever may write a RayCluster's status, a Service, Endpoints or EndpointSlices could otherwise have the controller call
any address that it can reach. So a head Service only tells the dashboard's port and its name, and no name is looked
up: the address is the one that a kubelet gave the RayCluster's head Pod. A Service that would lead elsewhere is refused
all the same, for it is not what its users think it is.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from rayjobwatch.model.dashboard import DASHBOARD_PORT_NAME
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.text import clean_line

CLUSTER_LABEL = "ray.io/cluster"
# Of AWS, Alibaba, Oracle and Azure; that of most clouds is link-local.
_METADATA = {ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")}
_NAT64 = IPv6Network("64:ff9b::/96")
Place = tuple[str, int]


def is_no_pods(address: str) -> bool:
    """Whether a text is an address that no Pod has: the machine's own, link-local, multicast, a cloud's metadata."""
    try:
        ip = _unwrapped(ip_address(address))
    except ValueError:
        return True
    special = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return special or ip in _METADATA


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that is reached by an IPv6 one, where it is such."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def head_pod_name(cluster: Mapping[str, Any]) -> str:
    """Return the head Pod that KubeRay (1.2 or newer) says there is, empty where it says none."""
    return ((cluster.get("status") or {}).get("head") or {}).get("podName") or ""


def status_problem(cluster: Mapping[str, Any]) -> Problem | None:
    """Say why what a RayCluster's status tells of its head cannot be KubeRay's own words."""
    address = ((cluster.get("status") or {}).get("head") or {}).get("podIP") or ""
    if not address or not is_no_pods(address):
        return None
    return _foreign(f"status.head.podIP of RayCluster {_name(cluster)} is {clean_line(address, 64)}, which is no Pod's")


def service_problem(cluster: Mapping[str, Any], service: Mapping[str, Any]) -> Problem | None:
    """Say why a head Service does not lead to the RayCluster's head."""
    spec = service.get("spec") or {}
    what = f"head Service {service['metadata']['namespace']}/{service['metadata']['name']}"
    if spec.get("type") == "ExternalName":
        return _foreign(f"{what} is of type ExternalName")
    label = f"{CLUSTER_LABEL}: {_name(cluster)}"
    if (spec.get("selector") or {}).get(CLUSTER_LABEL) == _name(cluster):
        return None
    return _foreign(f"{what} does not select the RayCluster's head: its selector has not {label}")


def head_place(
    cluster: Mapping[str, Any], service: Mapping[str, Any], pod: Mapping[str, Any] | None
) -> Place | Problem:
    """Return the address and port of the dashboard in the RayCluster's head Pod, or why there is none."""
    name = head_pod_name(cluster)
    where = f"head Pod {cluster['metadata']['namespace']}/{name or '(none is named in status.head.podName)'}"
    if pod is None:
        return Problem(Reason.HEAD_POD_NOT_FOUND, f"waiting for the {where}, {_though_ready(cluster)}")
    owners = [owner.get("uid") for owner in pod["metadata"].get("ownerReferences") or []]
    if cluster["metadata"]["uid"] not in owners:
        return _foreign(f"{where} is not owned by RayCluster {_name(cluster)}")
    status = pod.get("status") or {}
    if status.get("phase") != "Running" or not status.get("podIP"):
        phase = clean_line(str(status.get("phase")), 32)
        return Problem(Reason.HEAD_POD_NOT_FOUND, f"waiting for the {where} to run; its phase is {phase}")
    if is_no_pods(status["podIP"]):
        return _foreign(f"{where} says that its address is {clean_line(status['podIP'], 64)}")
    port = _port_in(service, pod)
    if port is None:
        message = f"{where} has no port of the name that the head Service's targetPort gives"
        return Problem(Reason.DASHBOARD_PORT_NOT_FOUND, message)
    return status["podIP"], port


def _though_ready(cluster: Mapping[str, Any]) -> str:
    """Say what keeps KubeRay from taking note that a head is gone."""
    services = f"`kubectl get service -l {CLUSTER_LABEL}={_name(cluster)},ray.io/node-type=head`"
    return (
        f"which is not there although RayCluster {_name(cluster)} says that its head is ready: if that stays so, see "
        f"whether {services} shows a second head Service, which stops KubeRay, and delete it"
    )


def _port_in(service: Mapping[str, Any], pod: Mapping[str, Any]) -> int | None:
    ports = (service.get("spec") or {}).get("ports") or []
    port: Mapping[str, Any] = next((each for each in ports if each.get("name") == DASHBOARD_PORT_NAME), {})
    target = port.get("targetPort") or port.get("port")
    if target is None or isinstance(target, int):
        return target
    containers = (pod.get("spec") or {}).get("containers") or []
    named = (each for container in containers for each in container.get("ports") or [])
    return next((each.get("containerPort") for each in named if each.get("name") == target), None)


def _foreign(fault: str) -> Problem:
    return Problem(Reason.FOREIGN_HEAD, f"{fault}; only the RayCluster's own head Pod is asked")


def _name(cluster: Mapping[str, Any]) -> str:
    return str(cluster["metadata"]["name"])
