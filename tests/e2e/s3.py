"""A stand-in for S3 that a test can switch off and on, and look into."""

import uuid
from typing import Literal

import boto3

from tests.e2e import server
from tests.stand_in import StandIn


class Store:
    """moto as an S3 store on the loopback, which can be switched off and on; what it keeps is kept."""

    region: Literal["eu-central-1"] = "eu-central-1"

    def __init__(self) -> None:
        self.bucket = f"coffer-{uuid.uuid4()}"  # of all that moto keeps in this process
        self.port = server.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: StandIn | None = None
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def switch_on(self) -> None:
        self._server = StandIn(self.port)
        self._server.start()

    def switch_off(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def settings(self) -> dict[str, str]:
        return {
            "USE_S3_STORAGE": "True",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_STORAGE_BUCKET_NAME": self.bucket,
            "AWS_S3_REGION_NAME": self.region,
            "AWS_S3_ENDPOINT_URL": self.url,
        }

    def stored_keys(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.bucket)
        return [each["Key"] for each in listed.get("Contents", [])]

    def unfinished(self) -> list[str]:
        listed = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [each["Key"] for each in listed.get("Uploads", [])]
