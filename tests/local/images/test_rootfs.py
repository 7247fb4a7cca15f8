"""What containers see of the machine."""

from ketch.local.images.rootfs import certificate_settings


def test_containers_are_told_of_certificates_that_they_can_see(tmp_path):
    hidden = tmp_path / "mine.pem"
    hidden.touch()
    settings = {
        "SSL_CERT_DIR": "/usr",
        "PIP_CERT": str(hidden),
        "REQUESTS_CA_BUNDLE": "/usr/no/such/bundle",
        "CURL_CA_BUNDLE": "relative",
        "UV_SYSTEM_CERTS": "1",
        "UV_INDEX_URL": "https://example.org",
    }
    assert certificate_settings(settings) == {"SSL_CERT_DIR": "/usr", "UV_SYSTEM_CERTS": "1"}
