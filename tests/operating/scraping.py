"""What a scrape says, as ``{("name", (("label", "value"), ...)): number}``."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from tests.kit import fetch


def parse(text):
    """Return the samples of this package."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("bazis_ws_")
    }


async def scrape(server):
    """Return what a server's /metrics says."""
    return parse(await asyncio.to_thread(fetch, f"{server.http}/metrics"))


def value(samples, name, **labels):
    """Return a sample; 0 if it isn't there, as `rate()` would take it."""
    return samples.get((name, tuple(sorted(labels.items()))), 0)
