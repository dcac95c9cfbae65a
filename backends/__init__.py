"""Everything of Cutover that runs without a terminal."""
