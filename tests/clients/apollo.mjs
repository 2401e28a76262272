// Apollo Client over apollo-upload-client's link, which finds the files among the variables.

import { readFileSync } from "node:fs";
import { ApolloClient, gql, InMemoryCache } from "@apollo/client";
import UploadHttpLink from "apollo-upload-client/UploadHttpLink.mjs";
import { buildSchema } from "graphql";

// Without the types that are an Error, the cache takes what `... on Error` asks for out of the answers.
const schema = buildSchema(readFileSync(new URL("../../schema.graphql", import.meta.url), "utf8"));
const possibleTypes = { Error: schema.getPossibleTypes(schema.getType("Error")).map(({ name }) => name) };

export function connect(uri, token) {
  const link = new UploadHttpLink({ uri, headers: { Authorization: `Bearer ${token}` } });
  const client = new ApolloClient({ link, cache: new InMemoryCache({ possibleTypes }) });
  return async (text, variables) => {
    const document = gql(text);
    try {
      const asked =
        document.definitions[0].operation === "mutation"
          ? client.mutate({ mutation: document, variables })
          : client.query({ query: document, variables });
      return (await asked).data;
    } catch (error) {
      throw Object.assign(error, { status: error.statusCode });
    }
  };
}
