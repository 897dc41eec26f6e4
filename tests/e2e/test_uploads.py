"""Uploads on the deployed local stack."""

import io
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from PIL import Image

from tests.e2e.deployed import Deployed, another
from tools.polling import until

SAMPLES = Path(__file__).parents[2] / "tools" / "samples"


def photo(name: str = "mug.jpg") -> bytes:
    return (SAMPLES / name).read_bytes()


def test_six_photos_with_awkward_keys_arrive_each_charged_once(deployed: Deployed) -> None:
    """By put, multipart and copy, under the promised names, with the right bytes and Content-Type."""
    uploads = {
        "my photo+1.JPG": "mug.jpg",
        "été/å (2).png": "clock.png",
        "a/very/deep/folder/of/the shop/lamp.webp": "lamp.webp",
        "100% sure & so on?.jpg": "car.jpg",
        "multi part/headphones #1.jpg": "headphones.jpg",
        "copied=to/perfume,final.jpg": "perfume.jpg",
    }
    for name, sample in uploads.items():
        metadata = {"prompt": f"background of {sample}"}
        if name.startswith("multi"):
            deployed.s3.upload_fileobj(
                io.BytesIO(photo(sample) + bytes(6 * 2**20)),  # bytes behind a JPEG's end are ignored
                deployed.input_bucket,
                deployed.folder + name,
                ExtraArgs={"Metadata": metadata},
                Config=TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20),
            )
        elif name.startswith("copied"):
            deployed.s3.put_object(Bucket=deployed.output_bucket, Key=f"src/{deployed.folder}", Body=photo(sample))
            deployed.s3.copy_object(
                Bucket=deployed.input_bucket,
                Key=deployed.folder + name,
                CopySource={"Bucket": deployed.output_bucket, "Key": f"src/{deployed.folder}"},
                Metadata=metadata,
                MetadataDirective="REPLACE",
            )
        else:
            deployed.put(name, photo(sample), **metadata)

    deployed.until_stored(*(f"{name}.png" for name in uploads))

    assert set(deployed.results()) == {f"{name}.png" for name in uploads}
    for name in uploads:
        result = deployed.result(f"{name}.png")
        assert result["ContentType"] == "image/png"
        assert Image.open(io.BytesIO(result["data"])).format == "PNG"
    prompts = [charge["prompt"] for charge in deployed.gateway.charges()]
    assert sorted(prompts) == sorted(f"background of {sample}" for sample in uploads.values())


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_gateway_is_asked_again_and_it_ends_well(deployed: Deployed, status: int) -> None:
    deployed.gateway.faults([{"kind": "status", "status": status, "retry_after": "1", "times": 2}])

    deployed.put("a.jpg", photo(), prompt="wood")

    deployed.until_stored("a.jpg.png")
    assert [call["status"] for call in deployed.gateway.calls()] == [status, status, 200]
    assert deployed.charged() == 1


FAILURES: dict[str, tuple[bytes, dict[str, str], str, int]] = {
    "400": (photo(), {"prompt": "wood"}, "rejected_by_gateway", 1),
    "413": (photo(), {"prompt": "wood"}, "rejected_by_gateway", 1),
    "422": (photo(), {"prompt": "wood"}, "rejected_by_gateway", 1),
    "no-prompt": (photo(), {}, "missing_prompt", 0),
    "bad-option": (photo(), {"prompt": "wood", "n": "9"}, "invalid_option", 0),
    "wrong-type": (b"%PDF-1.7 no photo at all", {"prompt": "wood"}, "unsupported_media_type", 0),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_can_not_succeed_is_dead_lettered_with_its_reason(deployed: Deployed, case: str) -> None:
    data, metadata, code, calls = FAILURES[case]
    if case.isdigit():
        deployed.gateway.faults([{"kind": "status", "status": int(case), "times": 0}])

    version = deployed.put("a.jpg", data, **metadata)

    [dead_letter] = until("a dead letter", deployed.dead_letters)
    assert dead_letter["reason"]["code"] == code
    assert dead_letter["job"]["version_id"] == version
    assert len(deployed.gateway.calls()) == calls
    assert deployed.charged() == 0


def test_folder_markers_and_empty_objects_are_skipped(deployed: Deployed) -> None:
    deployed.put("folder/", b"")
    deployed.put("empty.jpg", b"", prompt="wood")
    deployed.put("behind.jpg", photo(), prompt="wood")

    deployed.until_stored("behind.jpg.png")

    assert [item["key"] for item in deployed.records()] == [f"{deployed.folder}behind.jpg"]
    assert deployed.dead_letters() == []


def test_a_prompt_txt_serves_the_photos_below_that_bring_no_prompt(deployed: Deployed) -> None:
    deployed.put("prompt.txt", "une plage, à midi\n".encode())
    deployed.put("shoes/a.jpg", photo())

    deployed.until_stored("shoes/a.jpg.png")

    assert [charge["prompt"] for charge in deployed.gateway.charges()] == ["une plage, à midi"]
    assert [item["key"] for item in deployed.records()] == [f"{deployed.folder}shoes/a.jpg"]
    assert deployed.dead_letters() == []


def test_with_notify_queue_an_upload_goes_by_the_retry_queue(deployed: Deployed) -> None:
    queued = another(deployed.stack, "queued", NotifyQueue="true")

    queued.put("mug.jpg", photo(), prompt="a kitchen")

    queued.until_stored("mug.jpg.png")
    queued.until_retry_queue_is_empty(60)  # of S3's test event, too
    assert [charge["prompt"] for charge in queued.gateway.charges()] == ["a kitchen"]
    assert queued.dead_letters() == []
    assert queued.logs("/queued-replace-background") == []
