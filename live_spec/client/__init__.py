"""The pipeline's end of the line; imports neither torch nor astropy."""

from live_spec.client.feed import Feed
from live_spec.wire.intake import FeedError

__all__ = ["Feed", "FeedError"]
