"""How long object stores are waited for."""

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0  # without a byte of an answer
SLOWEST = 16 * 1024  # bytes a second below which a body counts as stuck
KEPT_SECONDS = 20.0  # an idle connection: servers close theirs, be first
