"""Repositories of every kind that TUF allows or forbids, made and served with python-tuf 7, for two clients to judge: the program under
test, by the command protocol of the TUF conformance suite, and python-tuf's own. They have to come to the same verdict.

Usage: tuf_cases.py PROGRAM
Prints "ok NAME" or "FAILED NAME: why" for each case, then their number; exits with 1 where one failed.
"""

import copy
import datetime
import hashlib
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import traceback
import urllib.parse

from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole, Delegations, Key, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
)
from tuf.ngclient import Updater

PROGRAM = sys.argv[1]
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
LATER, EARLIER = NOW + datetime.timedelta(days=30), NOW - datetime.timedelta(days=1)
TOP = ["root", "targets", "snapshot", "timestamp"]
SERVED: dict[str, "Repo"] = {}
CASES = []


class Repo:
    """What a server has: signed files by path. Everything can be changed before `publish` signs it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.signed = {
            "root": Root(expires=LATER), "targets": Targets(expires=LATER),
            "snapshot": Snapshot(expires=LATER), "timestamp": Timestamp(expires=LATER),
        }
        self.hashes = False
        self.published: set[str] = set()
        self.root_signers: dict[str, CryptoSigner] = {}
        for role in TOP:
            self.add_key(role)
        self.publish(*TOP)
        self.trusted_root = self.files["metadata/1.root.json"]

    def add_key(self, role: str, signer: CryptoSigner | None = None, delegator: str = "root") -> CryptoSigner:
        signer = signer or CryptoSigner.generate_ed25519()
        self.signed[delegator].add_key(signer.public_key, role)
        self.signers.setdefault(role, []).append(signer)
        if role == "root":
            self.root_signers[signer.public_key.keyid] = signer
        return signer

    def revoke(self, role: str) -> None:
        for signer in self.signers.pop(role):
            self.signed["root"].revoke_key(signer.public_key.keyid, role)

    def rotate(self, *roles: str) -> None:
        for role in roles:
            self.revoke(role)
            self.add_key(role)

    def sign(self, role: str, signers: list[CryptoSigner] | None = None) -> bytes:
        metadata = Metadata(copy.deepcopy(self.signed[role]))
        for signer in self.signers[role] if signers is None else signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def put(self, role: str, data: bytes, version: int | None = None) -> None:
        version = version or self.signed[role].version
        consistent = self.signed["root"].consistent_snapshot is not False
        prefix = f"{version}." if role == "root" or (consistent and role != "timestamp") else ""
        self.files[f"metadata/{prefix}{urllib.parse.quote(role, '')}.json"] = data

    def meta(self, role: str, data: bytes) -> MetaFile:
        if not self.hashes:
            return MetaFile(self.signed[role].version)
        return MetaFile(self.signed[role].version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def publish(self, *roles: str, bump: bool = True) -> None:
        """Signs these in this order, each as a new version where it was published before."""
        for role in roles:
            if role in self.published and bump:
                self.signed[role].version += 1
            self.published.add(role)
            data = self.sign(role)
            self.put(role, data)
            if role == "snapshot":
                self.signed["timestamp"].snapshot_meta = self.meta(role, data)
            elif role not in ("root", "timestamp"):
                self.signed["snapshot"].meta[f"{role}.json"] = self.meta(role, data)

    def publish_root(self, signers: list[CryptoSigner] | None = None) -> None:
        """The next root, signed by its own keys and by those of the one before."""
        before = Metadata.from_bytes(self.files[f"metadata/{self.signed['root'].version}.root.json"]).signed
        self.signed["root"].version += 1
        ids = dict.fromkeys([*before.roles["root"].keyids, *self.signed["root"].roles["root"].keyids])
        self.put("root", self.sign("root", signers or [self.root_signers[keyid] for keyid in ids]))

    def release(self, *delegated: str) -> None:
        self.publish(*delegated, "targets", "snapshot", "timestamp")

    def add_target(self, path: str, content: bytes, role: str = "targets", kinds: tuple[str, ...] = ("sha256",)) -> TargetFile:
        file = TargetFile.from_data(path, content, list(kinds))
        self.signed[role].targets[path] = file
        directory, slash, name = path.rpartition("/")
        for digest in file.hashes.values():
            self.files[f"targets/{directory}{slash}{digest}.{name}"] = content
        self.files[f"targets/{path}"] = content
        return file

    def delegate(self, name: str, delegator: str = "targets", *, paths=("*",), prefixes=None, terminating=False) -> None:
        parent = self.signed[delegator]
        if parent.delegations is None:
            parent.delegations = Delegations({}, {})
        role = DelegatedRole(name, [], 1, terminating, None if prefixes else list(paths), prefixes)
        parent.delegations.roles[name] = role
        if name in self.signed:
            parent.add_key(self.signers[name][0].public_key, name)
        else:
            self.signed[name] = Targets(expires=LATER)
            self.add_key(name, delegator=delegator)

    def fetch(self, path: str) -> bytes | None:
        self.asked.append(path)
        return self.files.get(path)

    def new_asked(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        name, _, path = self.path.lstrip("/").partition("/")
        # Role names are one part of a path whatever is in them; targets' paths are more.
        kind, _, file = path.partition("/")
        data = SERVED[name].fetch(f"{kind}/{file if kind == 'metadata' else urllib.parse.unquote(file)}")
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """Clients hang up on what is too long."""


class Ours:
    """The program, by the conformance suite's protocol."""

    def __init__(self, repo: Repo, directory: pathlib.Path, url: str) -> None:
        self.metadata, self.targets = directory / "metadata", directory / "targets"
        self.metadata.mkdir(parents=True), self.targets.mkdir()
        self.url, root = url, directory / "root.json"
        root.write_bytes(repo.trusted_root)
        self.ok = self.run("init", root) == 0

    def run(self, *arguments: object) -> int:
        command = [PROGRAM, "--metadata-dir", self.metadata, *arguments]
        done = subprocess.run([str(part) for part in command], capture_output=True, timeout=120, check=False)
        self.said = done.stderr.decode()
        if done.returncode not in (0, 1):
            raise RuntimeError(f"exit code {done.returncode}: {self.said}")
        return done.returncode

    def refresh(self) -> bool:
        return self.run("--metadata-url", f"{self.url}/metadata/", "refresh") == 0

    def download(self, *paths: str) -> bool:
        names = [part for path in paths for part in ("--target-name", path)]
        base = ["--metadata-url", f"{self.url}/metadata/", "--target-base-url", f"{self.url}/targets/"]
        return self.run(*base, *names, "--target-dir", self.targets, "download") == 0

    def versions(self) -> dict[str, int]:
        files = {path.stem: path for path in self.metadata.glob("*.json")}
        return {name: json.loads(path.read_text())["signed"]["version"] for name, path in files.items()}


