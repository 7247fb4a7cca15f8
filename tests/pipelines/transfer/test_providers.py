"""What the ConfigMap kfp-launcher says, and how a mistake in it is told."""

import pytest

from ketch.metadata.stores.table import Kind
from ketch.pipelines.transfer.providers import ConfigurationProblem, read_configuration
from ketch.pipelines.transfer.sources import SecretKey

UPSTREAM = """
s3:
  default:
    endpoint: s3.amazonaws.com
    region: us-east-2
    disableSSL: false
    credentials:
      fromEnv: false
      secretRef: {secretName: aws, accessKeyKey: id, secretKeyKey: key}
  Overrides:
    - bucketName: team
      keyPrefix: a/b
      endpoint: http://seaweed:8333
      region: minio
      disableSSL: true
      credentials: {fromEnv: true}
minio:
  default:
    endpoint: minio-service.kubeflow:9000
    disableSSL: true
    maxRetries: 7
    credentials: {secretRef: {secretName: mlpipeline-minio-artifact, accessKeyKey: accesskey, secretKeyKey: secretkey}}
gs:
  default:
    credentials: {secretRef: {secretName: google, tokenKey: sa.json}}
azure:
  default:
    accountName: team
    credentials: {secretRef: {secretName: blob, accountKeyKey: key}}
"""


def test_upstreams_form_is_read():
    found = read_configuration({"defaultPipelineRoot": "s3://team/root/", "providers": UPSTREAM})
    assert found.root == "s3://team/root"
    override, s3, minio, gs, azure = found.sources
    assert (override.place.scheme, override.place.bucket, override.place.prefix) == ("s3", "team", "a/b")
    assert (override.secrets, override.place.connection.path_style) == ({}, True)
    assert (s3.place.bucket, s3.place.connection.region, s3.place.connection.path_style) == ("", "us-east-2", False)
    assert s3.secrets == {"access_key": SecretKey("aws", "id"), "secret_key": SecretKey("aws", "key")}
    assert (minio.place.connection.plain_http, minio.place.connection.max_retries) == (True, 7)
    assert (gs.place.connection.kind, gs.secrets) == (Kind.GCS, {"token": SecretKey("google", "sa.json")})
    assert (azure.place.scheme, azure.place.connection.account) == ("az", "team")
    assert azure.secrets == {"account_key": SecretKey("blob", "key")}


def test_nothing_is_nothing():
    assert read_configuration({}) == read_configuration({"providers": "", "defaultPipelineRoot": ""})
    assert read_configuration({}).sources == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"defaultPipelineRoot": "ftp://x/y"}, "ConfigMap kfp-launcher: defaultPipelineRoot: expected s3://"),
        ({"providers": "s3: ["}, "providers is no YAML"),
        ({"providers": "[1]"}, "providers: Expected `object`"),
        ({"providers": "ftp: {}"}, "unknown provider 'ftp': expected s3, minio, gs, azure"),
        ({"providers": "s3: {default: {endpiont: x}}"}, "unknown field `endpiont`"),
        ({"providers": "s3: {default: {disableSSL: maybe}}"}, r"Expected `bool`, got `str`.*disableSSL"),
        ({"providers": "s3: {default: {endpoint: x}}"}, r"s3.default.credentials: set fromEnv: true or a secretRef"),
        (
            {"providers": "s3: {default: {credentials: {secretRef: {secretName: a, accessKeyKey: b}}}}"},
            r"s3.default.credentials.secretRef: secretKeyKey is missing",
        ),
        (
            {"providers": "azure: {default: {credentials: {secretRef: {secretName: a}}}}"},
            "accountKeyKey or sasTokenKey is missing",
        ),
        ({"providers": "gs: {overrides: [{credentials: {fromEnv: true}}]}"}, r"gs.overrides\[0\]: bucketName"),
    ],
)
def test_a_mistake_is_told_with_its_field(data: dict[str, str], message: str):
    with pytest.raises(ConfigurationProblem, match=message):
        read_configuration(data)
