"""Tunnels, opened by stand-ins for ngrok and tailscale that come first on the PATH."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ai_engine.dispatch.tunnel import Tunnel, TunnelError, open_tunnel
from ai_engine.dispatch.tunnel_programs import ngrok_reason, ngrok_url, tailscale_url
from ai_engine.jobs.ports import CannotCall
from ai_engine.jobs.settings import Tunnel as TunnelSettings
from tests.waiting import until

STARTED = '{"lvl":"info","msg":"started tunnel","name":"command_line","addr":"http://localhost:1","url":"%s"}'
NGROK = f"""
echo '{{"lvl":"info","msg":"starting web service","addr":"127.0.0.1:4040"}}'
echo '{STARTED % "http://ab12.ngrok-free.app"}'
echo '{STARTED % "https://ab12.ngrok-free.app"}'
sleep 600
"""
FUNNEL = """
echo 'Available on the internet:'
echo
echo 'https://Desk.tail1a2b.ts.net/'
echo '|-- proxy http://127.0.0.1:4545'
echo
echo 'Funnel started and running in the background.'
"""
LOGIN = """
echo 'Funnel is not enabled on your tailnet.'
echo 'To enable, visit:'
echo
echo '         https://login.tailscale.com/f/funnel?node=nX1Y2Z'
sleep 600
"""


@dataclass
class Bench:
    """A folder of stand-ins, and what they were asked."""

    folder: Path
    changes: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": f"{self.folder}:/usr/bin:/bin", "BENCH": str(self.folder)}

    def put(self, name: str, does: str, *, version: str = "exit 0", off: str = "exit 0") -> None:
        """Its process id is added to ``NAME.pids``, that of a child of its own to ``pids``, too."""
        file = self.folder / name
        file.write_text(
            f"#!/bin/sh\n"
            f'echo "{name} $*" >> "$BENCH/asked"\n'
            f'case "$*" in --version) {version};; *" off") {off};; esac\n'
            f'echo $$ >> "$BENCH/pids"\n'
            f'sleep 601 >/dev/null 2>&1 & echo $! >> "$BENCH/pids"\n'
            f"{does}\n"
        )
        file.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return [line for line in self._lines("asked") if not line.endswith("--version")]

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._lines("pids")]

    @property
    def alive(self) -> list[int]:
        return [pid for pid in self.pids if Path(f"/proc/{pid}/status").exists() and not _is_zombie(pid)]

    async def open(self, provider: str = "auto", *, start_seconds: float = 5.0) -> Tunnel:
        settings = TunnelSettings.model_validate({"provider": provider, "start_seconds": start_seconds})
        tunnel = await open_tunnel(
            settings, 4545, environ=self.environ, changed=self.changes.append, pause_seconds=0.01
        )
        assert tunnel is not None
        return tunnel

    def _lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


def _is_zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_ngrok(bench: Bench) -> None:
    bench.put("ngrok", NGROK)
    tunnel = await bench.open("ngrok")
    assert (tunnel.provider, tunnel.url) == ("ngrok", "https://ab12.ngrok-free.app")
    assert bench.asked == ["ngrok http 4545 --log=stdout --log-format=json"]
    assert len(bench.alive) >= 2
    await tunnel.close()
    await until(lambda: not bench.alive)
    assert tunnel.url == ""
    assert bench.changes == []
    await tunnel.close()


async def test_tailscale_is_turned_off_when_it_is_closed(bench: Bench) -> None:
    bench.put("tailscale", FUNNEL)
    tunnel = await bench.open("tailscale")
    assert (tunnel.provider, tunnel.url) == ("tailscale", "https://desk.tail1a2b.ts.net")
    assert bench.asked == ["tailscale funnel --bg --yes --https=443 http://127.0.0.1:4545"]
    await tunnel.close()
    await tunnel.close()
    assert bench.asked[1:] == ["tailscale funnel --https=443 off"]
    assert not bench.alive


async def test_a_funnel_that_cannot_be_turned_off_is_told_of(bench: Bench) -> None:
    bench.put("tailscale", FUNNEL, off="exit 1")
    tunnel = await bench.open("tailscale")
    with capture_logs() as logs:
        await tunnel.close()
    assert [line["next_step"] for line in logs if line["log_level"] == "warning"] == [
        "tailscale funnel --https=443 off"
    ]


async def test_none_is_none(bench: Bench) -> None:
    bench.put("ngrok", NGROK)
    assert await open_tunnel(TunnelSettings(provider="none"), 4545, environ=bench.environ) is None
    assert bench.asked == []


async def test_auto_takes_ngrok_first_and_tailscale_where_it_does_not_run(bench: Bench) -> None:
    bench.put("tailscale", FUNNEL)
    bench.put("ngrok", NGROK)
    tunnel = await bench.open()
    assert tunnel.provider == "ngrok"
    await tunnel.close()
    bench.put("ngrok", NGROK, version="exit 1")
    tunnel = await bench.open()
    assert tunnel.provider == "tailscale"
    await tunnel.close()
    bench.put("ngrok", 'echo \'{"lvl":"eror","err":"authentication failed"}\'; exit 1')
    tunnel = await bench.open()
    assert tunnel.provider == "tailscale"
    await tunnel.close()


async def test_nothing_is_installed(bench: Bench) -> None:
    with pytest.raises(TunnelError) as caught:
        await bench.open()
    assert isinstance(caught.value, CannotCall)
    text = str(caught.value)
    assert text.startswith("there is no tunnel: ngrok is not installed, or does not run; tailscale is not installed")
    assert text.endswith("or set call_agent.server.public_base_url to an address at which this server is reached")


async def test_a_login_page_is_no_tunnel(bench: Bench) -> None:
    bench.put("tailscale", LOGIN)
    with pytest.raises(TunnelError) as caught:
        await bench.open("tailscale", start_seconds=1.0)
    assert "tailscale has not opened a tunnel within 1 s: Funnel is not enabled on your tailnet." in str(caught.value)
    assert "https://login.tailscale.com/f/funnel?node=nX1Y2Z" in str(caught.value), "where to go"
    assert "try `tailscale funnel 4545` by hand" in str(caught.value)
    assert bench.asked[-1] == "tailscale funnel --https=443 off"
    await until(lambda: not bench.alive)


async def test_a_funnel_that_ends_badly_is_no_tunnel_whatever_it_said(bench: Bench) -> None:
    bench.put("tailscale", FUNNEL + "echo 'sending serve config: Access denied'\nexit 1")
    with pytest.raises(TunnelError, match="tailscale ended with 1 and no tunnel: .*Access denied"):
        await bench.open("tailscale")


async def test_a_slow_one_is_given_up_with_all_it_started(bench: Bench) -> None:
    bench.put("ngrok", "trap '' TERM; while :; do sleep 600; done")
    with pytest.raises(TunnelError, match="ngrok has not opened a tunnel within 1 s .try `ngrok http 4545` by hand"):
        await bench.open("ngrok", start_seconds=1.0)
    assert len(bench.pids) == 2
    await until(lambda: not bench.alive)


async def test_a_crash_at_the_start_says_why_without_the_token(bench: Bench) -> None:
    token = "2abcDEFghiJKLmnoPQRstuVWXyz0123456789"
    complaint = f"authentication failed: your authtoken {token} is invalid.\\\\n\\\\nERR_NGROK_105"
    bench.put("ngrok", f"""echo '{{"lvl":"eror","msg":"failed to auth","err":"{complaint}"}}'; exit 1""")
    with pytest.raises(TunnelError) as caught:
        await bench.open("ngrok")
    assert "ngrok ended with 1 and no tunnel: authentication failed: your authtoken … is invalid" in str(caught.value)
    assert token not in str(caught.value)


async def test_junk_and_huge_lines_are_passed_over(bench: Bench) -> None:
    bench.put(
        "ngrok",
        """
