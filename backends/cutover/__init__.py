"""What a cutover is: states, operations, safety rules, forward steps and rollback. Decides; the engine does."""
