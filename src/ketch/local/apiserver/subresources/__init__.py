"""What lies below an object and is no part of it: scale, binding, eviction, token, finalize."""
