"""A gRPC client that knows nothing of this API: it learns the messages by reflection.

    grpc_client.py HOST:PORT KEY FOLDER CONNECTION [ROOT CERTIFICATE CERTIFICATE_KEY]

With ROOT it speaks TLS, trusts that authority alone and shows its own certificate.
Makes a collection and a connection to FOLDER, syncs it, watches the sync to its end,
asks the health service, and provokes the five documented errors (the one of a running
sync on CONNECTION). Prints one JSON
document with what it saw; the test that runs it judges.
"""

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

PACKAGE = "tributary.v1"
TIMEOUT = 30


class Client:
    """Calls any method by its name, with JSON-like dictionaries in and out."""

    def __init__(self, channel, pool):
        self.channel = channel
        self.pool = pool

    def _callable(self, name):
        service, method = name.split("/")
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)
        reply = message_factory.GetMessageClass(found.output_type)
        streaming = self.channel.unary_stream if found.server_streaming else self.channel.unary_unary
        call = streaming(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return call, request

    def call(self, name, content, key):
        call, request = self._callable(name)
        metadata = [("authorization", f"Bearer {key}")] if key else []
        message = json_format.ParseDict(content, request(), descriptor_pool=self.pool)
        return call(message, metadata=metadata, timeout=TIMEOUT)

    def unary(self, name, content, key):
        return self.plain(self.call(name, content, key))

    def plain(self, message):
        return json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True, descriptor_pool=self.pool
        )


def error_of(action):
    """Code, ErrorInfo and violations of the error that an action ends in."""
    try:
        result = action()
        # A stream fails when it is read.
        if isinstance(result, grpc.Call):
            list(result)
    except grpc.RpcError as error:
        seen = {"code": error.code().name, "message": error.details(), "violations": []}
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            info = error_details_pb2.ErrorInfo()
            request = error_details_pb2.BadRequest()
            if detail.Unpack(info):
                seen.update(reason=info.reason, domain=info.domain, metadata=dict(info.metadata))
            elif detail.Unpack(request):
                seen["violations"] = [violation.field for violation in request.field_violations]
        return seen
    return {"code": "OK"}


def health(client):
    def check(service):
        return client.unary("grpc.health.v1.Health/Check", {"service": service}, None)["status"]

    listed = client.unary("grpc.health.v1.Health/List", {}, None)["statuses"]
    stream = client.call("grpc.health.v1.Health/Watch", {"service": ""}, None)
    watched = client.plain(next(stream))["status"]
    stream.cancel()
    return {
        "check": check(""),
        "service": check(f"{PACKAGE}.SyncService"),
        "unknown": error_of(lambda: check("no.such.Service"))["code"],
        "list": {name: answer["status"] for name, answer in listed.items()},
        "watch": watched,
    }


def sync(client, key, folder):
    connections = f"{PACKAGE}.SourceConnectionService"
    collection = client.unary(f"{PACKAGE}.CollectionService/CreateCollection", {"name": "Python"}, key)
    collection_id = collection["collection"]["id"]
    created = client.unary(
        f"{connections}/CreateSourceConnection",
        {
            "collectionId": collection_id,
            "sourceShortName": "files",
            "name": "Folder",
            "credentials": {},
            "config": {"path": folder},
        },
        key,
    )["sourceConnection"]
    run = client.unary(f"{connections}/RunSourceConnection", {"id": created["id"]}, key)
    stream = client.call(f"{PACKAGE}.SyncService/WatchSync", {"id": run["syncId"]}, key)
    events = [client.plain(event) for event in stream]
    found = client.unary(
        f"{PACKAGE}.SearchService/Search", {"collectionId": collection_id, "query": "ferry"}, key
    )
    return {
        "collection": collection_id,
        "connection": created,
        "run": run,
        "events": events,
        "ended": stream.code().name,
        "found": found["results"],
    }


def errors(client, key, made):
    connections = f"{PACKAGE}.SourceConnectionService"
    connection = made["connection"]["id"]
    other = client.unary(f"{PACKAGE}.CollectionService/CreateCollection", {"name": "Other"}, key)
    foreign = client.unary(
        f"{PACKAGE}.ApiKeyService/CreateApiKey",
        {"name": "foreign", "role": "ROLE_VIEWER", "collectionIds": [other["collection"]["id"]]},
        key,
    )["secret"]

    def get(identifier, with_key):
        return error_of(lambda: client.unary(f"{connections}/GetSourceConnection", {"id": identifier}, with_key))

    bad = {
        "collectionId": made["collection"],
        "sourceShortName": "postgresql",
        "name": "Database",
        "credentials": {"host": "db.example.com", "port": "x", "extra": 1},
    }
    return {
        "invalid_credentials": error_of(lambda: client.unary(f"{connections}/CreateSourceConnection", bad, key)),
        "unauthorized": get(connection, None),
        "forbidden": get(connection, foreign),
        "not_found": get("sc_doesnotexist", key),
        "sync_in_progress": error_of(
            lambda: client.unary(f"{connections}/RunSourceConnection", {"id": sys.argv[4]}, key)
        ),
    }


def connect(address, files):
    if not files:
        return grpc.insecure_channel(address)
    root, certificate, key = (open(path, "rb").read() for path in files)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(root, key, certificate))


def main():
    address, key, folder = sys.argv[1:4]
    with connect(address, sys.argv[5:8]) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        client = Client(channel, pool)
        sources = client.unary(f"{PACKAGE}.SourceService/ListSources", {}, key)["sources"]
        source = client.unary(f"{PACKAGE}.SourceService/GetSource", {"shortName": "postgresql"}, key)
        made = sync(client, key, folder)
        print(
            json.dumps(
                {
                    "sources": sources,
                    "source": source["source"],
                    "sync": made,
                    "health": health(client),
                    "errors": errors(client, key, made),
                }
            )
        )


if __name__ == "__main__":
    main()
