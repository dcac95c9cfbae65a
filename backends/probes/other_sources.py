"""A host's GPUs where our agent cannot run or reads none: nvidia-smi's own loop as rows, else as documents, dcgm-exporter, amd-smi, rocm-smi.

Never a call a tick: with persistence mode off each call of nvidia-smi initialises the GPU (measured: 1.5 s at 75 W), and `-q -x` takes
seconds on hosts of eight. So one long-lived loop a host; only AMD's tools, which have none that ends with its channel, are asked every few
seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp

from backends.errors import CouldNot, CutoverError
from backends.escape import plain
from backends.probes import amd, rocm
from backends.probes.dcgm import parse_dcgm
from backends.probes.gpus import FIELDS, GpuSample, Trouble, parse_heading, parse_row, query_argv, read_trouble, unknown_field
from backends.probes.smi_xml import BadDocument, parse_xml
from backends.probes.watch import SILENT, HostWatch
from backends.snapshot import GpuDetail
from backends.ssh.errors import LinkLost
from backends.ssh.pool import SshPool
from backends.ssh.session import RemoteLines

LINE_LIMIT = 4096
KEPT_WORDS = 2000
FACTS_EVERY = 3600.0
FACTS_TIMEOUT = 30.0
RETRY_FIRST, RETRY_MOST = 0.5, 15.0
SLOW_PERIOD = 5.0  # of documents, pages and AMD's tools
STANDING_EVERY = 12  # of those periods: what of an AMD GPU stands still, and who works there
MAX_DOCUMENT = 4 << 20
_END = "</nvidia_smi_log>"
_NO_JSON, _NO_ROCM = "no_amd_json", "no_rocm_smi"


async def pause(wait: float, held: float) -> float:
    """What held for a while is tried again at once; what fails at once is tried ever less often. Jitter, so that the hosts behind
    one dead bastion do not all come at the same instant."""
    wait = RETRY_FIRST if held > 2 * RETRY_MOST else min(RETRY_MOST, wait * 2)
    await asyncio.sleep(wait * random.uniform(0.5, 1.0))
    return wait


class OtherSources:
    """One host's. `run` goes on until cancelled; what it finds goes to `watch`."""

    def __init__(self, pool: SshPool, watch: HostWatch, period: float, *, dcgm: str | None, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._watch = watch
        self._host = watch.host.name
        self._period = period
        self._dcgm = dcgm
        self._clock = clock
        self._fields: tuple[str, ...] = FIELDS
        self._documents = False  # this nvidia-smi takes no --query-gpu

    async def run(self) -> None:
        wait = RETRY_FIRST
        while True:
            began = self._clock()
            try:
                trouble = await self._listen_somewhere()
            except CutoverError as error:
                self._watch.saw_error(error)
            else:
                if trouble is None:
                    continue
                self._watch.saw_trouble(trouble, self._clock())
            wait = await pause(wait, self._clock() - began)

    async def _listen_somewhere(self) -> Trouble | None:
        """Until the source ends: what is wrong with it; None where another way is to be taken at once."""
        if self._dcgm is not None:
            return await self._read_dcgm(self._dcgm)
        words, status = await (self._documents_loop() if self._documents else self._rows_loop())
        unknown = unknown_field(words)
        if unknown in self._fields and unknown not in ("index", "uuid"):
            self._fields = tuple(field for field in self._fields if field != unknown)
            return None
        if not self._documents and "--query-gpu" in words and ("not recognized" in words or "nvalid" in words):
            self._documents = True
            return None
        trouble = read_trouble(words, status)
        if trouble.code == "no_nvidia_smi" and self._watch.has_amd:
            trouble = await self._read_amd()
            if trouble.code == _NO_JSON:
                older = await self._read_rocm()
                return trouble if older.code == _NO_ROCM else older
        return trouble

    # nvidia-smi, a row a GPU

    async def _rows_loop(self) -> tuple[str, int]:
        """Take in rows until the loop ends; returns what else it said, and its status."""
        words: list[str] = []
        argv = query_argv(self._fields, every=self._period)
        async with self._pool.stream(self._host, argv, limit=LINE_LIMIT) as lines:
            facts = asyncio.create_task(self._ask_facts(), name=f"gpu facts of {self._host}")
            try:
                await self._take_rows(lines, words)
            finally:
                facts.cancel()
                await asyncio.gather(facts, return_exceptions=True)
        return _end_of(lines, words)

    async def _take_rows(self, lines: RemoteLines, words: list[str]) -> None:
        async for line in _within(lines, SILENT * max(1.0, self._period), self._host):
            sample = parse_row(line, self._fields)
            if sample is not None:
                self._watch.saw_sample(sample, self._clock())
            elif line.strip() and sum(map(len, words)) < KEPT_WORDS:
                words.append(line)

    async def _ask_facts(self) -> None:
        while True:
            try:
                result = await self._pool.run(self._host, ["nvidia-smi"], timeout=FACTS_TIMEOUT)
            except CutoverError:
                return  # the rows tell what is wrong; the versions are asked for again on the next connection
            self._watch.saw_heading(parse_heading(result.stdout.decode("utf-8", "backslashreplace")))
            await asyncio.sleep(FACTS_EVERY)

    # nvidia-smi, a document each few seconds

    async def _documents_loop(self) -> tuple[str, int]:
        words: list[str] = []
        held: list[str] = []
        size = 0
        argv = ["nvidia-smi", "-q", "-x", "-l", f"{SLOW_PERIOD:g}"]
        async with self._pool.stream(self._host, argv, limit=LINE_LIMIT) as lines:
            async for line in _within(lines, 6 * SLOW_PERIOD, self._host):
                held.append(line)
                size += len(line)
                if size > MAX_DOCUMENT:
                    raise CouldNot(f"{plain(self._host)}: a document of nvidia-smi over {MAX_DOCUMENT >> 20} MiB")
                if _END not in line:
                    continue
                text, held, size = "\n".join(held), [], 0
                try:
                    heading, gpus = parse_xml(text)
                except BadDocument as error:
                    words.append(str(error))
                    continue
                self._watch.saw_heading(heading)
                self._saw(gpus, "nvidia-smi -q -x")
        return _end_of(lines, [*words, *held])

    # Pages and tools that are asked

    async def _read_dcgm(self, url: str) -> Trouble:
        limit = aiohttp.ClientTimeout(total=SLOW_PERIOD)
        async with aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                try:
                    async with session.get(url, allow_redirects=False) as answer:
                        text = (await answer.content.read(MAX_DOCUMENT)).decode("utf-8", "replace")
                        if answer.status != 200:
                            return Trouble("dcgm_failed", f"{plain(url, 200)} answers {answer.status}")
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                    reason = plain(str(error) or type(error).__name__, 200)
                    return Trouble("dcgm_failed", f"{plain(url, 200)} cannot be asked: {reason} (is dcgm-exporter up there?)")
                gpus = parse_dcgm(text)
                if not gpus:
                    return Trouble("dcgm_failed", f"{plain(url, 200)} names no GPU (is it dcgm-exporter's page?)")
                self._saw(gpus, "dcgm-exporter")
                await asyncio.sleep(max(self._period, SLOW_PERIOD))

    async def _read_amd(self) -> Trouble:
        """By amd-smi; `_NO_JSON` where the host has only the older rocm-smi, or an amd-smi that gives nothing."""
        standing: tuple[amd.Rows, amd.Rows, amd.Rows] = {}, {}, {}
        asked = 0
        while True:
            result = await self._pool.run(self._host, amd.METRIC, timeout=FACTS_TIMEOUT)
            try:
                metric = amd.rows_of(result.stdout.decode("utf-8", "backslashreplace"))
            except amd.BadAnswer as error:
                said = plain(result.stderr.decode("utf-8", "replace").strip()[-200:], 200)
                words = f"amd-smi ended with {result.exit_status}: {said or error}"
                return Trouble("amd_failed" if asked else _NO_JSON, words)
            if not metric:
                return Trouble("no_gpus", "amd-smi names no GPU (is it passed through to this host?)")
            if asked % STANDING_EVERY == 0:
                standing = (await self._amd_rows(amd.STATIC), await self._amd_rows(amd.LIST), await self._amd_rows(amd.PROCESS))
            asked += 1
            self._saw(amd.gpus_of(metric, *standing), "amd-smi")
            await asyncio.sleep(max(self._period, SLOW_PERIOD))

    async def _amd_rows(self, argv: Sequence[str]) -> amd.Rows:
        """Rows of a question that not every amd-smi answers."""
        result = await self._pool.run(self._host, argv, timeout=FACTS_TIMEOUT)
        try:
            return amd.rows_of(result.stdout.decode("utf-8", "backslashreplace"))
        except amd.BadAnswer:
            return {}

    async def _read_rocm(self) -> Trouble:
        while True:
            result = await self._pool.run(self._host, rocm.ARGV, timeout=FACTS_TIMEOUT)
            text = result.stdout.decode("utf-8", "backslashreplace")
            try:
                _, gpus = rocm.parse_rocm(text)
            except rocm.BadAnswer as error:
                code = _NO_ROCM if result.exit_status == 127 else "rocm_failed"
                return Trouble(code, f"rocm-smi ended with {result.exit_status}: {error}")
            if not gpus:
                return Trouble("no_gpus", "rocm-smi names no GPU (is it passed through to this host?)")
            self._saw(gpus, "rocm-smi")
            await asyncio.sleep(max(self._period, SLOW_PERIOD))

    def _saw(self, gpus: list[tuple[GpuSample, GpuDetail]], source: str) -> None:
        now = self._clock()
        for sample, detail in gpus:
            self._watch.saw_sample(sample, now, source=source, detail=detail, every=max(self._period, SLOW_PERIOD))


async def _within(lines: RemoteLines, seconds: float, host: str) -> AsyncIterator[str]:
    """The lines, as long as one comes in time."""
    rows = aiter(lines)
    while True:
        try:
            async with asyncio.timeout(seconds):
                line = await anext(rows)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise LinkLost(f"{plain(host)}: nvidia-smi says nothing any more") from error
        yield line


def _end_of(lines: RemoteLines, words: list[str]) -> tuple[str, int]:
    said = "\n".join([*words, lines.stderr.decode("utf-8", "backslashreplace")])
    return said, lines.exit_status if lines.exit_status is not None else 0
