"""Images as a real registry tells of them: open, by password, by tokens; over TLS; and one that lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from backends.live.docker_config import Login, LoginUnreadable, docker_config, login_of
from backends.live.image_name import ImageName, image_name
from backends.live.registry import ImageUnknown, Offered, RegistryDenied, RegistryError, ask_registry
from tests.peers.certificate import make_certificate
from tests.peers.process import free_ports
from tests.peers.registry import DOCKER_MANIFEST, IDENTITY, PASSWORD, USER, Registry, registry

CUDA = {
    "CUDA_VERSION": "12.4.1",
    "NVIDIA_REQUIRE_CUDA": "cuda>=12.4 brand=tesla,driver>=535,driver<536",
    "PYTORCH_VERSION": "2.4.1",
}
MINE = Login(USER, PASSWORD)


def named(server: Registry, rest: str) -> ImageName:
    name = image_name(f"{server.at}/{rest}")
    assert name is not None
    return name


async def asked(server: Registry, rest: str, login: Login | None = None) -> Offered:
    return await ask_registry(named(server, rest), login)


async def test_an_index_tells_of_each_platform_and_a_manifest_of_its_own(tmp_path: Path) -> None:
    async with registry(tmp_path / "registry") as server:
        index = await server.push_index("corp/chat", "v3", [("amd64", CUDA), ("arm64", {**CUDA, "CUDA_VERSION": "12.6.0"})])
        single = await server.push("corp/chat", "old", env={"CUDA_VERSION": "11.8.0"}, kind=DOCKER_MANIFEST)
        found = await asked(server, "corp/chat:v3")
        assert (found.digest, sorted(found.platforms)) == (index, ["amd64", "arm64"])
        amd = found.platforms["amd64"]
        assert (amd.cuda, amd.pytorch, amd.require, amd.machine) == ("12.4.1", "2.4.1", CUDA["NVIDIA_REQUIRE_CUDA"], "amd64")
        assert index in amd.digests
        assert found.platforms["arm64"].cuda == "12.6.0"
        found = await asked(server, f"corp/chat:whatever@{single}")
        assert [image.cuda for image in found.platforms.values()] == ["11.8.0"]
        assert found.platforms["amd64"].digests == (single,)
        with pytest.raises(ImageUnknown, match="answers 404 for corp/chat, v4: manifest unknown"):
            await asked(server, "corp/chat:v4")
        with pytest.raises(ImageUnknown):
            await asked(server, f"corp/chat@sha256:{'0' * 64}")


async def test_a_registry_by_password_wants_it_and_over_tls_its_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    async with registry(tmp_path / "registry", "password", certificate) as server:
        await server.push("chat", "v3", env=CUDA)
        with pytest.raises(RegistryError, match=r"is not reached: .*certificate"):
            await asked(server, "chat:v3", MINE)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        assert sorted((await asked(server, "chat:v3", MINE)).platforms) == ["amd64"]
        with pytest.raises(RegistryDenied, match="no login for it"):
            await asked(server, "chat:v3")
        with pytest.raises(RegistryDenied, match="answers 401") as refused:
            await asked(server, "chat:v3", Login(USER, "another"))
        assert "another" not in str(refused.value)


async def test_tokens_are_fetched_as_the_registry_asks(tmp_path: Path) -> None:
    async with registry(tmp_path / "registry", "token") as server:
        await server.push("corp/chat", "v3", env=CUDA)
        assert sorted((await asked(server, "corp/chat:v3", MINE)).platforms) == ["amd64"]
        assert sorted((await asked(server, "corp/chat:v3", Login(identity=IDENTITY))).platforms) == ["amd64"]
        with pytest.raises(RegistryDenied, match="gives no token for corp/chat"):
            await asked(server, "corp/chat:v3", Login(USER, "another"))
        with pytest.raises(RegistryDenied):
            await asked(server, "corp/chat:v3")
    assert {query["scope"] for query in server.asked} == {"repository:corp/chat:pull"}


async def test_bytes_that_are_not_what_a_digest_says_are_refused(tmp_path: Path) -> None:
    body = json.dumps({"schemaVersion": 2, "config": {"digest": f"sha256:{'1' * 64}"}}).encode()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        for rest in (f"chat@sha256:{'2' * 64}", "chat:v3"):
            name = image_name(f"localhost:{port}/{rest}")
            assert name is not None
            with pytest.raises(RegistryError, match="other bytes than the digest says"):
                await ask_registry(name, None)
        body = b"[" * 100_000
        with pytest.raises(RegistryError, match="no description of an image"):
            await ask_registry(name, None)
        body = b"x" * ((4 << 20) + 1)
        with pytest.raises(RegistryError, match="more than 4 MiB"):
            await ask_registry(name, None)
    finally:
        await runner.cleanup()
    with pytest.raises(RegistryError, match="is not reached"):
        await ask_registry(name, None)


@pytest.mark.parametrize(
    ("text", "registry_", "repository", "reference"),
    [
        ("ubuntu", "docker.io", "library/ubuntu", "latest"),
        ("corp/chat:v3", "docker.io", "corp/chat", "v3"),
        ("docker.io/corp/chat", "docker.io", "corp/chat", "latest"),
        ("localhost/chat:1", "localhost", "chat", "1"),
        ("nvcr.io/nvidia/pytorch:24.05-py3", "nvcr.io", "nvidia/pytorch", "24.05-py3"),
        ("r.example.net:5000/a/b_c/d-e", "r.example.net:5000", "a/b_c/d-e", "latest"),
        (f"r.io/a:v1@sha256:{'a' * 64}", "r.io", "a", f"sha256:{'a' * 64}"),
    ],
)
def test_a_name_of_an_image_is_read_as_docker_reads_it(text: str, registry_: str, repository: str, reference: str) -> None:
    assert image_name(text) == ImageName(registry_, repository, reference)


@pytest.mark.parametrize(
    "text", ["", "Corp/Chat", "a b", "r.io/", "r.io/a:", "r.io/a@sha256:12", "r.io/a/../b", "-h.io/a", "a:v 1"]
)
def test_what_is_no_name_of_an_image_is_none(text: str) -> None:
    assert image_name(text) is None


@given(st.text(max_size=80))
def test_any_text_is_a_safe_name_or_none(text: str) -> None:
    found = image_name(text)
    assert found is None or not set(found.host + found.repository + found.reference) & set(" /?#%\\\n") - {"/"}


async def test_logins_come_from_dockers_configuration_and_its_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "bin" / "docker-credential-cloud"
    helper.parent.mkdir()
    helper.write_text(
        '#!/bin/sh\nread -r host\ntest "$1" = get || exit 9\ncase "$host" in\n'
        '  h.io) echo \'{"ServerURL": "h.io", "Username": "me", "Secret": "s3cret"}\' ;;\n'
        '  t.io) echo \'{"Username": "<token>", "Secret": "refresh"}\' ;;\n'
        "  none.io) echo 'credentials not found in native keychain'; exit 1 ;;\n"
        "  *) echo 'a s3cret went wrong'; exit 1 ;;\nesac\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "auths": {
                    "https://index.docker.io/v1/": {"auth": "bWU6aHVi"},
                    "https://r.io/v2/": {"auth": "bWU6cHc="},
                    "i.io": {"identitytoken": "id"},
                    "odd.io": {"auth": "!"},
                },
                "credHelpers": dict.fromkeys(("h.io", "t.io", "none.io", "bad.io"), "cloud")
                | {"gone.io": "absent", "evil.io": "../sh"},
            }
        )
    )

    async def of(name: str) -> Login | None:
        return await login_of(name, config, is_given=True)

    assert await of("docker.io") == Login("me", "hub")
    assert await of("r.io") == Login("me", "pw")
    assert await of("i.io") == Login(identity="id")
    assert await of("h.io") == Login("me", "s3cret")
    assert await of("t.io") == Login(identity="refresh")
    assert await of("none.io") is None
    assert await of("else.io") is None
    for name, words in (("bad.io", "gives no login"), ("gone.io", "cannot run"), ("evil.io", "is none"), ("odd.io", "is none")):
        with pytest.raises(LoginUnreadable, match=words) as told:
            await of(name)
        assert "s3cret" not in str(told.value)
    assert "s3cret" not in repr(Login("me", "s3cret", "s3cret"))


async def test_a_configuration_that_the_plan_names_must_be_there_and_dockers_own_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert docker_config(None, Path("/")) == tmp_path / "config.json"
    assert docker_config("mine.json", tmp_path) == tmp_path / "mine.json"
    assert await login_of("r.io", tmp_path / "config.json", is_given=False) is None
    with pytest.raises(LoginUnreadable, match="is not there"):
        await login_of("r.io", tmp_path / "config.json", is_given=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LoginUnreadable, match="cannot be read"):
        await login_of("r.io", tmp_path / "config.json", is_given=False)
