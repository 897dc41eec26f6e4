"""From an upload to its result."""

from tests.integration.world import INPUT, World


def test_an_upload_comes_back_with_the_background_asked_for(world: World, photo: bytes) -> None:
    job = world.upload("shoes/red.jpg", photo, prompt="a beach at sunset")

    [(key, result)] = world.outputs().items()
    assert key == "shoes/red.jpg.png"
    assert result["ContentType"] == "image/png"
    assert result["Body"].startswith(b"\x89PNG")
    assert result["Metadata"]["job-id"] == job.id
    assert result["Metadata"]["source-key"] == "shoes/red.jpg"
    assert result["Metadata"]["source-version"] == job.version_id
    assert result["Metadata"]["model"] == "ideogram/ideogram-v3-replace-background"
    assert result["Metadata"]["request-id"].startswith("req_")
    [charge] = world.gateway.charges()
    assert charge["prompt"] == "a beach at sunset"
    assert charge["image_bytes"] == len(photo)
    assert world.waiting() == []
