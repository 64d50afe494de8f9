"""TLS between our two ends: who is believed, what is said when not, and who waits for whom."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import socket
import ssl
from dataclasses import replace

import pydicom
import pytest

from dimse_rs import (
    AE,
    TLS,
    AsyncServer,
    DimseTimeout,
    Retrieve,
    Server,
    Storage,
    StudyRoot,
    TlsError,
    for_retrieve,
)
from tests.data.certificates import Authority, self_signed
from tests.support.nodes import CT, PATIENT, Puppet, at, scp


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def own(ca):
    """What a node has that does everything right."""
    issued = ca.issue("node")
    return TLS(issued.cert, issued.key, ca.ca)


def node(tls, title="SCU", handshake=8):
    return AE(title, timeouts=replace(PATIENT, tls=handshake), tls=tls)


def secured(tls, folder=None, **options):
    return scp(folder, ae=node(tls, "SCP"), **options)


def refused(tls, server, **address):
    """Why TLS with this server is not possible, as the requestor hears it."""
    with pytest.raises(TlsError) as caught:
        echo(tls, server, **address)
    return caught.value


def echo(tls, server, host="127.0.0.1"):
    with node(tls).associate(f"SCP@{host}:{server.port}") as association:
        association.c_echo()
        return association.tls


def problem(events):
    """The first problem that a server tells of."""
    return next(event for event in events if event["event"] == "error")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_both_ends_know_whom_they_talk_to(own, ca, version):
    shown = ca.issue("modality")
    ours = TLS(shown.cert, shown.key, ca.ca)
    seen = []
    proposed = []

    def accept(proposal):
        proposed.append(proposal.tls)
        return True

    server = secured(replace(own, min_version=version), accept=accept)
    server.c_echo(lambda request: seen.append(request.association.tls))
    with server:
        events = server.events("connected")
        facts = echo(ours, server)
    assert facts.version == "TLSv1.3"
    assert facts.certificate.der == ssl.PEM_cert_to_DER_cert(own.cert.read_text())
    (heard,) = seen
    assert heard.certificate.der == shown.der
    assert heard.certificate.sha256 == shown.sha256.replace(":", "").lower()
    assert heard.certificate.subject == "CN=modality"
    assert heard.certificate.names == ("127.0.0.1", "localhost", "modality")
    assert heard.cipher_suite == facts.cipher_suite
    assert proposed == [heard]
    (connected,) = events
    assert connected["tls"] == {
        "version": facts.version,
        "cipher_suite": facts.cipher_suite,
        "subject": "CN=modality",
        "sha256": heard.certificate.sha256,
    }


def test_instances_arrive_as_they_left(own, tmp_path):
    with secured(own, tmp_path) as server:
        report = node(own).send(at(server), [CT] * 20, associations=2)
        report.raise_for_failures()
    (stored,) = tmp_path.glob("*.dcm")
    assert stored.stat().st_size > 0


@pytest.mark.slow
def test_a_large_instance_goes_both_ways(own, tmp_path):
    """More than the buffers of TLS and of the system hold, so that writes wait for the reader."""
    big = pydicom.dcmread(CT)
    big.PixelData = os.urandom(24 << 20)
    sent = tmp_path / "big.dcm"
    big.save_as(sent)
    server = secured(own, tmp_path / "in")
    server.c_get(StudyRoot)(lambda request: Retrieve(1, [sent]))
    with server:
        node(own).send(at(server), [sent]).raise_for_failures()
        (stored,) = (tmp_path / "in").glob("*.dcm")
        assert pydicom.dcmread(stored).PixelData == big.PixelData
        ae, keys = node(own), {"StudyInstanceUID": "1.2"}
        with ae.associate(at(server), contexts=for_retrieve(StudyRoot)) as association:
            into = Storage(tmp_path / "out", mode="fast")
            list(association.c_get(keys, model=StudyRoot, level="STUDY", into=into))
    (got,) = (tmp_path / "out").glob("*.dcm")
    assert pydicom.dcmread(got).PixelData == big.PixelData


def test_move_goes_to_a_destination_over_tls(own, tmp_path):
    with secured(own, tmp_path, any_called=True) as destination:
        server = secured(own, destinations={"DEST": f"127.0.0.1:{destination.port}"})
        server.c_move(StudyRoot)(lambda request: [CT])
        with server, node(own).associate(at(server), contexts=[StudyRoot]) as association:
            keys = {"StudyInstanceUID": "1.2"}
            moved = association.c_move(keys, model=StudyRoot, level="STUDY", destination="DEST")
            *_, final = moved
    assert final.completed == 1
    assert len(list(tmp_path.glob("*.dcm"))) == 1


def test_asyncio_has_it_too(own):
    async def talk():
        async with AsyncServer(node(own, "SCP"), port=0) as server:
            peer = f"SCP@127.0.0.1:{server.port}"
            async with node(own).associate_async(peer) as association:
                await association.c_echo()
                return association.tls.version

    assert asyncio.run(talk()) == "TLSv1.3"


# ---- who is believed


def test_a_server_wants_a_certificate(own, ca):
    with secured(own) as server:
        events = server.events()
        error = refused(TLS(ca=ca.ca), server)
        assert "wants a certificate" in str(error)
        assert error.hint
        told = problem(events)
    assert told["code"] == "tls-no-certificate"


@pytest.mark.parametrize("verify", ["optional", "off"])
def test_unless_it_says_otherwise(own, ca, verify):
    with secured(replace(own, verify=verify)) as server:
        assert echo(TLS(ca=ca.ca), server).certificate


def test_optional_is_not_off(own, ca, tmp_path):
    other = self_signed(tmp_path, "stranger")
    with secured(replace(own, verify="optional")) as server:
        events = server.events()
        error = refused(TLS(other.cert, other.key, ca.ca), server)
        assert "does not accept this node's certificate" in str(error)
        assert problem(events)["code"] == "tls-unknown-ca"


def test_certificates_that_are_not_in_order_are_named(own, ca, tmp_path):
    strangers = Authority(tmp_path / "strangers")
    cases = {
        "most likely self-signed": self_signed(tmp_path, "self-signed"),
        "has expired": ca.issue("old", days=(-9, -2)),
        "is not valid yet": ca.issue("early", days=(2, 9)),
        "a CA that this node does not trust": strangers.issue("stranger"),
        "is for 10.9.8.7, not for 127.0.0.1": ca.issue("elsewhere", hosts=("10.9.8.7",)),
        "has no subjectAltName": ca.issue("cn-only", hosts=()),
    }
    for why, shown in cases.items():
        with secured(TLS(shown.cert, shown.key, ca.ca)) as server:
            error = refused(own, server)
            assert why in str(error)
            assert shown.sha256.replace(":", "").lower() in str(error)
            assert error.hint


def test_a_name_may_be_another_or_any(own, ca):
    shown = ca.issue("pacs", hosts=("pacs.hospital.example",))
    with secured(TLS(shown.cert, shown.key, ca.ca)) as server:
        assert "not for 127.0.0.1" in str(refused(own, server))
        assert echo(replace(own, server_name="pacs.hospital.example"), server)
        assert echo(replace(own, server_name="*"), server)
        assert "not for other.example" in str(
            refused(replace(own, server_name="other.example"), server)
        )


def test_any_name_is_not_any_certificate(own, tmp_path):
    strangers = Authority(tmp_path / "strangers")
    shown = strangers.issue("stranger", hosts=("elsewhere.example",))
    with secured(TLS(shown.cert, shown.key, own.ca)) as server:
        error = refused(replace(own, server_name="*"), server)
    assert "does not trust" in str(error)


@pytest.mark.parametrize("days", [(-1, 1), (-9, -2)], ids=["valid", "expired"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_pins_admit_what_hospitals_have(tmp_path, days, version):
    """Self-signed, the host in the common name alone, or expired: on both sides."""
    theirs, mine = (self_signed(tmp_path, name, days) for name in ("pacs", "modality"))
    server_tls = TLS(theirs.cert, theirs.key, pinned=mine.sha256, min_version=version)
    ours = TLS(mine.cert, mine.key, pinned=[theirs.sha256])
    stranger = self_signed(tmp_path, "stranger")
    with secured(server_tls) as server:
        assert echo(ours, server).certificate.der == theirs.der
        assert "does not trust" in str(refused(replace(ours, pinned=stranger.sha256), server))
        assert "does not know" in str(
            refused(replace(ours, cert=stranger.cert, key=stranger.key), server)
        )


def test_a_pin_goes_beside_a_ca(own, ca, tmp_path):
    odd = self_signed(tmp_path, "odd")
    with secured(replace(own, pinned=odd.sha256)) as server:
        assert echo(own, server)
        assert echo(TLS(odd.cert, odd.key, ca.ca), server)


def test_the_revoked_stay_out(own, ca, tmp_path):
    lost = ca.issue("lost")
    crl = ca.revoke(lost)
    with secured(replace(own, crl=crl)) as server:
        events = server.events()
        assert echo(own, server)
        assert "revoked" in str(refused(TLS(lost.cert, lost.key, ca.ca), server))
        assert problem(events)["code"] == "tls-revoked"
    with secured(TLS(lost.cert, lost.key, ca.ca)) as server:
        assert "is revoked" in str(refused(replace(own, crl=crl), server))


def test_off_believes_anybody(tmp_path):
    shown = self_signed(tmp_path, "anybody")
    with secured(TLS(shown.cert, shown.key, verify="off")) as server:
        assert echo(TLS(verify="off"), server).version == "TLSv1.3"


# ---- files


def test_an_encrypted_key(own, ca):
    shown = ca.issue("locked", password="s3cret")
    with secured(TLS(shown.cert, shown.key, ca.ca, password=lambda: "s3cret")) as server:
        assert echo(own, server)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"password": "wrong"}, "pass phrase is wrong"),
        ({"password": None}, "no pass phrase was given"),
        ({"key": "missing.key"}, "missing.key: No such file"),
        ({"cert": __file__}, "test_tls.py"),
        ({"cert": "ca"}, "does not belong to the certificate"),
        ({"crl": "ca"}, "no certificate revocation list in it"),
    ],
)
def test_files_that_are_not_in_order_keep_a_server_from_starting(ca, change, why):
    shown = ca.issue("faulty", password="s3cret")
    change = {name: ca.ca if said == "ca" else said for name, said in change.items()}
    files = {"cert": shown.cert, "key": shown.key, "ca": ca.ca, "password": "s3cret"}
    with pytest.raises(TlsError, match=why):
        Server(node(TLS(**(files | change))), port=0).start()


def test_a_server_needs_a_certificate(ca):
    with pytest.raises(TlsError, match="a server needs a certificate"):
        Server(node(TLS(ca=ca.ca)), port=0).start()


def test_new_certificates_count_from_the_next_association(ca, own, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(issued):
        for old, new in ((cert, issued.cert), (key, issued.key)):
            (tmp_path / "new").write_bytes(new.read_bytes())
            (tmp_path / "new").replace(old)

    first, second = ca.issue("first"), ca.issue("second")
    install(first)
    with secured(TLS(cert, key, ca.ca)) as server:
        events = server.events()
        assert echo(own, server).certificate.der == first.der
        install(second)
        assert echo(own, server).certificate.der == second.der
        key.write_bytes(b"half a file")
        assert echo(own, server).certificate.der == second.der  # what was good before still counts
        told = problem(events)
        assert told["code"] == "tls-files"
        assert "key.pem" in told["message"]
        install(first)
        assert echo(own, server).certificate.der == first.der


def test_a_folder_of_cas(own, ca, tmp_path):
    """Who is added there is believed from the next association on."""
    folder = tmp_path / "cas"
    folder.mkdir()
    (folder / "README").write_text("not a certificate")
    guests = Authority(tmp_path / "guests", "Guests")
    guest = guests.issue("guest")
    tls = TLS(own.cert, own.key, folder)
    with pytest.raises(TlsError, match="no certificate of a CA"):
        Server(node(tls), port=0).start()
    (folder / "hospital.pem").write_bytes(ca.ca.read_bytes())
    with secured(tls) as server:
        assert echo(own, server)
        theirs = TLS(guest.cert, guest.key, ca.ca)
        assert "does not know the CA" in str(refused(theirs, server))
        (folder / "guests.crt").write_bytes(guests.ca.read_bytes())
        assert echo(theirs, server)
        assert echo(own, server)


# ---- what is no TLS, and who waits


def test_a_plain_requestor_on_a_port_with_tls(own):
    with secured(own) as server:
        events = server.events()
        error = refused(None, server)
        assert "the peer speaks TLS on this port" in str(error)
        told = problem(events)
    assert told["code"] == "tls-not-spoken"
    assert "without TLS, on a port with TLS" in told["message"]


def test_tls_on_a_port_without(own):
    with scp() as server:
        events = server.events()
        error = refused(own, server)
        assert "does not speak TLS on this port" in str(error)
        assert "this is how TLS begins" in problem(events)["message"]


def test_a_peer_that_hangs_up_in_the_handshake(own):
    with Puppet(lambda puppet: puppet.socket.recv(1) and puppet.socket.shutdown(2)) as puppet:
        assert "closed the connection in the TLS handshake" in str(refused(own, puppet))


def test_no_common_version(own, ca):
    """A peer of the time before TLS 1.3, on a port that has nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured(replace(own, min_version="1.3")) as server:
        events = server.events()
        with (
            socket.create_connection(("127.0.0.1", server.port), 5) as tcp,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(tcp, server_hostname="127.0.0.1")
        assert problem(events)["code"] == "tls-no-common-suite"


def test_a_server_that_has_nothing_new_enough(own):
    def serve(puppet):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.cert, own.key)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(puppet.socket, server_side=True)

    with Puppet(serve) as puppet:
        error = refused(replace(own, min_version="1.3"), puppet)
    assert "no TLS version or cipher suite in common" in str(error)
    assert "TLS 1.3" in error.hint


