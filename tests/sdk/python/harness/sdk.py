"""Clients of the official Python SDK, one for each way it can reach a local server."""

import urllib.parse

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors
import requests.adapters
from alibabacloud_oss_v2.transport import RequestsHttpClient

from . import settings


def config(**more) -> oss.config.Config:
    """The SDK's defaults with our identity; `more` sets or replaces members."""
    made = oss.config.load_default()
    made.credentials_provider = oss.credentials.StaticCredentialsProvider(
        settings.ACCESS_KEY_ID, settings.ACCESS_KEY_SECRET
    )
    made.region = settings.REGION
    made.account_id = settings.ACCOUNT
    for name, value in more.items():
        setattr(made, name, value)
    return made


def by_proxy(server, **more) -> oss_vectors.Client:
    """Virtual-hosted names in absolute form: the documented way to use a server without DNS."""
    return oss_vectors.Client(config(**({"disable_ssl": True, "proxy_host": {"http": server.url}} | more)))


class PinnedAdapter(requests.adapters.HTTPAdapter):
    """Connects every URL to one loopback port and leaves Host as the URL says: virtual hosting without DNS."""

    def __init__(self, port: int):
        super().__init__()
        self._port = port

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        return self.poolmanager.connection_from_host("127.0.0.1", self._port, scheme="http")

    def request_url(self, request, proxies):
        return request.path_url

    def add_headers(self, request, **kwargs):
        request.headers["Host"] = urllib.parse.urlsplit(request.url).netloc


def by_custom_client(server, **more) -> oss_vectors.Client:
    """Plain virtual hosting (origin-form request line) through a transport of the user's own."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", PinnedAdapter(server.port))
    transport = RequestsHttpClient(session=session)
    return oss_vectors.Client(config(disable_ssl=True, http_client=transport, **more))


def service_error(raised) -> oss.exceptions.ServiceError:
    """The service's error inside a pytest `raises` result."""
    inner = raised.value.unwrap()
    assert isinstance(inner, oss.exceptions.ServiceError), repr(inner)
    return inner
