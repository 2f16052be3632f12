"""``make bench``: serd beside what people use now and beside the bare arithmetic, on one machine.

Speed only: the networks of the other pipelines have random weights, because weights do not change
how long an inference takes.
"""
