"""Holds a CycloneDX document to the format's own schema, strictly, and to what a schema cannot say: every reference leads somewhere, and
every component is reached from the whole. Prints "name version" of each component."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = open(sys.argv[1], encoding="utf-8").read()
document = json.loads(text)
if error := JsonStrictValidator(SchemaVersion.from_version(document["specVersion"])).validate_str(text):
    sys.exit(f"{sys.argv[1]}: {error}")
whole = document["metadata"]["component"]["bom-ref"]
known = [whole] + [each["bom-ref"] for each in document["components"]]
needs = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
if len(set(known)) != len(known) or set(needs) != set(known):
    sys.exit("components and dependencies do not name the same things, or one twice")
reached, ahead = set(), [whole]
while ahead:
    if (each := ahead.pop()) not in reached:
        reached.add(each)
        ahead += needs[each]
if reached != set(known):
    sys.exit(f"nothing needs {set(known) - reached}")
for each in document["components"]:
    if not each.get("licenses"):
        sys.exit(f"{each['name']} has no licence")
    print(each["name"], each["version"])
