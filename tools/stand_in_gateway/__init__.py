"""A stand-in for the AI gateway: its documented API over real HTTP, no account, no AI, plain pictures by Pillow."""
