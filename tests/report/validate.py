"""validate.py SCHEMA FILE...: hold JSON files against a schema. Status 1 and what is wrong, 77 without the module
jsonschema."""
import json
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit(77)


def refuse(constant):
    sys.exit("not JSON: " + constant)


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
errors = []
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        report = json.load(file, parse_constant=refuse)
    errors += [(path, list(e.path), e.message[:200]) for e in Draft202012Validator(schema).iter_errors(report)]
for error in errors[:5]:
    print(*error)
sys.exit(len(errors) > 0)
