"""Two checkpoints, tensor by tensor: safetensors (files, shards, folders) and PyTorch's zip files, which are never unpickled.

`side` reads files wherever they lie, `table` finds the tensors in them, `pairs` cuts both sides into pieces, `hashes` leaves out what is
known to be equal, `difference` computes, `compare` drives it, `resume` tells whether training can go on.
"""
