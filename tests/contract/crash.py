"""A process to be killed: appends events of a run for ever, and says which are visible.

Usage: python -m tests.contract.crash ADDRESS RUN_ID ATTEMPT
"""

import asyncio
import sys

from api.events import Entry
from tests.contract.backends import connect


async def main(at: str, run_id: str, attempt: int) -> None:
    """Appends; a reader prints each seq as soon as it can be read."""
    storage = connect(at)
    await storage.open()

    async def report() -> None:
        after = 0
        while True:
            if events := await storage.log.read(run_id, after):
                after = events[-1].seq
                sys.stdout.write(f"{after}\n")
                sys.stdout.flush()
            else:
                await storage.log.wait(run_id, after, 60)

    reporting = asyncio.create_task(report())
    seq = 0
    while not reporting.done():
        seq = await storage.log.append(run_id, attempt, [Entry("token", b'{"n":%d}' % (seq + 1))])
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
