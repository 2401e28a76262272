"""Clients that upload at 20 KB/s each: python -m bench.slow_clients PORT COUNT, with the token on the first
line of standard input. Says "ready" when all are under way, and how many still are when standard input ends.
"""

import asyncio
import sys

from bench.wire import UPLOAD_HEAD, UPLOAD_TYPE, request_head

_RATE = 20_000  # bytes a second
_STEP = 0.1  # seconds
_LENGTH = 1 << 30  # bytes; none of these uploads comes to its end


async def _client(port: int, token: str, under_way: asyncio.Event) -> None:
    """Ends only if the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request_head(port, token, UPLOAD_TYPE, _LENGTH) + UPLOAD_HEAD)
        answer = asyncio.create_task(reader.read(1))
        while not answer.done():
            writer.write(bytes(int(_RATE * _STEP)))
            await writer.drain()
            await asyncio.sleep(_STEP)
            under_way.set()
    finally:
        writer.close()


async def _run(port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    token = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
    events = [asyncio.Event() for _ in range(count)]
    clients = [asyncio.create_task(_client(port, token, event)) for event in events]
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in events)), 30)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(sum(not client.done() for client in clients), flush=True)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2])))
