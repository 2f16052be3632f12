"""Where audio comes from: microphone, recording or pipe, all as 16 kHz mono blocks.

Importing this package loads neither PortAudio nor libsndfile; opening a source does.
"""
