// The same service as its peers write it, over better-sqlite3: what apollo.mjs and yoga.mjs have in common.
// It does the work that is compared and no more: bearer tokens looked up, files hashed and kept, rows read.
import Database from "better-sqlite3";
import cluster from "node:cluster";
import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GraphQLScalarType } from "graphql";

export const typeDefs = `#graphql
  scalar Upload
  scalar JSON
  scalar BigInt
  type File {
    id: ID! name: String! title: String description: String tags: [String!]! metadata: JSON! profile: String!
    kind: String! contentType: String! size: BigInt! md5: String! sha256: String! visibility: String!
    createdAt: String!
  }
  type FileEdge { cursor: String! node: File! }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type FileConnection { edges: [FileEdge!]! pageInfo: PageInfo! }
  type Query { files(first: Int = 50, after: String): FileConnection! }
  input UploadFileInput { file: Upload! }
  type Mutation { uploadFile(input: UploadFileInput!): File! }
`;

// Two processes, each of which runs serve(port, database, folder): node SERVER PORT DATABASE FOLDER
export async function run(serve) {
  const [port, database, folder] = process.argv.slice(2);
  if (!cluster.isPrimary) return serve(Number(port), new Database(database, { timeout: 5000 }), folder);
  await mkdir(folder, { recursive: true });
  for (let number = 0; number < 2; number++) cluster.fork();
}

// viewerOf(authorization): whose token that is.
export function authentication(db) {
  const byToken = db.prepare(
    "SELECT u.id, u.is_staff FROM accounts_apitoken t JOIN accounts_user u ON u.id = t.user_id WHERE t.digest = ?",
  );
  return (authorization) => {
    const secret = (authorization ?? "").replace("Bearer ", "");
    const viewer = byToken.get(createHash("sha256").update(secret).digest("hex"));
    if (!viewer) throw new Error("unknown token");
    return viewer;
  };
}

// open(upload): the name and the stream of what came in, which each server hands over in a way of its own.
export function resolvers(db, folder, open) {
  db.pragma("synchronous = FULL");
  const visible = "(owner_id = @viewer OR visibility = 'public')";
  const first = db.prepare(
    `SELECT * FROM files_file WHERE ${visible} ORDER BY created_at DESC, id DESC LIMIT @limit`,
  );
  const after = db.prepare(
    `SELECT * FROM files_file WHERE ${visible} AND (created_at, id) < (@created, @id) ORDER BY created_at DESC, id DESC LIMIT @limit`,
  );
  const insert = inserter(db);

  return {
    JSON: new GraphQLScalarType({ name: "JSON" }),
    BigInt: new GraphQLScalarType({ name: "BigInt" }),
    Query: {
      files(_, { first: limit, after: cursor }, { viewer }) {
        const position = cursor ? JSON.parse(Buffer.from(cursor, "base64url")) : null;
        const rows = position
          ? after.all({ viewer: viewer.id, limit: limit + 1, created: position[0], id: position[1] })
          : first.all({ viewer: viewer.id, limit: limit + 1 });
        const page = rows.slice(0, limit);
        const edges = page.map((row) => ({
          cursor: Buffer.from(JSON.stringify([row.created_at, row.id])).toString("base64url"),
          node: file(row),
        }));
        return { edges, pageInfo: { hasNextPage: rows.length > limit, endCursor: edges.at(-1)?.cursor } };
      },
    },
    Mutation: {
      async uploadFile(_, { input }, { viewer }) {
        const { name, stream } = await open(await input.file);
        const id = randomUUID().replaceAll("-", "");
        const key = `${folder}/${id}`;
        const md5 = createHash("md5");
        const sha256 = createHash("sha256");
        let size = 0;
        const measure = new Transform({
          transform(chunk, _encoding, done) {
            size += chunk.length;
            md5.update(chunk);
            sha256.update(chunk);
            done(null, chunk);
          },
        });
        await pipeline(stream, measure, createWriteStream(key, { flush: true })); // fsync before it is closed
        const now = new Date().toISOString().replace("T", " ").replace("Z", "");
        const row = {
          id, owner_id: viewer.id, name, tags: "[]", metadata: "{}", profile: "default", visibility: "private",
          kind: "other", content_type: "application/octet-stream", size, md5: md5.digest("hex"),
          sha256: sha256.digest("hex"), storage: "default", key, focal_x: 0.5, focal_y: 0.5, created_at: now,
          updated_at: now,
        };
        insert(row);
        return file(row);
      },
    },
  };
}

// The columns that only images fill are empty, as they are of Coffer's rows.
function inserter(db) {
  const columns = db.pragma("table_info(files_file)").filter((each) => each.notnull && each.dflt_value === null);
  const empty = Object.fromEntries(columns.map(({ name, type }) => [name, /char|text/i.test(type) ? "" : 0]));
  let insert;
  return (given) => {
    const row = { ...empty, ...given };
    const names = Object.keys(row);
    insert ??= db.prepare(
      `INSERT INTO files_file (${names.join(", ")}) VALUES (${names.map((name) => `@${name}`).join(", ")})`,
    );
    insert.run(row);
  };
}

function file(row) {
  return {
    id: Buffer.from(`File:${row.id}`).toString("base64"),
    name: row.name,
    title: row.title,
    description: row.description,
    tags: JSON.parse(row.tags),
    metadata: JSON.parse(row.metadata),
    profile: row.profile,
    kind: row.kind.toUpperCase(),
    contentType: row.content_type,
    size: row.size,
    md5: row.md5,
    sha256: row.sha256,
    visibility: row.visibility.toUpperCase(),
    createdAt: row.created_at,
  };
}
