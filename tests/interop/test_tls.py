"""TLS with DCMTK and pynetdicom, both ways: OpenSSL on their side, mutual authentication."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dimse_rs import AE, TLS, Server, Storage, TlsError
from tests.data.certificates import Authority, Issued
from tests.data.files import BUNDLED, data_set, same_bytes
from tests.interop.conftest import Matrix
from tests.peers.scp import announced
from tests.peers.scu import DCMTK_ENV
from tests.support.process import Process, listening, run

CT = BUNDLED / "test_files" / "CT_small.dcm"
PYNETDICOM = [sys.executable, "-m", "tests.peers.pynetdicom_tls"]
VERSIONS = ["1.2", "1.3"]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the CA of both sides."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def theirs(ca: Authority) -> Issued:
    """Return the peer's certificate: in TLS 1.2 DCMTK has suites for RSA alone."""
    return ca.issue("peer", kind="rsa")


@pytest.fixture(scope="module")
def tls(ca: Authority) -> TLS:
    """Return our side."""
    ours = ca.issue("ours", kind="rsa")
    return TLS(ours.cert, ours.key, ca.ca)


@contextlib.contextmanager
def receiving(tls: TLS, folder: Path) -> Iterator[tuple[Server, list[str]]]:
    """Run our server, and note in which version it is spoken to."""
    server = Server(
        AE("ANY-SCP", tls=tls), port=0, services=[Storage(folder, mode="fast")], any_called=True
    )
    versions: list[str] = []
    server.c_echo(lambda request: versions.append(request.association.tls.version))
    with server:
        yield server, versions


def sent(tls: TLS, port: int, title: str) -> str:
    """Echo and store, and give the version of TLS that was agreed on."""
    ae = AE("DIMSE", tls=tls)
    peer = f"{title}@127.0.0.1:{port}"
    with ae.associate(peer) as association:
        association.c_echo()
        version = association.tls.version
    ae.send(peer, [CT]).raise_for_failures()
    return version


def came(folder: Path) -> str:
    """Compare what arrived with what was sent."""
    (stored,) = (path for path in folder.iterdir() if path.is_file())
    assert same_bytes(data_set(CT), data_set(stored))
    return "bytes equal"


def dcmtk(tool: str, ca: Authority, theirs: Issued) -> list[str]:
    """Give the tool's command with mutual authentication."""
    return [tool, "+tls", str(theirs.key), str(theirs.cert), "+cf", str(ca.ca)]


@pytest.fixture(scope="module")
def only(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Return what makes OpenSSL speak one version of TLS alone: DCMTK has no option for it."""
    folder = tmp_path_factory.mktemp("openssl")

    def environment(version: str) -> dict[str, str]:
        path = folder / f"{version}.cnf"
        path.write_text(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = node\n"
            f"[node]\nMinProtocol = TLSv{version}\nMaxProtocol = TLSv{version}\n"
        )
        return {**DCMTK_ENV, "OPENSSL_CONF": str(path)}

    return environment


def dcmtk_scp(
    ca: Authority, theirs: Issued, folder: Path, env: dict[str, str] = DCMTK_ENV
) -> contextlib.AbstractContextManager[tuple[Process, int]]:
    """Run storescp, which keeps what it receives byte for byte."""
    command = [*dcmtk("storescp", ca, theirs), "+B", "-od", str(folder)]
    return listening(lambda port: [*command, str(port)], env=env)


@pytest.mark.parametrize("version", VERSIONS)
def test_dcmtk_as_scp(
    ca, theirs, tls, tmp_path, version, only, need: Callable[..., None], matrix: Matrix
):
    need("storescp")
    with dcmtk_scp(ca, theirs, tmp_path, only(version)) as (_, port):
        agreed = sent(tls, port, "ANY-SCP")
    assert agreed == f"TLSv{version}"
    matrix.add("dimse", "DCMTK +B", f"echo, store, {agreed}", "explicit LE", came(tmp_path))


@pytest.mark.parametrize("version", VERSIONS)
def test_dcmtk_as_scu(
    ca, theirs, tls, tmp_path, version, only, need: Callable[..., None], matrix: Matrix
):
    need("echoscu", "storescu")
    with receiving(tls, tmp_path) as (server, versions):
        for tool, more in (("echoscu", []), ("storescu", ["-xe", str(CT)])):
            host, port, *files = "127.0.0.1", str(server.port), *more[1:]
            command = [*dcmtk(tool, ca, theirs), *more[:1], host, port, *files]
            assert run(command, env=only(version)).returncode == 0
        assert versions == [f"TLSv{version}"]
        assert len(list(tmp_path.glob("*.dcm"))) == 1
    matrix.add("DCMTK", "dimse", f"echo, store, TLSv{version}", "explicit LE", "success")


def test_dcmtk_and_we_refuse_each_other_by_name(
    ca, theirs, tls, tmp_path, need: Callable[..., None]
):
    need("storescp", "echoscu")
    strangers = Authority(tmp_path / "strangers", "Other CA")
    stranger = strangers.issue("stranger", kind="rsa")
    with dcmtk_scp(ca, theirs, tmp_path) as (_, port):
        with pytest.raises(TlsError, match="does not know the CA"):
            sent(TLS(stranger.cert, stranger.key, ca.ca), port, "ANY-SCP")
        with pytest.raises(TlsError, match="does not trust"):
            sent(TLS(stranger.cert, stranger.key, strangers.ca), port, "ANY-SCP")
    with receiving(tls, tmp_path) as (server, _):
        events = server.events()
        port = str(server.port)
        assert run([*dcmtk("echoscu", ca, stranger), "127.0.0.1", port]).returncode != 0
        assert next(e for e in events if e["event"] == "error")["code"] == "tls-unknown-ca"
        assert run(["echoscu", "127.0.0.1", port]).returncode != 0
        assert next(e for e in events if e["event"] == "error")["code"] == "tls-not-spoken"


@pytest.mark.parametrize("version", VERSIONS)
def test_pynetdicom_as_scp(
    ca, theirs, tls, tmp_path, version, need: Callable[..., None], matrix: Matrix
):
    need("module:pynetdicom")
    files = [version, str(theirs.key), str(theirs.cert), str(ca.ca)]
    with announced([*PYNETDICOM, "scp", *files, str(tmp_path)], "PYNETDICOM", tmp_path) as scp:
        agreed = sent(tls, scp.target.port, "PYNETDICOM")
    assert agreed == f"TLSv{version}"
    matrix.add("dimse", "pynetdicom", f"echo, store, {agreed}", "explicit LE", came(tmp_path))


@pytest.mark.parametrize("version", VERSIONS)
def test_pynetdicom_as_scu(
    ca, theirs, tls, tmp_path, version, need: Callable[..., None], matrix: Matrix
):
    need("module:pynetdicom")
    files = [version, str(theirs.key), str(theirs.cert), str(ca.ca)]
    with receiving(tls, tmp_path) as (server, versions):
        done = run([*PYNETDICOM, "scu", *files, str(server.port), str(CT)])
    assert done.returncode == 0, done.stderr
    assert versions == [f"TLSv{version}"]
    (stored,) = tmp_path.glob("*.dcm")
    assert stored.stat().st_size > 0
    matrix.add("pynetdicom", "dimse", f"echo, store, TLSv{version}", "explicit LE", "success")
