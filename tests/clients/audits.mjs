// Prints what each audit of graphql-http finds at the address that is given, as JSON.

import { serverAudits } from "graphql-http";

const [url] = process.argv.slice(2);

const results = await Promise.all(
  serverAudits({ url }).map(async (audit) => {
    const { status, reason } = await audit.fn();
    return { name: `${audit.id} ${audit.name}`, status, reason };
  }),
);
console.log(JSON.stringify(results));
