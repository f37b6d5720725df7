"""Reads a zip with Python's zipfile, tests it, and prints "SHA-256 name" for each member. Usage: zip_list.py ZIP"""

import hashlib
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as archive:
    damaged = archive.testzip()
    if damaged is not None:
        raise SystemExit(f"{damaged} is damaged")
    for member in archive.infolist():
        with archive.open(member) as content:
            print(hashlib.file_digest(content, "sha256").hexdigest(), member.filename)
