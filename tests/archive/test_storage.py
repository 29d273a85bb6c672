"""The archive on every kind of storage: a folder, S3 (moto, on loopback), another file system of pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import LocalFileSystem, S3FileSystem

from segops.archive.storage import ArchiveError, FolderStorage, ObjectStorage, Storage, open_storage
from segops.archive.verify import verify
from segops.config import load
from segops.core.errors import UserError

from .helpers import Archive, carry_out, event, merge, offsets, write


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Yield the address of an S3 server with the bucket ``archive``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(params=["folder", "objects", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "archive")
    if request.param == "objects":
        files = LocalFileSystem()
        (tmp_path / "bucket").mkdir()
        return ObjectStorage(_WithFolders(files), f"{tmp_path}/bucket")
    request.getfixturevalue("credentials")
    address = request.getfixturevalue("s3")
    files = S3FileSystem(
        endpoint_override=address.partition("//")[2],
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    files.create_dir("archive")
    url = f"s3://archive/{tmp_path.name}/a b"
    return open_storage(load(archive={"url": url, "s3_endpoint": address, "s3_region": "us-east-1"}).archive)


class _WithFolders:
    """A local file system that creates the folders of a file, as object storage needs none."""

    def __init__(self, files: LocalFileSystem) -> None:
        self._files = files

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def open_output_stream(self, path: str) -> object:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return self._files.open_output_stream(path)


def test_files_are_written_read_listed_and_deleted(storage: Storage) -> None:
    assert storage.list("a") == []
    storage.write("a/b/1", b"one")
    storage.write("a/2", b"two")
    storage.write("a/2", b"three")
    storage.write("ab/3", b"")
    assert storage.list("a") == ["a/2", "a/b/1"]
    assert storage.list("") == ["a/2", "a/b/1", "ab/3"]
    assert (storage.read("a/2"), storage.read("ab/3")) == (b"three", b"")
    with storage.open("a/2") as file:
        file.seek(1)
        assert file.read(2) == b"hr"
    storage.delete("a/2")
    storage.delete("a/2")
    assert storage.list("a") == ["a/b/1"]
    for missing in (storage.read, storage.open):
        with pytest.raises(FileNotFoundError):
            missing("a/2")


def test_whole_life_of_an_archive(storage: Storage) -> None:
    archive = Archive(storage)
    owner = archive.owner()
    write(owner, [event(n, f"u{n % 2}") for n in range(10)], [event(n, f"u{n % 2}") for n in range(10, 20)])
    archive.erase("user_id:u1", offset=13)
    following = archive.owner()
    carry_out(following)
    merge(following)
    assert offsets(archive.records()) == [n for n in range(20) if n % 2 == 0 or n > 13]
    assert [(each.problems, each.leftovers) for each in verify(storage)] == [([], 0)]
    assert len(archive.files()) == 1


def test_interrupted_file_does_not_appear(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    with pytest.raises(RuntimeError), storage.create("a/1") as file:
        file.write(b"half")
        raise RuntimeError
    assert storage.list("") == []


@pytest.mark.usefixtures("credentials")
def test_unknown_bucket_is_an_error_that_names_it(s3: str) -> None:
    settings = load(archive={"url": "s3://nowhere/x", "s3_endpoint": s3, "s3_region": "us-east-1"})
    with pytest.raises(ArchiveError, match=r"s3://nowhere/x: .*(NO_SUCH_BUCKET|NoSuchBucket)"):
        open_storage(settings.archive).write("a", b"")


def test_folder_is_the_path_of_the_url(tmp_path: Path) -> None:
    storage = open_storage(load(archive={"url": f"file://{tmp_path}/a%20b"}).archive)
    storage.write("c", b"d")
    assert (tmp_path / "a b" / "c").read_bytes() == b"d"


@pytest.mark.parametrize(
    "url", ["archive", "file://host/x", "file:///", "http://x/y", "s3://", "s3://Bucket/x", "s3://b/x?y=1"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UserError, match="SEGOPS_ARCHIVE_URL: expected file:///folder or s3://bucket/prefix"):
        load(archive={"url": url})


@pytest.mark.parametrize("address", ["http://key:secret@host", "host/path", "ftp://host"])
def test_other_endpoints_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="SEGOPS_ARCHIVE_S3_ENDPOINT: expected host:port"):
        load(archive={"s3_endpoint": address})


def test_missing_url_is_a_user_error() -> None:
    with pytest.raises(UserError, match="no archive: set SEGOPS_ARCHIVE_URL"):
        open_storage(load().archive)
