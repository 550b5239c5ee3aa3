"""What was measured on, so that figures can be compared."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scripts.bench.launch import cores
from scripts.trial.rootfs import CHECKOUT


def machine() -> dict[str, str]:
    """Plain facts, none of them secret."""
    engine, others = cores()
    return {
        "cpu": _cpu_model(),
        "cores": f"{os.cpu_count()} (engine on {engine}, load on {others})",
        "virtual": _hypervisor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "uvloop": _version("uvloop"),
        "realtime": "yes" if _may_be_realtime() else "no: frames may be late when this machine is busy",
        "commit": _commit(),
    }


def _cpu_model() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def _hypervisor() -> str:
    return "yes" if re.search(r"^flags.*\bhypervisor\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE) else "no"


def _may_be_realtime() -> bool:
    policy = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, policy, os.sched_param(0))
    return True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _commit() -> str:
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
