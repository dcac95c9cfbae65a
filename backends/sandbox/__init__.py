"""Two small providers on loopback, for demo, rehearsal and tests. A simulation that is reached only through the real stores, probes and
routes; nothing outside this package knows how it works inside."""