printf '\\377\\376 no text\\n[1,2]\\n"x"\\nnull\\n{"msg":"started tunnel"}\\n{"msg":"started tunnel","url":7}\\n' >&2
head -c 3000000 /dev/zero | tr '\\0' x; echo
head -c 300000 /dev/zero | tr '\\0' '['; echo
"""
        + NGROK.replace(
            "sleep 600", "head -c 3000000 /dev/zero | tr '\\0' y; echo said-all >> $BENCH/asked; sleep 600"
        ),
    )
    tunnel = await bench.open("ngrok")
    assert tunnel.url == "https://ab12.ngrok-free.app"
    await until(lambda: bench.asked[-1] == "said-all")  # it is read on, or would have stopped in a full pipe
    await tunnel.close()
    await until(lambda: not bench.alive)


async def test_a_lost_tunnel_is_opened_again(bench: Bench) -> None:
    bench.put("ngrok", NGROK)
    tunnel = await bench.open("ngrok")
    bench.put("ngrok", "exit 3")  # for a while, it does not open
    os.kill(bench.pids[0], signal.SIGKILL)
    await until(lambda: bench.changes == [""])
    await until(lambda: len(bench.asked) >= 3)
    assert tunnel.url == ""
    bench.put("ngrok", NGROK.replace("ab12", "cd34"))
    await until(lambda: len(bench.changes) == 2)
    assert bench.changes == ["", "https://cd34.ngrok-free.app"]
    assert tunnel.url == "https://cd34.ngrok-free.app"
    os.kill(bench.alive[0], signal.SIGTERM)
    await until(lambda: len(bench.changes) == 4)
    await tunnel.close()
    await until(lambda: not bench.alive)


async def test_it_can_be_closed_while_it_is_being_opened_again(bench: Bench) -> None:
    bench.put("ngrok", NGROK)
    tunnel = await bench.open("ngrok", start_seconds=600)
    bench.put("ngrok", "sleep 600")
    os.kill(bench.pids[0], signal.SIGKILL)
    await until(lambda: len(bench.asked) == 2)
    await tunnel.close()
    await until(lambda: not bench.alive)
    assert bench.changes == [""]


@pytest.mark.parametrize("name", ["ngrok", "tailscale"])
async def test_nothing_is_left_when_opening_is_cancelled(bench: Bench, name: str) -> None:
    bench.put(name, "sleep 600")
    opening = asyncio.create_task(bench.open(name))
    await until(lambda: len(bench.pids) == 2)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: not bench.alive)
    assert (bench.asked[-1] == "tailscale funnel --https=443 off") == (name == "tailscale")


async def test_it_dies_with_an_engine_that_dies_without_a_word(bench: Bench) -> None:
    bench.put("ngrok", NGROK.replace("sleep 600", "exec sleep 600"))
    program = """
