"""The process that outlives the terminal: journal, scheduler, snapshots, the socket API."""
