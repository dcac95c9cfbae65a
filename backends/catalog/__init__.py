"""Facts about GPUs, drivers and prices, each with its source and date, and what follows from them: equivalents, time, cost."""