import asyncio, os, sys
from ai_engine.dispatch.tunnel import open_tunnel
from ai_engine.jobs.settings import Tunnel
async def main():
    assert await open_tunnel(Tunnel(provider="ngrok"), 4545, environ=dict(os.environ))
    os._exit(9)
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    run = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], cwd=root, env=bench.environ)
    assert run.returncode == 9
    await until(lambda: bench.pids[0] not in bench.alive)
    for pid in bench.alive:  # a child of its own, which the stand-in does not take with it
        os.kill(pid, signal.SIGKILL)


def test_it_works_on_the_loop_of_another_thread(bench: Bench) -> None:
    bench.put("ngrok", NGROK)
    urls: list[str] = []

    async def work() -> None:
        tunnel = await bench.open()
        urls.append(tunnel.url)
        await tunnel.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join(30)
    assert urls == ["https://ab12.ngrok-free.app"]


@pytest.mark.parametrize(
    ("read", "line", "found"),
    [
        (tailscale_url, "https://desk.tail1.ts.net/", "https://desk.tail1.ts.net"),
        (tailscale_url, "Reach it at https://desk.tail1.ts.net.", "https://desk.tail1.ts.net"),
        (tailscale_url, "(https://desk.tail1.ts.net:443),", "https://desk.tail1.ts.net"),
        (tailscale_url, "https://desk.tail1.ts.net:8443/", None),
        (tailscale_url, "https://desk.ts.net.evil.example/", None),
        (tailscale_url, "https://desk.ts.net@evil.example/", None),
        (tailscale_url, "http://desk.tail1.ts.net/", None),
        (tailscale_url, "https://login.tailscale.com/f/funnel?node=n1", None),
        (tailscale_url, "|-- proxy http://127.0.0.1:4545", None),
        (tailscale_url, "https://.ts.net/", None),
        (ngrok_url, STARTED % "https://ab.ngrok.app/", "https://ab.ngrok.app"),
        (ngrok_url, STARTED % "http://ab.ngrok.app", None),
        (ngrok_url, STARTED.replace("started tunnel", "x") % "https://ab.ngrok.app", None),
        (ngrok_reason, '{"lvl":"info","msg":"x","err":"<nil>"}', None),
        (ngrok_reason, "ERROR:  unknown  flag", "unknown flag"),
        (ngrok_reason, "", None),
    ],
)
def test_what_a_line_says(read: Callable[[str], str | None], line: str, found: str | None) -> None:
    assert read(line) == found
