"""The product as an operator has it: real `cutover` processes against a sandbox."""
