"""Keys, and sockets that only listed keys may enter (CURVE with a handler of our own)."""
