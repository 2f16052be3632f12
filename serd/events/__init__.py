"""What serd concludes and remembers: events, the mood of a room, and the journal of events."""
