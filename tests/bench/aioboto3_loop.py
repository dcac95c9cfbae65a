"""`aioboto3_loop.py BUCKET_A BUCKET_B AT_ONCE`: a peer. Lists, then so many at once: get and put whole below 16 MiB, above
in parts of 8 MiB, four parts of an object at a time, two such objects at a time."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aioboto3
from botocore.config import Config

PART = 8 << 20
WHOLE = 16 << 20


def client(session: aioboto3.Session, name: str, at_once: int) -> Any:
    return session.client(
        "s3",
        endpoint_url=os.environ[f"{name}_ENDPOINT"],
        aws_access_key_id=os.environ[f"{name}_KEY"],
        aws_secret_access_key=os.environ[f"{name}_SECRET"],
        region_name=os.environ[f"{name}_REGION"],
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=at_once * 2),
    )


async def main(bucket_a: str, bucket_b: str, at_once: int) -> None:
    session = aioboto3.Session()
    slots, large_slots = asyncio.Semaphore(at_once), asyncio.Semaphore(2)
    async with client(session, "A", at_once) as a, client(session, "B", at_once) as b:

        async def small(key: str) -> None:
            async with slots:
                got = await a.get_object(Bucket=bucket_a, Key=key)
                async with got["Body"] as stream:
                    body = await stream.read()
                await b.put_object(Bucket=bucket_b, Key=key, Body=body)

        async def large(key: str, size: int) -> None:
            async with large_slots:
                upload = (await b.create_multipart_upload(Bucket=bucket_b, Key=key))["UploadId"]
                parts_slots = asyncio.Semaphore(4)

                async def part(number: int, offset: int) -> dict[str, Any]:
                    async with parts_slots:
                        span = f"bytes={offset}-{min(offset + PART, size) - 1}"
                        got = await a.get_object(Bucket=bucket_a, Key=key, Range=span)
                        async with got["Body"] as stream:
                            body = await stream.read()
                        done = await b.upload_part(Bucket=bucket_b, Key=key, UploadId=upload, PartNumber=number, Body=body)
                        return {"ETag": done["ETag"], "PartNumber": number}

                parts = await asyncio.gather(*(part(n, offset) for n, offset in enumerate(range(0, size, PART), start=1)))
                told = {"Parts": list(parts)}
                await b.complete_multipart_upload(Bucket=bucket_b, Key=key, UploadId=upload, MultipartUpload=told)

        async with asyncio.TaskGroup() as group:
            async for page in a.get_paginator("list_objects_v2").paginate(Bucket=bucket_a):
                for info in page.get("Contents", []):
                    key, size = info["Key"], info["Size"]
                    group.create_task(small(key) if size <= WHOLE else large(key, size))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