class Python:
    """python-tuf's own client."""

    def __init__(self, repo: Repo, directory: pathlib.Path, url: str) -> None:
        self.metadata, self.targets = directory / "metadata", directory / "targets"
        self.metadata.mkdir(parents=True), self.targets.mkdir()
        self.url, self.root, self.ok, self.said = url, repo.trusted_root, True, ""

    def updater(self) -> Updater:
        return Updater(str(self.metadata), f"{self.url}/metadata/", str(self.targets), f"{self.url}/targets/", bootstrap=self.root)

    def attempt(self, act) -> bool:
        try:
            return act(self.updater()) is not False
        except Exception as error:  # Whatever it refuses with.
            self.said = repr(error)
            return False

    def refresh(self) -> bool:
        return self.attempt(lambda updater: updater.refresh())

    def download(self, *paths: str) -> bool:
        def act(updater: Updater) -> bool:
            for path in paths:
                info = updater.get_targetinfo(path)
                if info is None:
                    return False
                target = self.targets / hashlib.sha256(path.encode()).hexdigest()
                updater.find_cached_target(info, str(target)) or updater.download_target(info, str(target))
            return True
        return self.attempt(act)

    def versions(self) -> dict[str, int]:
        files = {path.stem: path for path in self.metadata.glob("*.json")}
        return {name: json.loads(path.read_text())["signed"]["version"] for name, path in files.items()}


