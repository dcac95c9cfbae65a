"""Themes, TCSS and the meaning of each colour and glyph."""
