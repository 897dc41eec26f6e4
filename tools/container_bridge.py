"""`python -m tools.container_bridge PORT …`: lets containers reach loopback ports of this machine, and nobody else.

`sam local invoke` runs a function in a container, for which this machine is Docker's bridge address. Listening there
leaves the emulator closed to the network, which listening on all addresses would not. Linux only: Docker Desktop brings
containers to loopback by itself.
"""

import asyncio
import contextlib
import re
import socket
import subprocess
import sys

DEFAULT_BRIDGE_ADDRESS = "172.17.0.1"
_IP_FREEBIND = 15  # linux/in.h: the address need not exist yet, so Docker may be started later


def bridge_address() -> str:
    """The address of Docker's default bridge on this machine."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        shown = subprocess.run(["ip", "-4", "addr", "show", "docker0"], capture_output=True, text=True, check=True)
        found = re.search(r"inet (\S+)/", shown.stdout)
        if found:
            return found[1]
    return DEFAULT_BRIDGE_ADDRESS


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def _serve(address: str, port: int) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    listener.bind((address, port))
    server = await asyncio.start_server(forward, sock=listener)
    await server.serve_forever()


async def _main(ports: list[int]) -> None:
    address = bridge_address()
    await asyncio.gather(*(_serve(address, port) for port in ports))


if __name__ == "__main__":
    if sys.platform == "linux":
        asyncio.run(_main([int(port) for port in sys.argv[1:]]))
