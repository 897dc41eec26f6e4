"""What runs on your machine: the local stack, the stand-in gateway, the demo."""
