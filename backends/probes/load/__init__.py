"""Open-loop load on both sides: requests leave when they are due, whatever the answers do, and every latency counts from there."""
