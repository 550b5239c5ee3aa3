"""Fill in the configuration templates of ``asterisk/`` for one instance."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scripts.trial.instance import Trial
from scripts.trial.launch import uses_host_binary
from scripts.trial.plan import write_private
from scripts.trial.rootfs import CHECKOUT, ROOTFS, TrialError

TEMPLATES = CHECKOUT / "asterisk"
NAME = "offhook-trial"
"""In the certificate of SIP over TLS."""


def render(trial: Trial, overlay: Mapping[str, str]) -> None:
    """Write the configuration of ``trial`` from the templates, readable by its owner alone."""
    run_dir = Path(trial.run_dir)
    directories = ("etc/extensions.d", "etc/pjsip.d", "lib", "log", "spool/recording", "spool/tmp")
    for name in directories:
        shutil.rmtree(run_dir / Path(name).parts[0], ignore_errors=True)
    _certify(run_dir / "tls")
    for name in directories:
        (run_dir / name).mkdir(parents=True)
    prefix = Path("/") if uses_host_binary() else ROOTFS
    values = {
        "ETC": str(trial.etc),
        "RUN": trial.run_dir,
        "MODULES": _inside(
            prefix, "usr/lib/*/asterisk/modules", "usr/lib/asterisk/modules", "usr/lib64/asterisk/modules"
        ),
        "DATA": _inside(prefix, "usr/share/asterisk", "var/lib/asterisk"),
        "BIND": trial.bind,
        "SIP_PORT": str(trial.sip_port),
        "TLS_PORT": str(trial.tls_port),
        "HTTP_PORT": str(trial.http_port),
        "RTP_FIRST": str(trial.rtp_first),
        "RTP_LAST": str(trial.rtp_last),
        "ARI_USERNAME": trial.username,
        "ARI_PASSWORD": trial.password,
        "PHONE_PASSWORD": trial.phone_password,
    }
    templates = {path.name: path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.conf")}
    # Asterisk logs an error for each of these that is absent, though it needs none of them.
    defaults = dict.fromkeys((TEMPLATES / "empty-files").read_text(encoding="utf-8").split(), "")
    for name, template in {**defaults, **templates, **overlay}.items():
        write_private(trial.etc / name, re.sub(r"@([A-Z_]+)@", lambda found: values[found.group(1)], template))


def _certify(directory: Path) -> None:
    """A certificate that vouches for itself, as container-start makes it; kept, for whoever trusts it."""
    if (directory / "key.pem").exists():
        return
    if shutil.which("openssl") is None:
        raise TrialError("openssl is missing: run scripts/setup (or apt-get install openssl)")
    directory.mkdir(parents=True, exist_ok=True)
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj", f"/CN={NAME}"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    done = subprocess.run(["openssl", "req", "-x509", *kind, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrialError(f"openssl made no certificate: {done.stderr.strip()}")


def _inside(prefix: Path, *patterns: str) -> str:
    for pattern in patterns:
        for path in sorted(prefix.glob(pattern)):
            return f"/{path.relative_to(prefix)}"
    raise TrialError(f"no Asterisk files below {prefix}: remove it and run 'scripts/asterisk install' again")
