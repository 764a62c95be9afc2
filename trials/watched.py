"""What a process does with the network, and which programs it starts, written down by an audit hook."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NETWORK = (
    *("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname"),
    *("socket.getnameinfo", "socket.sendmsg", "socket.sendto", "ftplib.connect", "http.client.connect"),
    *("imaplib.open", "nntplib.connect", "poplib.connect", "smtplib.connect", "telnetlib.Telnet.open"),
    *("urllib.Request", "webbrowser.open"),
)
PROGRAMS = ("os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn", "subprocess.Popen")


def watch(log: Path) -> None:
    """From now on, and until this process ends, add a line to `log` for every such event."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event in NETWORK or event in PROGRAMS:
            os.write(file, f"{event} {arguments!r}\n".encode(errors="replace"))

    sys.addaudithook(note)