def test_no_common_suite(own):
    """What a modality offers that has RSA key exchange with AES-CBC alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    with secured(own) as server:
        events = server.events()
        with (
            socket.create_connection(("127.0.0.1", server.port), 5) as tcp,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(tcp)
        assert problem(events)["code"] == "tls-no-common-suite"


@pytest.mark.slow
def test_silent_clients_hold_nobody_up(own):
    """They have until `Timeouts.tls`, and everybody else is served meanwhile."""
    server = scp(ae=node(own, "SCP", handshake=3))
    with server:
        events = server.events()
        silent = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(10)]
        half = silent[0]
        half.sendall(bytes.fromhex("160301"))  # begins, and does not go on
        for _ in range(3):
            assert echo(own, server)
        for connection in silent:
            connection.settimeout(8)
            assert connection.recv(1) == b""
            connection.close()
        assert problem(events)["code"] == "timeout-tls"


def test_a_silent_server_is_given_up():
    with (
        Puppet(lambda puppet: puppet.socket.recv(1 << 16)) as puppet,
        pytest.raises(DimseTimeout) as caught,
    ):
        node(TLS(verify="off"), handshake=0.3).associate(at(puppet))
    assert caught.value.which == "tls"


def test_a_server_that_stops_does_not_wait_for_handshakes(own):
    with secured(own) as server:
        silent = socket.create_connection(("127.0.0.1", server.port), 5)
        assert echo(own, server)
    with silent:
        silent.settimeout(5)
        assert silent.recv(1) == b""


def test_a_look_at_the_port_is_no_problem(own):
    with secured(own) as server:
        events = server.events()
        socket.create_connection(("127.0.0.1", server.port), 5).close()
        refused(None, server)
        assert problem(events)["code"] == "tls-not-spoken"


# ---- the settings


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "no certificate would be trusted"),
        ({"cert": "a.pem"}, "no certificate would be trusted"),
        ({"verify": "off", "key": "a.key"}, "key= goes with cert="),
        ({"pinned": "abc"}, "not a SHA-256"),
        ({"verify": "maybe"}, "verify is"),
        ({"ca": "ca.pem", "min_version": "1.1"}, "min_version is"),
    ],
)
def test_settings_that_make_no_sense(said, why):
    with pytest.raises(ValueError, match=why):
        TLS(**said)


def test_settings_are_values(own):
    assert copy.deepcopy(own) == own
    assert pickle.loads(pickle.dumps(node(own))) == node(own)
    assert "s3cret" not in repr(TLS(verify="off", password="s3cret"))
