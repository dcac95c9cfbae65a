"""Tests of colours and signs."""
