"""The rules a JSON Schema can express, as one: WNM-04 and those of WNM-10 to WNM-69 that count in
lenient mode. Ours, from the table of rules; formats are asserted."""
import jsonschema

from .reader import CORE, UUID, read_time

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
TIME = {"type": "string", "format": "date-time"}
POSITION = {"type": "array", "minItems": 2, "items": NUMBER}                # WNM-17
RING = {"type": "array", "minItems": 4, "items": POSITION}                  # WNM-18


def shape(name, coordinates):
    return {"type": "object", "required": ["type", "coordinates"],
            "properties": {"type": {"const": name}, "coordinates": coordinates}}


def scheme(kind, required, members):
    return {"type": "object", "required": ["type", *required], "additionalProperties": False,
            "properties": {"type": {"const": kind}, "description": TEXT, **members},
            "patternProperties": {"^x-": {}}}


SCHEME = {"oneOf": [                                                        # WNM-69
    {"type": "object", "required": ["$ref"], "properties": {"$ref": TEXT}},
    scheme("apiKey", ["name", "in"], {"name": TEXT, "in": {"enum": ["header", "query", "cookie"]}}),
    {**scheme("http", ["scheme"], {"scheme": TEXT, "bearerFormat": TEXT}),
     "if": {"required": ["bearerFormat"]}, "then": {"properties": {"scheme": {"const": "bearer"}}}},
    scheme("oauth2", ["flows"], {"flows": {"type": "object"}}),
    scheme("openIdConnect", ["openIdConnectUrl"], {"openIdConnectUrl": TEXT}),
]}

PROPERTIES = {
    "type": "object", "required": ["pubtime", "data_id"],                   # WNM-22, 30, 33
    "properties": {
        "pubtime": TIME, "data_id": TEXT,
        "datetime": {"anyOf": [{"type": "null"}, TIME]},                    # WNM-37
        "start_datetime": TIME, "end_datetime": TIME,                       # WNM-38
        "metadata_id": TEXT, "producer": TEXT, "global-cache": TEXT,        # WNM-42, 45, 46
        "cache": {"type": "boolean"},                                       # WNM-48
        "integrity": {                                                      # WNM-49 to 51
            "type": "object", "required": ["method", "value"],
            "properties": {"value": TEXT, "method": {"enum": [
                "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"]}}},
        "content": {                                                        # WNM-53 to 57
            "type": "object", "required": ["encoding", "size", "value"],
            "properties": {"encoding": {"enum": ["utf-8", "base64", "gzip"]},
                           "size": {"type": "integer", "maximum": 4096},
                           "value": {"type": "string", "maxLength": 4096}}},
    },
    "oneOf": [{"required": ["datetime"]},                                   # WNM-35, 36
              {"required": ["start_datetime", "end_datetime"]}],
}

LINK = {
    "type": "object", "required": ["rel", "href"],                          # WNM-61
    "properties": {
        "rel": TEXT, "href": TEXT, "type": TEXT, "hreflang": TEXT, "title": TEXT,
        "length": {"type": "integer"},                                      # WNM-67
        "security": {"type": "object",
                     "patternProperties": {r"^[a-zA-Z0-9.\-_]+\Z": SCHEME}},
    },
}

NOTIFICATION = {
    "type": "object", "required": ["id", "type", "geometry", "properties", "links"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},                         # WNM-11, 12
        "type": {"const": "Feature"},                                       # WNM-10
        "conformsTo": {"type": "array", "contains": {"const": CORE}},       # WNM-14
        "version": {"const": "v04"},                                        # WNM-15
        "geometry": {"anyOf": [{"type": "null"}, shape("Point", POSITION),  # WNM-16
                               shape("Polygon", {"type": "array", "items": RING})]},
        "properties": PROPERTIES,
        "links": {"type": "array", "minItems": 1, "items": LINK},           # WNM-60
    },
    "oneOf": [{"required": ["conformsTo"]}, {"required": ["version"]}],     # WNM-13
}

formats = jsonschema.FormatChecker(formats=())


@formats.checks("uuid")
def is_uuid(value):
    return not isinstance(value, str) or UUID.fullmatch(value) is not None


@formats.checks("date-time")
def is_date_time(value):
    return not isinstance(value, str) or read_time(value) is not None


validator = jsonschema.Draft202012Validator(NOTIFICATION, format_checker=formats)


def is_valid(document):
    return validator.is_valid(document)
