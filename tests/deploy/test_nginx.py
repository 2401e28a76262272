"""The shipped nginx.conf before the real service: what passes, what nginx does itself, what it keeps away."""

import contextlib
import hashlib
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.api import picture
from tests.deploy.conftest import Proxy, nginx
from tests.e2e import server
from tests.e2e.conftest import Prepared, Start
from tests.e2e.s3 import Store
from tests.e2e.server import ANSWERS_WITHIN, Service, one_file, read_answer, wait_for

pytestmark = pytest.mark.e2e

SLOW_CLIENTS = 50
# Of a download, what the service says of the file and nginx has to pass on.
SAID_OF_A_FILE = [
    "Cache-Control",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
]


@pytest.fixture(scope="module")
def behind(start: Start) -> Iterator[Service]:
    """The service that nginx stands before. Two threads in all, so that one that waits is missed."""
    with start("behind", settings={"SENDFILE": "nginx", "THREADS": "1"}) as service:
        yield service


@pytest.fixture(scope="module")
def alone(behind: Service) -> Iterator[Service]:
    """A service over the same folder that sends files itself: what nginx is held against."""
    with server.running(behind.data_dir, token=behind.token) as service:
        yield service


@pytest.fixture(scope="module")
def proxy(behind: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    with nginx(folder, service_port=behind.port, data_dir=behind.data_dir) as running:
        yield running


@pytest.fixture(scope="module")
def client(behind: Service, proxy: Proxy) -> Iterator[httpx.Client]:
    """Alice's, by way of nginx."""
    with httpx.Client(
        base_url=proxy.url,
        headers={"Authorization": f"Bearer {behind.token}"},
        timeout=ANSWERS_WITHIN,
        trust_env=False,
    ) as client:
        yield client


def upload(client: httpx.Client, content: bytes, sent_as: str = "a.bin", **given: object) -> dict[str, str]:
    sent = one_file(content, sent_as, **given)
    answer = client.post("/graphql", content=sent.body, headers={"Content-Type": sent.content_type}).json()
    assert "errors" not in answer, answer
    assert answer["data"]["uploadFile"]["__typename"] == "File", answer
    result: dict[str, str] = answer["data"]["uploadFile"]
    return result


def address_of(client: httpx.Client, file_id: str, base: str | None = None) -> str:
    query = "query ($id: ID!) { file(id: $id) { url { url } } }"
    answer = client.post(f"{base or ''}/graphql", json={"query": query, "variables": {"id": file_id}}).json()
    address: str = answer["data"]["file"]["url"]["url"]
    return address


def path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


# --- downloads -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def content() -> bytes:
    return secrets.token_bytes(300_001)


@pytest.fixture(scope="module")
def file_path(client: httpx.Client, content: bytes) -> str:
    """The signed path of a file that was uploaded through nginx."""
    address = address_of(client, upload(client, content, "größe.bin")["id"])
    assert address.startswith(str(client.base_url))
    return path_of(address)


def said_of(answer: httpx.Response) -> dict[str, str]:
    """The headers that matter; a second may have passed between two answers."""
    said = {name: answer.headers.get(name, "") for name in SAID_OF_A_FILE}
    assert re.search(r"max-age=3[56]\d\d", said["Cache-Control"])
    return said | {"Cache-Control": re.sub(r"\d+", "", said["Cache-Control"])}


@pytest.mark.parametrize(
    "asked",
    [None, "bytes=0-4", "bytes=-5", "bytes=299990-", "bytes=7-300000", "bytes=0-0"],
)
def test_a_download_is_the_one_that_the_service_sends_itself(
    asked: str | None, alone: Service, proxy: Proxy, behind: Service, file_path: str, content: bytes
) -> None:
    headers = {"Range": asked} if asked else {}
    theirs = proxy.get(file_path, headers=headers)
    ours = httpx.get(alone.url + file_path, headers=headers, trust_env=False)
    assert (theirs.status_code, theirs.content) == (ours.status_code, ours.content)
    assert theirs.content in content
    assert said_of(theirs) == said_of(ours)
    assert "X-Accel-Redirect" not in theirs.headers
    assert theirs.status_code == 206 or theirs.headers["Accept-Ranges"] == "bytes"
    # And it is nginx that sends: of the service comes nothing but where the file is.
    bare = httpx.get(behind.url + file_path, headers=headers, trust_env=False)
    assert (bare.content, bare.headers["X-Accel-Redirect"][:15]) == (b"", "/_coffer/files/")


def test_several_ranges_are_as_those_of_the_service(
    alone: Service, proxy: Proxy, file_path: str, content: bytes
) -> None:
    headers = {"Range": "bytes=0-3,100-104"}
    for answer in (
        proxy.get(file_path, headers=headers),
        httpx.get(alone.url + file_path, headers=headers, trust_env=False),
    ):
        assert answer.status_code == 206
        boundary = answer.headers["Content-Type"].partition("boundary=")[2].encode()
        parts = [part.partition(b"\r\n\r\n")[2] for part in answer.content.split(b"--" + boundary)[1:-1]]
        assert [part.removesuffix(b"\r\n") for part in parts] == [content[:4], content[100:105]]


def test_a_range_beyond_the_end_is_refused(proxy: Proxy, file_path: str) -> None:
    answer = proxy.get(file_path, headers={"Range": "bytes=300001-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */300001")


def test_a_download_that_was_cut_off_goes_on_where_it_was(
    proxy: Proxy, file_path: str, content: bytes
) -> None:
    first = proxy.get(file_path, headers={"Range": "bytes=0-999"})
    rest = proxy.get(file_path, headers={"Range": "bytes=1000-", "If-Range": first.headers["ETag"]})
    assert (rest.status_code, first.content + rest.content) == (206, content)
    known = proxy.get(file_path, headers={"If-None-Match": first.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")


def test_a_rendition_is_sent_by_nginx_too(client: httpx.Client, alone: Service, proxy: Proxy) -> None:
    file_id = upload(client, picture("PNG"), "a.png", profile="image")["id"]
    query = "query ($id: ID!) { file(id: $id) { image { rendition(width: 320) { url } } } }"
    answer = client.post("/graphql", json={"query": query, "variables": {"id": file_id}}).json()
    path = path_of(answer["data"]["file"]["image"]["rendition"]["url"])
    theirs = proxy.get(path)
    ours = httpx.get(alone.url + path, trust_env=False)
    assert (theirs.status_code, theirs.content) == (200, ours.content)
    for name in ("Content-Type", "Vary", "Content-Disposition"):
        assert theirs.headers[name] == ours.headers[name]


def test_what_the_service_refuses_nginx_does_not_send(
    client: httpx.Client, behind: Service, proxy: Proxy
) -> None:
    file_id = upload(client, b"secret")["id"]
    path = path_of(address_of(client, file_id))
    assert proxy.get(path).content == b"secret"
    forged = proxy.get(f"{path[:-1]}{'A' if path[-1] != 'A' else 'B'}")
    assert (forged.status_code, forged.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
    behind.delete(file_id)
    gone = proxy.get(path)
    assert (gone.status_code, gone.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "before",
    [
        "/_coffer/files/",
        "//_coffer/files/",
        "/%5Fcoffer/files/",
        "/_coffer/./files/",
        "/files/../_coffer/files/",
        "/_coffer/files/../files/",
    ],
)
def test_nobody_can_ask_for_stored_files_by_their_place(
    before: str, proxy: Proxy, behind: Service, file_path: str
) -> None:
    key = behind.objects()[0]
    with proxy.connect() as connection:  # a client library would tidy the path up
        connection.sendall(f"GET {before}{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        status, _, body = read_answer(connection)
    assert status == 404
    assert (behind.data_dir / "files" / key).read_bytes() not in body


@pytest.mark.parametrize(
    "path",
    [
        "/_coffer/files/../secret_key",
        "/_coffer/files/..%2fsecret_key",
        "/_coffer/files../secret_key",
        "/static/../secret_key",
        "/static/..%2f..%2fsecret_key",
        "/../../etc/passwd",
        "/_coffer/secret_key",
    ],
)
def test_no_path_leads_out_of_the_folder(path: str, proxy: Proxy, behind: Service) -> None:
    secret = (behind.data_dir / "secret_key").read_bytes()
    with proxy.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        status, _, body = read_answer(connection)
    assert status in {400, 404}
    assert secret not in body
    assert b"root:" not in body


# --- uploads ---------------------------------------------------------------------------------------


def test_slow_uploads_occupy_no_thread_of_the_service(
    client: httpx.Client, behind: Service, proxy: Proxy
) -> None:
    sent = [one_file(secrets.token_bytes(400_000), f"{number}.bin") for number in range(SLOW_CLIENTS)]
    rows = behind.rows()
    with contextlib.ExitStack() as last:
        connections = [last.enter_context(proxy.connect()) for _ in sent]
        for connection, each in zip(connections, sent, strict=True):
            connection.sendall(each.head(behind.token) + each.body[:-1000])
        wait_for("the halves to come in", lambda: proxy.buffered() >= SLOW_CLIENTS)
        # Of the service's two threads none has heard of them: others are answered.
        assert client.post("/graphql", json={"query": "{ viewer { id } }"}).status_code == 200
        assert upload(client, b"meanwhile")["id"]
        assert (behind.rows(), behind.staged()) == (rows + 1, [])
        for connection, each in zip(connections, sent, strict=True):
            connection.sendall(each.body[-1000:])
        answers = [json.loads(read_answer(connection)[2]) for connection in connections]
    assert {answer["data"]["uploadFile"]["__typename"] for answer in answers} == {"File"}
    assert behind.rows() == rows + 1 + SLOW_CLIENTS


def test_an_upload_that_breaks_off_never_reaches_the_service(behind: Service, proxy: Proxy) -> None:
    kept = behind.kept()
    sent = one_file(secrets.token_bytes(2_000_000))
    with proxy.connect() as connection:
        connection.sendall(sent.head(behind.token) + sent.body[:1_000_000])
        wait_for("the half to come in", lambda: proxy.buffered() > 0)
    wait_for("it to be thrown away", lambda: proxy.buffered() == 0)
    assert behind.kept() == kept


@pytest.mark.parametrize(
    "path, length",
    [("/graphql", 1024**3 + 1), ("/graphql/", 2 * 1024**3), ("/password/", 1024**2 + 1)],
)
def test_a_body_that_is_too_large_is_refused_by_its_head_in_the_shape_of_our_errors(
    path: str, length: int, behind: Service, proxy: Proxy
) -> None:
    head = one_file(b"").head(behind.token, length=length).replace(b"/graphql", path.encode())
    with proxy.connect() as connection:
        connection.sendall(head)
        status, headers, body = read_answer(connection)
    assert (status, headers["content-type"]) == (413, "application/json")
    (error,) = json.loads(body)["errors"]
    assert error["extensions"]["code"] == "REQUEST_TOO_LARGE"
    assert error["message"]


# --- what else nginx does --------------------------------------------------------------------------


def test_a_signature_does_not_reach_the_log(proxy: Proxy, file_path: str) -> None:
    path, _, query = file_path.partition("?")
    referer = f"{proxy.url}{file_path}"
    assert proxy.get(file_path, headers={"Referer": referer}).status_code == 200
    assert proxy.get(f"{path}?signature=wrong").status_code == 403
    wait_for("the log", lambda: proxy.access_log().count(f'"path":"{path}"') >= 2)
    log = proxy.access_log()
    assert query not in log
    assert "signature" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert re.fullmatch(r"[0-9a-f]{32}", lines[-1]["request_id"])


def test_answers_of_the_api_are_compressed_and_pages_are_not(client: httpx.Client) -> None:
    query = "{ a: uploadProfiles { ...All } b: uploadProfiles { ...All } } fragment All on UploadProfile"
    answer = client.post("/graphql", json={"query": f"{query} {{ name description types }}"})
    assert len(answer.content) > 1024
    assert answer.headers.get("Content-Encoding") == "gzip"
    page = client.get("/login/")
    assert (page.status_code, page.headers.get("Content-Encoding")) == (200, None)
    assert len(page.content) > 1024


def test_passwords_are_guessed_slowly(client: httpx.Client) -> None:
    answers = [client.get(path) for path in ["/login/", "/admin/login/"] * 8]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert answers[0].status_code in {200, 429}
    assert refused[0].headers["Retry-After"] == "60"
    assert refused[0].json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
def test_what_is_for_those_who_watch_is_not_for_all(path: str, proxy: Proxy) -> None:
    answer = proxy.get(path)
    assert answer.status_code == 404
    assert '"upstream":""' in proxy.access_log().splitlines()[-1]  # nginx itself said so


def test_a_service_that_is_away_is_an_error_to_be_tried_again(tmp_path: Path) -> None:
    with nginx(tmp_path, service_port=server.free_port(), data_dir=tmp_path) as proxy:
        answer = proxy.get("/")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        extensions = answer.json()["errors"][0]["extensions"]
        assert extensions == {"code": "SERVICE_UNAVAILABLE", "retryable": True, "retryAfter": 5}
        assert proxy.get("/-/nginx").status_code == 204


# --- who asks --------------------------------------------------------------------------------------


class _Echo(BaseHTTPRequestHandler):
    """Says which headers it was sent."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Accel-Redirect", "/_coffer/files/none")
        self.send_header("Set-Cookie", "a=b")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that tells what reached it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join()


LIES = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "444",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;proto=https",
    "X-Request-ID": "evil",
}


def test_what_a_client_says_of_itself_is_replaced_or_dropped(echo: int, tmp_path: Path) -> None:
    class Silent(_Echo):
        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "X-Accel-Redirect":
                super().send_header(keyword, value)

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        with nginx(tmp_path, service_port=listening.server_address[1], data_dir=tmp_path) as proxy:
            arrived = proxy.get("/", headers={**LIES, "Host": "files.example:8443"}).json()
        listening.shutdown()
        thread.join()
    assert arrived["host"] == "files.example:8443"
    assert arrived["x-forwarded-for"] == "127.0.0.1"
    assert arrived["x-forwarded-proto"] == "http"
    assert re.fullmatch(r"[0-9a-f]{32}", arrived["x-request-id"])
    assert not arrived.keys() & {"x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded"}


def test_the_address_of_a_client_arrives_and_no_header_makes_another_of_it(
    start: Start, tmp_path: Path
) -> None:
    limited = {"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_ADDRESS": "3"}  # in each of two processes
    with (
        start("limited", settings=limited) as service,
        nginx(tmp_path, service_port=service.port, data_dir=service.data_dir) as proxy,
    ):

        def ask(number: int, address: str) -> int:
            transport = httpx.HTTPTransport(local_address=address)
            lies = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
            with httpx.Client(transport=transport) as client:
                asked = client.post(f"{proxy.url}/graphql", json={"query": "{ __typename }"}, headers=lies)
            return asked.status_code

        assert [ask(number, "127.0.0.1") for number in range(20)][-1] == 429
        assert ask(0, "127.0.0.2") == 200


# --- the store -------------------------------------------------------------------------------------


def test_the_store_is_told_nothing_of_a_client_and_cannot_steer_nginx(echo: int, tmp_path: Path) -> None:
    with nginx(tmp_path, service_port=1, data_dir=tmp_path, store_port=echo) as proxy:
        lies = LIES | {"Host": "store.localhost", "Cookie": "sessionid=1", "Authorization": "Bearer 1"}
        answer = proxy.get("/bucket/key", headers=lies)
    arrived = answer.json()  # and not what X-Accel-Redirect names
    assert arrived["host"] == "store.localhost"
    assert not arrived.keys() & {"cookie", "authorization", "x-real-ip", *map(str.lower, LIES)} - {
        "x-request-id",
        "x-real-ip",
    }
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_of_a_store_come_by_way_of_nginx_under_a_name_of_its_own(
    prepared: Prepared, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moto.settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME", True)  # "store." is none
    data_dir = prepared.copy(tmp_path / "data")
    content = secrets.token_bytes(100_000)
    place = server.free_port()
    with (
        nginx(tmp_path / "nginx", service_port=place, data_dir=data_dir, store_port=store.port) as proxy,
        server.running(
            data_dir,
            token=prepared.token,
            settings={
                **store.settings(),
                "AWS_S3_ADDRESSING_STYLE": "path",
                "AWS_S3_CUSTOM_DOMAIN": f"store.localhost:{proxy.port}/{store.bucket}",
                "AWS_S3_URL_PROTOCOL": "http:",
                "SENDFILE": "nginx",
            },
        ) as service,
    ):
        file_id = service.upload(content)["id"]
        address = address_of(service.client, file_id)
        assert address.startswith(f"http://store.localhost:{proxy.port}/{store.bucket}/")
        host = {"Host": f"store.localhost:{proxy.port}"}
        answer = proxy.get(path_of(address), headers=host)
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(content).digest()
        put = httpx.put(proxy.url + path_of(address), headers=host, content=b"other", trust_env=False)
        assert put.status_code in {403, 413}
        assert proxy.get(path_of(address), headers=host).content == content


# --- TLS -------------------------------------------------------------------------------------------


def test_with_a_certificate_all_is_https_and_http_leads_there(
    shipped_tls: str, behind: Service, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path / "nginx"
    (folder / "tls").mkdir(parents=True)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "tls" / "fullchain.pem").write_bytes(pem)
    (folder / "tls" / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    trusted = ssl.create_default_context(cadata=pem.decode())
    with nginx(folder, service_port=behind.port, data_dir=behind.data_dir, tls=shipped_tls) as proxy:
        plain = proxy.get("/graphql")
        assert (plain.status_code, plain.headers["Location"]) == (301, "https://127.0.0.1/graphql")
        url = f"https://localhost:{proxy.tls_port}"
        answer = httpx.post(
            f"{url}/graphql",
            json={"query": "{ __typename }"},
            headers={"Authorization": f"Bearer {behind.token}"},
            verify=trusted,
            trust_env=False,
        )
        assert answer.json() == {"data": {"__typename": "Query"}}
        trusted.set_alpn_protocols(["h2", "http/1.1"])
        plain_socket = socket.create_connection(("127.0.0.1", proxy.tls_port or 0), timeout=ANSWERS_WITHIN)
        with trusted.wrap_socket(plain_socket, server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() == "h2"
            assert connection.version() == "TLSv1.3"
