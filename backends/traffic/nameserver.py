"""One name server: asked over UDP (over TCP where the answer is truncated), told over TCP with an update of RFC 2136.

dnspython speaks the protocol. Answers are parsed, never trusted: another record, a lame server, an answer to a signed update that is not
signed itself are errors. An update's prerequisites compare the whole RRset without its TTL (RFC 2136, 2.4.2), so a compare-and-swap
guards the values and not the TTL.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.rdtypes.ANY.SOA import SOA

from backends.escape import plain
from backends.plan.records import split_server
from backends.sending import before_sending
from backends.traffic.base import RouteError
from backends.traffic.tsig import TsigKey

UDP_TRIES = (1.0, 2.0)  # seconds that each waits for an answer
TCP_SECONDS = 5.0
PAYLOAD = 1232
_UNMET = (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN)


class NameServerError(RouteError):
    """A name server cannot be asked, or answers what is no answer."""

    code = "name_server"


class NameServerSilent(NameServerError):
    """No answer: it may be down, or the way to it."""

    code = "name_server_silent"


class UpdateRefused(NameServerError):
    """The server takes no update from us."""

    code = "update_refused"


class Unmet(NameServerError):
    """The record is not as the update's prerequisites say: nothing was changed."""

    code = "prerequisites_unmet"


@dataclass(frozen=True, slots=True)
class RecordSet:
    """What a server says of a record. `values` sorted, empty where there is none; `ttl` seconds, None with no values; `alias` is what
    the name is a CNAME of where an address was asked for."""

    values: tuple[str, ...]
    ttl: int | None
    is_authoritative: bool
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """`name` gets `after`, all of it, if it holds `before`, all of it, or nothing but the `alias`. Full names without the last dot."""

    zone: str
    name: str
    type: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    ttl: int
    alias: str | None = None


class NameServer:
    """At a host (an address, or a name that is looked up each time) and a port."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @classmethod
    def at(cls, text: str) -> NameServer:
        """From `address[:port]`, as the plan's rules have checked it."""
        return cls(*split_server(text))

    @property
    def shown(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 53 else f"{host}:{self.port}"

    async def address(self) -> str:
        """Its first address. Raises `NameServerSilent` where the name leads nowhere."""
        try:
            return ipaddress.ip_address(self.host).compressed
        except ValueError:
            pass
        try:
            async with asyncio.timeout(TCP_SECONDS):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError) as error:
            raise NameServerSilent(f"{self.shown}: its name leads to no address") from error
        return str(found[0][4][0])

    async def record(self, name: str, kind: str, *, recursive: bool = False) -> RecordSet:
        """The values of a name at this server. Raises `NameServerError`."""
        reply = await self._ask(name, kind, recursive=recursive)
        return _record_set(reply, dns.name.from_text(name), dns.rdatatype.from_text(kind))

    async def serial(self, zone: str) -> int:
        """The serial of the zone. Raises `NameServerError` where the server is not one of the zone's."""
        reply = await self._ask(zone, "SOA")
        found = _find(reply.answer, dns.name.from_text(zone), dns.rdatatype.SOA)
        soa = found[0] if found is not None else None
        if not isinstance(soa, SOA) or not reply.flags & dns.flags.AA:
            raise NameServerError(f"{self.shown} is no authority for {zone}", hint="look at server and zone of the route")
        return int(soa.serial)

    async def update(self, update: Update, key: TsigKey | None) -> None:
        """Compare and swap. Raises `Unmet`, `UpdateRefused`, else `NameServerError`; then it may have been done all the same."""
        message = _message_of(update, key)
        where = await self.address()
        await before_sending()
        try:
            async with asyncio.timeout(TCP_SECONDS):
                reply = await dns.asyncquery.tcp(message, where, timeout=TCP_SECONDS, port=self.port)
        except dns.tsig.PeerError as error:
            raise UpdateRefused(
                f"{self.shown}: {_tsig_words(error)}", hint="look at the route's tsig and at the key there"
            ) from error
        except (dns.exception.Timeout, TimeoutError, OSError, EOFError) as error:
            raise NameServerSilent(f"{self.shown}: no answer to an update") from error
        except (dns.exception.DNSException, ValueError) as error:
            raise NameServerError(f"{self.shown}: not an answer: {_words(error)}") from error
        code = reply.rcode()
        if code in _UNMET:
            raise Unmet(f"{self.shown}: {update.name} is not as it was expected")
        if code != dns.rcode.NOERROR:
            text = f"{self.shown} refused the update of {update.name}: {dns.rcode.to_text(code)}"
            raise UpdateRefused(text, hint="let the key (or this address) update this record, there")
        if key is not None and not reply.had_tsig:
            raise NameServerError(f"{self.shown}: its answer is not signed")

    async def _ask(self, name: str, kind: str, *, recursive: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD)
        if not recursive:
            query.flags &= ~dns.flags.RD
        where = await self.address()
        try:
            reply = await self._exchange(query, where)
        except (dns.exception.Timeout, TimeoutError, OSError, EOFError) as error:
            raise NameServerSilent(f"{self.shown} does not answer") from error
        except (dns.exception.DNSException, ValueError) as error:
            raise NameServerError(f"{self.shown}: not an answer: {_words(error)}") from error
        if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise NameServerError(f"{self.shown} answers {dns.rcode.to_text(reply.rcode())} to {name} {kind}")
        return reply

    async def _exchange(self, query: dns.message.Message, where: str) -> dns.message.Message:
        for tried, seconds in enumerate(UDP_TRIES, 1):
            try:
                async with asyncio.timeout(seconds):
                    return await dns.asyncquery.udp(
                        query, where, seconds, self.port, ignore_unexpected=True, ignore_errors=True, raise_on_truncation=True
                    )
            except dns.message.Truncated:
                break
            except (dns.exception.Timeout, TimeoutError):
                if tried == len(UDP_TRIES):
                    raise
        async with asyncio.timeout(TCP_SECONDS):
            return await dns.asyncquery.tcp(query, where, timeout=TCP_SECONDS, port=self.port)


