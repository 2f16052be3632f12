"""Events, the state of a room, and the journal that stores every event before it is published."""
