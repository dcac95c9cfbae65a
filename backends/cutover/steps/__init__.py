"""The steps of which every advance and every rollback is made: small, absolute, safe to repeat, and read back."""
