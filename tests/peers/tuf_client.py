"""An independent TUF client (python-tuf 7): refreshes from a server and downloads every target of the newest release.

Usage: tuf_client.py BASE_URL ROOT_JSON DIRECTORY
BASE_URL is .../repo or .../offline; what DIRECTORY holds of an earlier run is gone on from. Prints one line per target: its SHA-256, length and path.
"""

import hashlib
import json
import pathlib
import sys

from tuf.ngclient import Updater


def main() -> None:
    base, root, directory = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    metadata, targets = directory / "metadata", directory / "targets"
    metadata.mkdir(parents=True, exist_ok=True)
    targets.mkdir(exist_ok=True)
    updater = Updater(
        metadata_dir=str(metadata),
        metadata_base_url=f"{base}/metadata/",
        target_dir=str(targets),
        target_base_url=f"{base}/targets/",
        bootstrap=root.read_bytes(),
    )
    updater.refresh()

    def download(path: str) -> bytes:
        info = updater.get_targetinfo(path)
        if info is None:
            raise SystemExit(f"{path} is not among the signed targets")
        content = pathlib.Path(updater.download_target(info)).read_bytes()
        print(hashlib.sha256(content).hexdigest(), len(content), path)
        return content

    manifest = json.loads(download("stable.json"))
    by_serial = json.loads(download(f"release-{manifest['serial']}.json"))
    if by_serial != manifest:
        raise SystemExit("stable.json and the newest release's manifest differ")
    files = [file[kind] for component in manifest["components"] for file in component["files"] for kind in ("archive", "payload")]
    files += [manifest[key] for key in ("index", "offline_zip") if key in manifest]
    for file in files:
        content = download(f"{file['sha256'][:16]}-{file['name']}")
        if hashlib.sha256(content).hexdigest() != file["sha256"] or len(content) != file["length"]:
            raise SystemExit(f"{file['name']}: the manifest and the signed target differ")


main()