class Both:
    """Both clients, told the same; what they come to has to be what is expected."""

    def __init__(self, repo: Repo, directory: pathlib.Path, url: str) -> None:
        self.repo = repo
        self.clients = [kind(repo, directory / kind.__name__, url) for kind in (Ours, Python)]
        assert all(client.ok for client in self.clients)
        self.asked: list[list[str]] = []

    def each(self, act, expected: bool, what: str) -> None:
        self.asked = []
        for client in self.clients:
            self.repo.new_asked()
            got = act(client)
            self.asked.append(self.repo.new_asked())
            if got != expected:
                raise AssertionError(f"{type(client).__name__}: {what} {'succeeded' if got else 'failed'}: {client.said}")

    def takes(self, **versions: int) -> None:
        self.each(lambda client: client.refresh(), True, "refresh")
        self.holds(**versions)

    def refuses(self, **versions: int) -> None:
        self.each(lambda client: client.refresh(), False, "refresh")
        self.holds(**versions)

    def downloads(self, *paths: str, content: bytes | None = None) -> None:
        self.each(lambda client: client.download(*paths), True, f"download of {paths}")
        for client in self.clients:
            found = (client.targets / hashlib.sha256(paths[-1].encode()).hexdigest()).read_bytes()
            assert content is None or found == content, (type(client).__name__, found)

    def does_not_download(self, *paths: str) -> None:
        before = [sorted(path.read_bytes() for path in client.targets.iterdir()) for client in self.clients]
        self.each(lambda client: client.download(*paths), False, f"download of {paths}")
        after = [sorted(path.read_bytes() for path in client.targets.iterdir()) for client in self.clients]
        assert before == after, "something was kept of it"

    def holds(self, **versions: int) -> None:
        for client in self.clients:
            found = client.versions()
            for role, version in versions.items():
                assert found.get(role, 0) == version, f"{type(client).__name__} holds {role} {found.get(role)}, not {version}: {client.said}"

    def asked_roles(self) -> None:
        """Both asked for the same delegated roles, in the same order."""
        def delegated(asked: list[str]) -> list[str]:
            names = [path.rsplit("/")[-1].removesuffix(".json") for path in asked if path.startswith("metadata/")]
            return [name for name in names if not name.split(".")[-1] in TOP]
        ours, python = map(delegated, self.asked)
        assert ours == python, f"asked for {ours}, and python-tuf for {python}"


def case(*parameters: object):
    def add(function):
        for parameter in parameters or [None]:
            name = function.__name__ if parameter is None else f"{function.__name__}[{str(parameter)[:20]}]"
            CASES.append((name, function, parameter))
        return function
    return add


# Roots.

@case()
def the_first_refresh(repo: Repo, both: Both, _: None) -> None:
    both.takes(root=1, timestamp=1, snapshot=1, targets=1)
    both.takes()
    assert both.asked[0] == ["metadata/2.root.json", "metadata/timestamp.json"], both.asked[0]


@case(1, 2, 7)
def a_chain_of_roots(repo: Repo, both: Both, length: int) -> None:
    for _ in range(length):
        repo.rotate("root")
        repo.signers["root"] = [*repo.signers["root"]]
        old = getattr(repo, "last_root", None)
        del old
        repo.publish_root()
    both.takes(root=1 + length)


@case()
def a_root_that_the_one_before_did_not_sign(repo: Repo, both: Both, _: None) -> None:
    both.takes()
    repo.rotate("root")
    repo.publish_root(repo.signers["root"])
    both.refuses(root=1)


@case()
def a_root_that_its_own_keys_did_not_sign(repo: Repo, both: Both, _: None) -> None:
    old = repo.signers["root"]
    repo.rotate("root")
    repo.publish_root(old)
    both.refuses(root=1)


@case(1, 3)
def a_root_of_another_version_than_its_name(repo: Repo, both: Both, version: int) -> None:
    repo.signed["root"].version = version
    repo.put("root", repo.sign("root"), version=2)
    both.refuses(root=1)


@case()
def an_expired_root_in_between(repo: Repo, both: Both, _: None) -> None:
    repo.signed["root"].expires = EARLIER
    repo.publish_root()
    repo.signed["root"].expires = LATER
    repo.publish_root()
    both.takes(root=3)


@case()
def an_expired_last_root(repo: Repo, both: Both, _: None) -> None:
    repo.signed["root"].expires = EARLIER
    repo.publish_root()
    both.refuses(timestamp=0)


@case()
def a_root_threshold_that_rises(repo: Repo, both: Both, _: None) -> None:
    repo.add_key("root")
    repo.signed["root"].roles["root"].threshold = 2
    repo.publish_root()
    both.takes(root=2)
    repo.publish_root(repo.signers["root"][:1])
    both.refuses(root=2)


