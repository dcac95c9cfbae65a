"""What a person runs: the `cutover` command, the Textual app, its screens and its key map."""
