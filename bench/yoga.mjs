// GraphQL Yoga, which takes uploads by itself. node yoga.mjs PORT DATABASE FOLDER
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { createSchema, createYoga } from "graphql-yoga";
import { authentication, resolvers, run, typeDefs } from "./peer.mjs";

const open = (file) => ({ name: file.name, stream: Readable.from(file.stream()) });

await run(async (port, db, folder) => {
  const viewerOf = authentication(db);
  const yoga = createYoga({
    schema: createSchema({ typeDefs, resolvers: resolvers(db, folder, open) }),
    context: ({ request }) => ({ viewer: viewerOf(request.headers.get("authorization")) }),
    graphiql: false,
    maxRequestBodySize: 8 * 1024 ** 3,
    logging: "error",
  });
  createServer(yoga).listen(port, "127.0.0.1");
});