@case()
def a_root_that_says_nothing_of_consistent_snapshots(repo: Repo, both: Both, _: None) -> None:
    repo.signed["root"].consistent_snapshot = None
    repo.publish_root()
    # Nobody says what such a repository's files are called; python-tuf takes it for one without prefixes.
    for role in ("snapshot", "targets"):
        repo.files[f"metadata/{role}.json"] = repo.files[f"metadata/1.{role}.json"]
    both.takes(root=2)


@case()
def without_consistent_snapshots(repo: Repo, both: Both, _: None) -> None:
    repo.signed["root"].consistent_snapshot = False
    repo.publish_root()
    file = repo.add_target("a file", b"content")
    repo.release()
    del repo.files[f"targets/{file.hashes['sha256']}.a file"]
    both.downloads("a file", content=b"content")


# Signatures.

@case("timestamp", "snapshot", "targets")
def signed_by_a_strangers_key(repo: Repo, both: Both, role: str) -> None:
    both.takes()
    repo.signers[role] = [CryptoSigner.generate_ed25519()]
    repo.release()
    kept = {"timestamp": (1, 1, 1), "snapshot": (2, 1, 1), "targets": (2, 2, 1)}[role]
    both.refuses(timestamp=kept[0], snapshot=kept[1], targets=kept[2])


@case("timestamp", "snapshot", "targets")
def signed_by_nobody(repo: Repo, both: Both, role: str) -> None:
    repo.signers[role] = []
    repo.release()
    both.refuses(targets=0)


@case("timestamp", "snapshot", "targets")
def signed_by_another_roles_key(repo: Repo, both: Both, role: str) -> None:
    repo.signers[role] = repo.signers["root"]
    repo.release()
    both.refuses(targets=0)


@case("timestamp", "snapshot", "targets")
def under_a_strangers_signature_with_the_right_key_id(repo: Repo, both: Both, role: str) -> None:
    stranger = CryptoSigner.generate_ed25519()
    stranger.public_key.keyid = repo.signers[role][0].public_key.keyid
    repo.signers[role] = [stranger]
    repo.release()
    both.refuses(targets=0)


@case(1, 2, 3)
def thresholds(repo: Repo, both: Both, signatures: int) -> None:
    repo.add_key("timestamp"), repo.add_key("timestamp")
    repo.signed["root"].roles["timestamp"].threshold = 2
    repo.publish_root()
    repo.signers["timestamp"] = repo.signers["timestamp"][:signatures]
    repo.release()
    both.takes(timestamp=2) if signatures >= 2 else both.refuses(timestamp=0)


@case()
def one_key_that_signs_twice(repo: Repo, both: Both, _: None) -> None:
    repo.add_key("timestamp")
    repo.signed["root"].roles["timestamp"].threshold = 2
    repo.publish_root()
    repo.signers["timestamp"] = repo.signers["timestamp"][:1]
    repo.release()
    signed = json.loads(repo.files["metadata/timestamp.json"])
    signed["signatures"] *= 2
    repo.files["metadata/timestamp.json"] = json.dumps(signed).encode()
    both.refuses(timestamp=0)


@case()
def a_signature_of_an_unknown_key_beside_the_right_one(repo: Repo, both: Both, _: None) -> None:
    repo.signers["timestamp"].append(CryptoSigner.generate_ed25519())
    repo.release()
    both.takes(timestamp=2)


@case("", "zz", "00")
def a_broken_signature_beside_enough(repo: Repo, both: Both, sig: str) -> None:
    second = repo.add_key("timestamp")
    repo.publish_root()
    repo.release()
    signed = json.loads(repo.files["metadata/timestamp.json"])
    for signature in signed["signatures"]:
        if signature["keyid"] == second.public_key.keyid:
            signature["sig"] = sig
    repo.files["metadata/timestamp.json"] = json.dumps(signed).encode()
    both.takes(timestamp=2)


@case("ed25519", "rsa", "ecdsa")
def kinds_of_keys(repo: Repo, both: Both, kind: str) -> None:
    for role in TOP:
        repo.revoke(role)
        repo.add_key(role, getattr(CryptoSigner, f"generate_{kind}")())
    repo.publish_root()
    repo.release()
    both.takes(root=2, targets=2)


