"""Two small providers on loopback, for demo, rehearsal and tests: a simulation that is reached only through the real stores,
probes and routes. Nothing outside this package knows how it works inside."""
