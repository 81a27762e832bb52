"""How an object is cut out of a photo: `methods.py` says which way, and each way is a file."""