@case("ecdsa-sha2-nistp256")
def an_old_name_of_a_kind_of_key(repo: Repo, both: Both, keytype: str) -> None:
    signer = CryptoSigner.generate_ecdsa()
    signer.public_key.keytype = keytype
    repo.revoke("timestamp")
    repo.add_key("timestamp", signer)
    repo.publish_root()
    repo.release()
    both.takes(timestamp=2)


@case(True, False)
def a_kind_of_key_that_nobody_knows(repo: Repo, both: Both, beside: bool) -> None:
    if not beside:
        repo.revoke("timestamp")
        repo.signers["timestamp"] = []
    unknown = SSlibKey("f" * 64, "xyz", "xyz-2099", {"public": "ab" * 32})
    repo.signed["root"].add_key(unknown, "timestamp")
    repo.publish_root()
    repo.release()
    signed = json.loads(repo.files["metadata/timestamp.json"])
    signed["signatures"].append({"keyid": unknown.keyid, "sig": "ab" * 64})
    repo.files["metadata/timestamp.json"] = json.dumps(signed).encode()
    # python-tuf refuses the whole root; TUF wants such keys to be passed over.
    if beside:
        both.clients = both.clients[:1]
    both.takes(timestamp=2) if beside else both.refuses(timestamp=0)


@case("any text", "é", "0" * 200)
def key_ids_that_are_no_digest(repo: Repo, both: Both, keyid: str) -> None:
    repo.revoke("timestamp")
    signer = CryptoSigner.generate_ed25519()
    signer.public_key.keyid = keyid
    repo.add_key("timestamp", signer)
    repo.publish_root()
    repo.release()
    both.takes(timestamp=2)


# Versions, expiry, and what names what.

@case("timestamp", "snapshot", "targets")
def an_older_version(repo: Repo, both: Both, role: str) -> None:
    repo.release()
    both.takes(timestamp=2, snapshot=2, targets=2)
    repo.signed[role].version = 0
    repo.release() if role != "timestamp" else repo.publish("timestamp")
    both.refuses(snapshot=2, targets=2)


@case()
def a_timestamp_of_the_same_version(repo: Repo, both: Both, _: None) -> None:
    both.takes(timestamp=1)
    repo.signed["timestamp"].expires = LATER + datetime.timedelta(days=1)
    repo.put("timestamp", repo.sign("timestamp"))
    both.takes(timestamp=1)
    held = [json.loads((client.metadata / "timestamp.json").read_text())["signed"]["expires"] for client in both.clients]
    assert all(expires.startswith(LATER.date().isoformat()) for expires in held), held


@case("timestamp", "snapshot", "targets")
def expired(repo: Repo, both: Both, role: str) -> None:
    both.takes()
    repo.signed[role].expires = EARLIER
    repo.release()
    both.refuses(**{role: 1})
    repo.signed[role].expires = LATER
    repo.release()
    both.takes(timestamp=3, snapshot=3, targets=3)


@case("snapshot", "targets")
def another_version_than_is_named(repo: Repo, both: Both, role: str) -> None:
    repo.release()
    repo.signed[role].version += 1
    repo.put(role, repo.sign(role), version=2)
    both.refuses(**{role: 0})


@case("snapshot", "targets")
def not_there(repo: Repo, both: Both, role: str) -> None:
    both.takes()
    repo.release()
    del repo.files[f"metadata/2.{role}.json"]
    both.refuses(timestamp=2, targets=1)


@case(True, False)
def digests_of_metadata(repo: Repo, both: Both, right: bool) -> None:
    repo.hashes = True
    repo.release()
    if not right:
        repo.files["metadata/2.snapshot.json"] += b" "
    both.takes(snapshot=2) if right else both.refuses(snapshot=0)


@case("targets.json")
def a_snapshot_that_forgets(repo: Repo, both: Both, name: str) -> None:
    both.takes()
    repo.release()
    del repo.signed["snapshot"].meta[name]
    repo.publish("snapshot", "timestamp")
    both.refuses(snapshot=1, targets=1)


@case(("timestamp",), ("timestamp", "snapshot"))
def recovery_from_versions_that_ran_ahead(repo: Repo, both: Both, roles: tuple[str, ...]) -> None:
    for role in roles:
        repo.signed[role].version = 4_000_000_000
    repo.publish("snapshot", "timestamp", bump=False)
    both.takes(timestamp=4_000_000_000)
    repo.rotate(*roles)
    for role in roles:
        repo.signed[role].version = 1
    repo.publish_root()
    repo.publish("snapshot", "timestamp", bump=False)
    both.takes(root=2, **dict.fromkeys(roles, 1))


