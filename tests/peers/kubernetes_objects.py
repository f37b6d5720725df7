"""Reads Kubernetes objects (YAML) from standard input, holds each to Kubernetes' own schemas, with nothing in it that they do not
know, and prints them as a list in JSON (--only-read: without the schemas). What is of no kind that Kubernetes brings itself is passed on as it is."""

import json
import sys

import yaml


def held_to_schemas(objects):
    # Takes a second to load.
    import kubernetes_validate

    for each in objects:
        name = f"{each['kind']}/{each['metadata']['name']}"
        try:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            # A custom resource: somebody else's schema.
            if "." not in each["apiVersion"].split("/")[0] or each["apiVersion"].split("/")[0].endswith("k8s.io"):
                sys.exit(f"{name}: {each['apiVersion']} is no version that Kubernetes knows")
        except kubernetes_validate.ValidationError as error:
            sys.exit(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")


objects = [each for each in yaml.safe_load_all(sys.stdin) if each]
if "--only-read" not in sys.argv[1:]:
    held_to_schemas(objects)
json.dump(objects, sys.stdout)
