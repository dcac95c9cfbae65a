"""Legacy's environment and configuration written anew for target: rules, formats that keep comments and order, what still points at legacy."""
