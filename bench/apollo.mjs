// The same service as its peers write it: Apollo Server on Express with graphql-upload, over better-sqlite3.
// It does the work that is compared and no more: bearer tokens looked up, files hashed and kept, rows read.
// node apollo.mjs PORT DATABASE FOLDER [WORKERS]
import { ApolloServer } from "@apollo/server";
import { expressMiddleware } from "@as-integrations/express5";
import Database from "better-sqlite3";
import cluster from "node:cluster";
import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import express from "express";
import GraphQLUpload from "graphql-upload/GraphQLUpload.mjs";
import graphqlUploadExpress from "graphql-upload/graphqlUploadExpress.mjs";
import { GraphQLScalarType } from "graphql";

const [port, database, folder, workers = "2"] = process.argv.slice(2);

if (cluster.isPrimary) {
  await mkdir(folder, { recursive: true });
  let ready = 0;
  for (let number = 0; number < Number(workers); number++) cluster.fork();
  cluster.on("listening", () => {
    if (++ready === Number(workers)) console.log("ready");
  });
} else {
  await serve();
}

async function serve() {
  const db = new Database(database, { timeout: 5000 });
  db.pragma("synchronous = FULL");
  const byToken = db.prepare(
    "SELECT u.id, u.is_staff FROM accounts_apitoken t JOIN accounts_user u ON u.id = t.user_id WHERE t.digest = ?",
  );
  const visible = "(owner_id = @viewer OR visibility = 'public')";
  const first = db.prepare(
    `SELECT * FROM files_file WHERE ${visible} ORDER BY created_at DESC, id DESC LIMIT @limit`,
  );
  const after = db.prepare(
    `SELECT * FROM files_file WHERE ${visible} AND (created_at, id) < (@created, @id) ORDER BY created_at DESC, id DESC LIMIT @limit`,
  );
  const insert = db.prepare(
    `INSERT INTO files_file (id, owner_id, name, tags, metadata, profile, visibility, kind, content_type, size, md5,
       sha256, storage, key, image_format, thumbhash, dominant_color, focal_x, focal_y, created_at, updated_at)
     VALUES (@id, @owner, @name, '[]', '{}', 'default', 'private', 'other', 'application/octet-stream', @size, @md5,
       @sha256, 'default', @key, '', '', '', 0.5, 0.5, @now, @now)`,
  );

  const typeDefs = `#graphql
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

  const file = (row) => ({
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
  });

  const resolvers = {
    Upload: GraphQLUpload,
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
        const { createReadStream, filename } = await input.file;
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
        await pipeline(createReadStream(), measure, createWriteStream(key, { flush: true }));
        const now = new Date().toISOString().replace("T", " ").replace("Z", "");
        const row = {
          id, key, size, now, owner: viewer.id, name: filename,
          md5: md5.digest("hex"), sha256: sha256.digest("hex"),
        };
        insert.run(row);
        return { ...file({ ...row, tags: "[]", metadata: "{}", kind: "other", visibility: "private" }) };
      },
    },
  };

  const server = new ApolloServer({ typeDefs, resolvers, csrfPrevention: false, cache: "bounded" });
  await server.start();
  const app = express();
  app.use(
    "/graphql",
    graphqlUploadExpress({ maxFileSize: 8 * 1024 ** 3, maxFiles: 20 }),
    express.json(),
    expressMiddleware(server, {
      async context({ req }) {
        const secret = (req.headers.authorization ?? "").replace("Bearer ", "");
        const viewer = byToken.get(createHash("sha256").update(secret).digest("hex"));
        if (!viewer) throw new Error("unknown token");
        return { viewer };
      },
    }),
  );
  app.listen(Number(port), "127.0.0.1");
}
