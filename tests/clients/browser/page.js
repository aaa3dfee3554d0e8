// What a browser does with this API: gRPC-Web by generated code, and the event
// stream by fetch. Another origin than the server's, so CORS has to allow it.
import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { BadRequestSchema, ErrorInfoSchema } from "gen/google/rpc/error_details_pb";
import { ApiKeyService } from "gen/tributary/v1/api_key_pb";
import { CollectionService } from "gen/tributary/v1/collection_pb";
import { Access_Role } from "gen/tributary/v1/rest_options_pb";
import { SourceService } from "gen/tributary/v1/source_pb";
import { SourceConnectionService } from "gen/tributary/v1/source_connection_pb";
import { SyncService, WatchSyncResponseSchema } from "gen/tributary/v1/sync_pb";

function client(service, base, key) {
  const authorize = (next) => (request) => {
    if (key) request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  return createClient(service, createGrpcWebTransport({ baseUrl: base, interceptors: [authorize] }));
}

async function errorOf(action) {
  try {
    await action();
    return { code: "OK" };
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const [info] = error.findDetails(ErrorInfoSchema);
    const [request] = error.findDetails(BadRequestSchema);
    return {
      code: Code[error.code],
      message: error.rawMessage,
      reason: info?.reason,
      domain: info?.domain,
      metadata: info?.metadata,
      violations: request?.fieldViolations.map((violation) => violation.field) ?? [],
    };
  }
}

async function sync({ base, key, folder }) {
  const connections = client(SourceConnectionService, base, key);
  const { collection } = await client(CollectionService, base, key).createCollection({ name: "Browser" });
  const { sourceConnection } = await connections.createSourceConnection({
    collectionId: collection.id,
    sourceShortName: "files",
    name: "Folder",
    credentials: {},
    config: { path: folder },
  });
  const { syncId } = await connections.runSourceConnection({ id: sourceConnection.id });
  const events = [];
  for await (const event of client(SyncService, base, key).watchSync({ id: syncId })) {
    events.push(toJson(WatchSyncResponseSchema, event));
  }
  return { collection: collection.id, connection: sourceConnection.id, id: syncId, events };
}

async function errors({ base, key, busy }, made) {
  const get = (id, withKey) =>
    errorOf(() => client(SourceConnectionService, base, withKey).getSourceConnection({ id }));
  const { collection } = await client(CollectionService, base, key).createCollection({ name: "Other" });
  const foreign = await client(ApiKeyService, base, key).createApiKey({
    name: "foreign",
    role: Access_Role.VIEWER,
    collectionIds: [collection.id],
  });
  const connections = client(SourceConnectionService, base, key);
  const bad = {
    collectionId: made.collection,
    sourceShortName: "postgresql",
    name: "Database",
    credentials: { host: "db.example.com", port: "x", extra: 1 },
  };
  return {
    invalid_credentials: await errorOf(() => connections.createSourceConnection(bad)),
    unauthorized: await get(made.connection),
    forbidden: await get(made.connection, foreign.secret),
    not_found: await get("sc_doesnotexist", key),
    sync_in_progress: await errorOf(() => connections.runSourceConnection({ id: busy })),
  };
}

// As EventSource does it: by fetch, since EventSource cannot send a key. Stops
// after `most` events, as a connection that breaks.
async function follow({ base, key }, id, after, most) {
  const headers = { accept: "text/event-stream", authorization: `Bearer ${key}` };
  if (after) headers["last-event-id"] = after;
  const stop = new AbortController();
  const response = await fetch(`${base}/api/v1/syncs/${id}/events`, { headers, signal: stop.signal });
  const seen = {
    status: response.status,
    type: response.headers.get("content-type"),
    requestId: response.headers.get("x-request-id"),
    events: [],
  };
  if (response.status === 204) return seen;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return seen;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
      if (!("data" in fields)) continue;
      seen.events.push({ id: fields.id, event: fields.event, data: JSON.parse(fields.data) });
      if (seen.events.length === most) {
        stop.abort();
        return seen;
      }
    }
  }
}

window.run = async (settings) => {
  const { sources } = await client(SourceService, settings.base, settings.key).listSources({});
  const made = await sync(settings);
  const broken = await follow(settings, made.id, undefined, 1);
  const resumed = await follow(settings, made.id, broken.events.at(-1).id);
  const ended = await follow(settings, made.id, resumed.events.at(-1).id);
  return {
    sources: sources.map((source) => source.shortName),
    sync: made,
    errors: await errors(settings, made),
    stream: { broken, resumed, ended },
  };
};