def _message_of(update: Update, key: TsigKey | None) -> dns.update.UpdateMessage:
    message = dns.update.UpdateMessage(dns.name.from_text(update.zone))
    name = dns.name.from_text(update.name)
    if update.before:
        for value in update.before:
            message.present(name, update.type, _absolute(update.type, value))
    elif update.alias is not None:
        message.present(name, "CNAME", _absolute("CNAME", update.alias))
        message.delete(name, "CNAME")
    else:
        message.absent(name, update.type)
        if update.type != "CNAME":
            message.absent(name, "CNAME")
    message.delete(name, update.type)
    for value in update.after:
        message.add(name, update.ttl, update.type, _absolute(update.type, value))
    if key is not None:
        message.use_tsig(dns.tsig.Key(dns.name.from_text(key.name), key.secret, key.algorithm))
    return message


def _absolute(kind: str, value: str) -> str:
    return f"{value}." if kind in ("CNAME", "NS") else value


def _record_set(reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> RecordSet:
    is_authoritative = bool(reply.flags & dns.flags.AA)
    rrset = _find(reply.answer, name, kind)
    if rrset is not None:
        return RecordSet(_values(rrset), int(rrset.ttl), is_authoritative)
    alias = _find(reply.answer, name, dns.rdatatype.CNAME)
    return RecordSet((), None, is_authoritative, _values(alias)[0] if alias is not None else None)


def _find(section: Sequence[dns.rrset.RRset], name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    """Names are compared without case: some servers and resolvers change it."""
    same = (r for r in section if r.name == name and r.rdtype == kind and r.rdclass == dns.rdataclass.IN and len(r))
    return next(same, None)


def _values(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    texts = (plain(rdata.to_text(), 300) for rdata in rrset)
    if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
        return tuple(sorted(ipaddress.ip_address(text).compressed for text in texts))
    return tuple(sorted(text.removesuffix(".").lower() for text in texts))


def _tsig_words(error: dns.tsig.PeerError) -> str:
    if isinstance(error, dns.tsig.PeerBadKey):
        return "it does not know the TSIG key by that name and algorithm"
    if isinstance(error, dns.tsig.PeerBadSignature):
        return "the TSIG secret is not the one that it has"
    if isinstance(error, dns.tsig.PeerBadTime):
        return "its clock and ours are too far apart for TSIG"
    return "it does not take the TSIG signature"


def _words(error: Exception) -> str:
    return plain(str(error) or type(error).__name__, 200)
