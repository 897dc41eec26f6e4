"""The one logger. What it is given never holds a key, a link or a prompt."""

import logging

from aws_lambda_powertools import Logger

logger = Logger(service="backdrop")

# httpx writes full URLs, signatures and all, at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)
