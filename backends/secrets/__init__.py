"""Secrets, resolved late: what a plan's references stand for, the managers that keep them, the tokens that open those."""