@case()
def recovery_from_targets_that_ran_ahead(repo: Repo, both: Both, _: None) -> None:
    repo.signed["targets"].version = 4_000_000_000
    repo.release()
    both.takes(targets=4_000_000_001)
    repo.rotate("snapshot")
    repo.signed["targets"].version = 1
    repo.publish_root()
    repo.release()
    both.takes(targets=2)


# What metadata looks like.

@case("timestamp", "snapshot", "targets")
def of_another_type(repo: Repo, both: Both, role: str) -> None:
    repo.release()
    name = "metadata/timestamp.json" if role == "timestamp" else f"metadata/2.{role}.json"
    signed = json.loads(repo.files[name])["signed"]
    signed["_type"] = "mirrors"
    repo.files[name] = resigned(repo, role, signed)
    both.refuses(**{role: 0})


def resigned(repo: Repo, role: str, signed: dict) -> bytes:
    canonical = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signatures = [signer.sign(canonical).to_dict() for signer in repo.signers[role]]
    return json.dumps({"signatures": signatures, "signed": signed}).encode()


@case("timestamp", "snapshot", "targets")
def with_fields_that_nobody_knows(repo: Repo, both: Both, role: str) -> None:
    repo.signed[role].unrecognized_fields["x-new"] = {"a": [1, "ü", None, True]}
    repo.release()
    both.takes(targets=2)


@case(b"", b"{", b"[]", b"null", b"<html>", b'{"signed":{}}', b"\xff\xfe")
def no_metadata_at_all(repo: Repo, both: Both, data: bytes) -> None:
    both.takes()
    repo.files["metadata/timestamp.json"] = data
    both.refuses(timestamp=1)


@case("timestamp", "snapshot", "root")
def longer_than_any_metadata(repo: Repo, both: Both, role: str) -> None:
    repo.signed[role].unrecognized_fields["x-padding"] = "x" * 6_000_000
    repo.publish_root() if role == "root" else repo.release()
    both.refuses(**{role: 1 if role == "root" else 0})


# Targets.

@case("file", "a/path/to a file", "ümläut", "100%25", "50%", "a?b#c", "a&b=c+d")
def names_of_targets(repo: Repo, both: Both, path: str) -> None:
    repo.add_target(path, b"content")
    repo.release()
    # python-tuf puts paths into URLs as they are, and so does not find those that mean something there.
    if set(path) & set("%?#"):
        both.clients = both.clients[:1]
    both.downloads(path, content=b"content")


@case(("sha256",), ("sha512",), ("sha256", "sha512"))
def kinds_of_digests(repo: Repo, both: Both, kinds: tuple[str, ...]) -> None:
    repo.add_target("file", b"content", kinds=kinds)
    repo.release()
    both.downloads("file", content=b"content")


@case()
def a_kind_of_digest_that_nobody_knows(repo: Repo, both: Both, _: None) -> None:
    file = repo.add_target("file", b"content")
    file.hashes = {"unknown": file.hashes["sha256"]}
    repo.release()
    both.does_not_download("file")


@case(b"other!!", b"content and more", b"cont", b"")
def other_bytes(repo: Repo, both: Both, content: bytes) -> None:
    repo.add_target("file", b"content")
    repo.add_target("other", b"the other")
    repo.release()
    both.downloads("other", content=b"the other")
    for path in [path for path in repo.files if path.startswith("targets/") and path.endswith("file")]:
        repo.files[path] = content
    both.does_not_download("file")
    both.does_not_download("not there")


@case()
def a_target_that_is_here_already(repo: Repo, both: Both, _: None) -> None:
    repo.add_target("file", b"content")
    repo.release()
    both.downloads("file", content=b"content")
    both.downloads("file", content=b"content")
    assert not [path for asked in both.asked for path in asked if path.startswith("targets/")], both.asked
    repo.add_target("file", b"new content")
    repo.release()
    both.downloads("file", content=b"new content")


@case()
def several_at_once(repo: Repo, both: Both, _: None) -> None:
    repo.add_target("one", b"1"), repo.add_target("two", b"2")
    repo.release()
    both.downloads("one", "two", content=b"2")


# Delegations.

