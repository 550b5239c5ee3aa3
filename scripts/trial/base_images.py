"""What our Dockerfiles start from: pulled where a registry can be reached, else made from this machine's apt source."""

from pathlib import Path

from scripts.trial.container_engine import CACHE, Engine, call
from scripts.trial.rootfs import Say, as_root, find_mirror, step

BASE_IMAGES = {"debian:bookworm-slim": "bookworm", "debian:forky-slim": "forky"}
"""Image -> the Debian suite it holds."""

PULL_SECONDS = 120.0
HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def provide_base_images(engine: Engine, tell: Say) -> None:
    """Have every base image, pulled where a registry can be reached, else made from this machine's own apt source."""
    for image, suite in BASE_IMAGES.items():
        if engine.succeeds("image", "inspect", image):
            continue
        if engine.succeeds("pull", image, seconds=PULL_SECONDS):
            tell(f"  pulled {image}")
            continue
        with step(tell, f"no registry within reach: made {image} from Debian packages"):
            _make_base_image(engine, image, suite)


def _make_base_image(engine: Engine, image: str, suite: str) -> None:
    """As small as the registry's own: no documentation, no translations."""
    archive = CACHE / f"{suite}.tar"
    (CACHE / "apt.conf").write_text(_apt_options())
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--include=ca-certificates"]
    command += [f"--aptopt={CACHE / 'apt.conf'}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
    changes = []
    if HOST_CERTIFICATES.exists():
        # What this machine trusts, a company's proxy for one, under a name that no package writes to.
        command += [f"--customize-hook=copy-in {HOST_CERTIFICATES} /etc/ssl"]
        trusted = f"/etc/ssl/{HOST_CERTIFICATES.name}"
        changes = [f"--change=ENV {name}={trusted}" for name in ("PIP_CERT", "SSL_CERT_FILE")]
    command += [suite, str(archive), find_mirror(Path("/etc/apt")).source_line(suite)]
    call(as_root(command))
    engine.run("import", *changes, str(archive), image)
    call(as_root(["rm", str(archive)]))


def _apt_options() -> str:
    # A proxy this machine needs is needed in the image too; a mirror frozen at a date is welcome, however old it is.
    own = call(["apt-config", "dump", "Acquire::http", "Acquire::https"]).stdout.decode()
    return own + 'Acquire::Check-Valid-Until "false";\n'
