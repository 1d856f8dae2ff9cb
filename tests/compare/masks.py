"""What must differ between two servers, made alike; and where two answers differ."""

import base64
import json
import re

UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# Revisions in messages, ages in tables.
REVISION = re.compile(r"(?<=resourceVersion: \")\d+|(?<=resourceVersion\\\":\\\")\d+|(?<=resource version: )\d+|(?<=current: )\d+|(?<=resourceVersion: )\d+|(?<=\()\d+ and \d+(?=\))|(?<=in object meta: )\d+|(?<=in record \()\d+(?=\))")
ACCOUNT_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}\b")
PORT = re.compile(r"(?<=192\.0\.2\.1:)\d+")
AGE = re.compile(r"^(\d+[smhd])+$|^<invalid>$")
HEADERS_LEFT_OUT = {"date", "content-length", "transfer-encoding", "connection"}
HEADERS_MASKED = {"audit-id", "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"}


def text(value):
    value = ACCOUNT_VOLUME.sub("kube-api-access-*", value)
    value = PORT.sub("PORT", UID.sub("UID", value))
    value = TIME.sub("TIME", value)
    return REVISION.sub("REVISION", value)


def token(value):
    """A page's token without its revision."""
    try:
        data = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
        return {"v": data["v"], "start": data["start"].lstrip("/")}
    except (ValueError, KeyError):
        return value


def mask(value, key=""):
    if isinstance(value, dict):
        if "generateName" in value and "name" in value:
            value = {**value, "name": value["generateName"] + "*"}
        if value.get("kind") == "ComponentStatusList":
            # They are asked at the same time and told as they answer.
            value = {**value, "items": sorted(value["items"], key=lambda item: item["metadata"]["name"])}
        return {name: mask(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        if key == "paths" and all(isinstance(inner, str) for inner in value):
            return {inner: "listed" for inner in value}
        masked = [mask(inner, key) for inner in value]
        if key == "managedFields":
            # They lie in the order of their times, which one server may have crossed a second between.
            masked.sort(key=lambda entry: [entry.get(name, "") for name in ("operation", "manager", "subresource")])
        if key == "causes" and all(cause.get("reason") == "FieldManagerConflict" for cause in masked):
            # Upstream takes them out of a map of managers.
            masked.sort(key=lambda cause: (cause["field"], cause["message"]))
        return masked
    if key == "resourceVersion" and value not in ("", "0"):
        return "REVISION"
    if key == "continue" and isinstance(value, str):
        return token(value)
    if isinstance(value, str):
        return "AGE" if key == "cells" and AGE.match(value) else text(value)
    return value


def headers(all_headers):
    kept = {}
    for name, value in all_headers:
        name = name.lower()
        if name not in HEADERS_LEFT_OUT:
            kept.setdefault(name, []).append("MASKED" if name in HEADERS_MASKED else text(value))
    return kept


def varint(data, at):
    result = shift = 0
    while True:
        byte = data[at]
        result |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return result, at


def message(data):
    """A protobuf message as a list of fields, without knowing its type; `None` where it is none."""
    fields, at = [], 0
    try:
        while at < len(data):
            tag, at = varint(data, at)
            number, kind = tag >> 3, tag & 7
            if number == 0 or kind not in (0, 1, 2, 5):
                return None
            if kind == 0:
                value, at = varint(data, at)
                # A time of this century.
                value = "TIME" if 1_500_000_000 < value < 4_000_000_000 else value
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                value, at = data[at : at + size].hex(), at + size
            else:
                size, at = varint(data, at)
                if at + size > len(data):
                    return None
                value, at = blob(data[at : at + size]), at + size
            fields.append([number, value])
    except IndexError:
        return None
    return fields


def blob(data):
    inner = message(data) if data else None
    try:
        readable = data.decode()
        if readable.isprintable() or "\n" in readable and not inner:
            # Revisions are the only texts of digits alone; a list may go on from a token.
            return "REVISION" if readable.isdigit() else token(text(readable))
    except UnicodeDecodeError:
        pass
    return inner if inner is not None else data.hex()


def frames(data):
    """A watch in protobuf: four bytes of length, an event with its type and, wrapped twice, its object."""
    events, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        fields = dict(raw_fields(data[at + 4 : at + 4 + size]))
        raw = dict(raw_fields(fields[2]))[1]
        events.append({"type": fields[1].decode(), "object": message(raw[4:]) if raw.startswith(b"k8s\0") else raw.hex()})
        at += 4 + size
    return events


def raw_fields(data):
    """The fields of a message that has nothing but bytes in it."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        size, at = varint(data, at)
        yield tag >> 3, data[at : at + size]
        at += size


def body(content_type, data):
    if "protobuf" in content_type:
        if "stream=watch" in content_type:
            return frames(data)
        return message(data[4:]) if data.startswith(b"k8s\0") else data.hex()
    if content_type.startswith("application/json"):
        # A document, whether indented or not; or a stream of events, one a line.
        for parts in ([data], data.strip().split(b"\n")):
            try:
                read = [mask(json.loads(part)) for part in parts]
                return read if len(read) > 1 else read[0]
            except ValueError:
                continue
    return text(data.decode(errors="replace"))


def differences(ours, theirs, at=""):
    """Paths at which two values differ, each with both sides."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}, key=str):
            missing = "(absent)"
            yield from differences(ours.get(key, missing), theirs.get(key, missing), f"{at}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs)):
            yield from differences(one, other, f"{at}[{index}]")
    elif ours != theirs or type(ours) is not type(theirs):
        yield at, ours, theirs
