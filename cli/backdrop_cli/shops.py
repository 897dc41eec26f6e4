"""What shops want of pictures: only numbers that they publish themselves, each with its page.

What a shop publishes only behind a login, or not at all, is left out: `--size` says it then.
"""

from dataclasses import dataclass

READ_ON = "2026-11-26"
"""When the pages were read."""


@dataclass(frozen=True)
class Shop:
    """`size` is in pixels, `quality` that of JPEG, `most_bytes` a file's; None where no page was found that says it."""

    size: tuple[int, int] | None = None
    quality: int | None = None
    most_bytes: int | None = None
    page: str = ""
    """Where the numbers are from."""
    note: str = ""
    """What a user has to know beside."""


SHOPS = {
    "amazon": Shop(
        note="Amazon's numbers are behind a login, in Seller Central; pictures keep their size unless --size is said.",
    ),
    "shopify": Shop(
        size=(2048, 2048),  # "For square images"; the most is 4472 x 4472, or 20 megapixels
        page="https://shopify.dev/docs/apps/online-store/media/products",
    ),
    "etsy": Shop(
        note="No page of Etsy's own with numbers was found; pictures keep their size unless --size is said.",
    ),
    "ebay": Shop(
        size=(1000, 1000),  # "at least 1000 pixels on the longest side" is recommended, 500 are demanded
        quality=90,  # "a quality of 90 or greater"
        page="https://developer.ebay.com/support/kb-article?KBid=1489",
        note="eBay allows no added borders: with --fit pad a picture that is not square gets some.",
    ),
    "google": Shop(
        size=(1500, 1500),  # recommended; 500 x 500 are demanded from 2027-01-31 on, 64 megapixels are the most
        most_bytes=16_000_000,  # "16 MB"
        page="https://support.google.com/merchants/answer/6324350",
        note="Google wants generated pictures to say so in their metadata; what the result says is kept.",
    ),
}
