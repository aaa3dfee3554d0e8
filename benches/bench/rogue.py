"""A rogue between our server and a real PostgreSQL, which lets everything pass up to
the first row of a copy.

    rogue.py endless|huge|drip PORT    prints its own port, and serves until it is ended
"""

import asyncio
import struct
import sys

# Rows of one block, and where its number goes in.
ROWS, NUMBER = 500, b"@@@@@@@@"
# A row that is announced and sent.
HUGE = 900 << 20


def message(tag, body):
    """A message of a server."""
    return tag + struct.pack(">I", len(body) + 4) + body


def block():
    """Rows whose keys are numbers that no row of the source has."""
    lines = (b"1" + NUMBER + b"%04d\t%s\n" % (row, b"word " * 80) for row in range(ROWS))
    return b"".join(message(b"d", line) for line in lines)


async def endless(writer):
    """Rows for ever."""
    rows = block()
    number = 0
    while True:
        number += 1
        writer.write(rows.replace(NUMBER, b"%08d" % number))
        await writer.drain()


async def huge(writer):
    """Rows of 900 MiB for ever."""
    filler = b"x" * (1 << 20)
    while True:
        writer.write(b"d" + struct.pack(">I", HUGE + 4))
        for _ in range(HUGE >> 20):
            writer.write(filler)
            await writer.drain()


async def drip(writer):
    """Rows for ever, byte by byte."""
    rows = block().replace(NUMBER, b"00000001")
    while True:
        for byte in rows:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)


KINDS = {"endless": endless, "huge": huge, "drip": drip}


async def copy(reader, writer):
    """Everything, as it is."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def pass_on(reader, writer, kind):
    """Messages, up to the first row."""
    while True:
        head = await reader.readexactly(5)
        body = await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)
        if head[:1] == b"d":
            await KINDS[kind](writer)
        writer.write(head + body)
        await writer.drain()


async def serve(kind, port):
    """Listens until it is ended."""

    async def each(reader, writer):
        behind, to_server = await asyncio.open_connection("127.0.0.1", port)
        tasks = [asyncio.create_task(copy(reader, to_server)), asyncio.create_task(pass_on(behind, writer, kind))]
        _, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        to_server.close()

    server = await asyncio.start_server(each, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
