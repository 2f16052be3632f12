"""From the samples of an utterance to an emotion: features, network, decision.

Importing this room loads numpy and nothing heavier; the interpreter comes with the first model.
"""
