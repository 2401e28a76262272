// Apollo Server on Express with graphql-upload. node apollo.mjs PORT DATABASE FOLDER
import { ApolloServer } from "@apollo/server";
import { expressMiddleware } from "@as-integrations/express5";
import express from "express";
import GraphQLUpload from "graphql-upload/GraphQLUpload.mjs";
import graphqlUploadExpress from "graphql-upload/graphqlUploadExpress.mjs";
import { authentication, resolvers, run, typeDefs } from "./peer.mjs";

const open = ({ filename, createReadStream }) => ({ name: filename, stream: createReadStream() });

await run(async (port, db, folder) => {
  const viewerOf = authentication(db);
  const server = new ApolloServer({
    typeDefs,
    resolvers: { Upload: GraphQLUpload, ...resolvers(db, folder, open) },
    csrfPrevention: false,
    cache: "bounded",
  });
  await server.start();
  const app = express();
  app.use(
    "/graphql",
    graphqlUploadExpress({ maxFileSize: 8 * 1024 ** 3, maxFiles: 20 }),
    express.json(),
    expressMiddleware(server, { context: async ({ req }) => ({ viewer: viewerOf(req.headers.authorization) }) }),
  );
  app.listen(port, "127.0.0.1");
});