@case()
def a_delegation(repo: Repo, both: Both, _: None) -> None:
    repo.delegate("role", paths=["dir/*"])
    repo.add_target("dir/file", b"content", "role"), repo.add_target("file", b"outside", "role")
    repo.release("role")
    both.downloads("dir/file", content=b"content")
    both.does_not_download("file")
    both.does_not_download("dir/sub/file")


@case(True, False)
def delegations_by_prefixes_of_digests(repo: Repo, both: Both, matches: bool) -> None:
    digest = hashlib.sha256(b"file").hexdigest()
    prefix = digest[:2] if matches else format((int(digest[:2], 16) + 1) % 256, "02x")
    repo.delegate("role", prefixes=[prefix])
    repo.add_target("file", b"content", "role")
    repo.release("role")
    both.downloads("file", content=b"content") if matches else both.does_not_download("file")


@case(True, False)
def what_comes_after_one_that_terminates(repo: Repo, both: Both, terminating: bool) -> None:
    repo.delegate("first", terminating=terminating)
    repo.delegate("second")
    repo.add_target("file", b"content", "second")
    repo.release("first", "second")
    both.does_not_download("file") if terminating else both.downloads("file", content=b"content")
    both.asked_roles()


@case()
def depth_first_and_in_order(repo: Repo, both: Both, _: None) -> None:
    for name, delegator in [("A", "targets"), ("B", "targets"), ("C", "A"), ("D", "A"), ("E", "C")]:
        repo.delegate(name, delegator)
    repo.release("E", "D", "C", "B", "A")
    both.does_not_download("file")
    both.asked_roles()
    assert [path for path in both.asked[0] if path.startswith("metadata/1.") and not path.endswith(("snapshot.json", "targets.json"))] \
        == [f"metadata/1.{name}.json" for name in "ACEDB"], both.asked[0]


@case()
def a_circle(repo: Repo, both: Both, _: None) -> None:
    repo.delegate("A"), repo.delegate("B", "A"), repo.delegate("A", "B")
    repo.release("A", "B")
    both.does_not_download("file")
    both.asked_roles()


@case()
def a_longer_way_than_anybody_goes(repo: Repo, both: Both, _: None) -> None:
    names = ["targets", *(f"r{number}" for number in range(40))]
    for delegator, name in zip(names, names[1:]):
        repo.delegate(name, delegator)
    repo.add_target("file", b"content", names[-1])
    repo.release(*reversed(names[1:]))
    both.does_not_download("file")


@case("signature", "expiry", "version", "absence")
def a_delegated_role_that_is_no_good(repo: Repo, both: Both, why: str) -> None:
    repo.delegate("role")
    repo.add_target("file", b"content", "role")
    if why == "signature":
        repo.signers["role"] = [CryptoSigner.generate_ed25519()]
    if why == "expiry":
        repo.signed["role"].expires = EARLIER
    repo.release("role")
    if why == "version":
        repo.signed["role"].version += 1
        repo.put("role", repo.sign("role"), version=1)
    if why == "absence":
        del repo.files["metadata/1.role.json"]
    both.does_not_download("file")


@case("?", "#", "/role", "../role", "a b", "ü", "%2e", "x" * 80)
def names_of_roles(repo: Repo, both: Both, name: str) -> None:
    repo.delegate(name)
    repo.add_target("file", b"content", name)
    repo.release(name)
    both.downloads("file", content=b"content")
    both.asked_roles()
    outside = [path for path in both.clients[0].metadata.parent.parent.rglob("*.json") if "role" in path.name and path.parent.name != "metadata"]
    assert not outside, outside


def main() -> None:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        for number, (name, function, parameter) in enumerate(CASES):
            try:
                repo = SERVED[str(number)] = Repo(str(number))
                url = f"http://127.0.0.1:{server.server_address[1]}/{number}"
                function(repo, Both(repo, pathlib.Path(directory) / str(number), url), parameter)
                print(f"ok {name}", flush=True)
            except Exception as error:  # Whatever it is, the other cases are asked too.
                failed += 1
                where = traceback.extract_tb(error.__traceback__)[1 if len(traceback.extract_tb(error.__traceback__)) > 1 else 0]
                print(f"FAILED {name}: {error!r} (line {where.lineno})", flush=True)
    print(f"{len(CASES)} cases, {failed} failed")
    sys.exit(1 if failed else 0)


main()
