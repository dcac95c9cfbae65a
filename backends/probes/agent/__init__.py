"""What runs on a host of either side, sent over stdin to its `python3`; nothing is written to the host's disk.

Standard library only, Python 3.6 and newer: hence quoted annotations, type comments and old formatting. The engine never runs these
files, it sends their text (`backends.probes.agent_link`), joined in the order host, nvml, main.
"""
